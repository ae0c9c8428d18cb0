"""A tenant of a wire server in which captures can be made."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hat_etl_tests.captures.writable import WritableOracle
from hat_etl_tests.failures.commands import Command
from hat_etl_tests.servers import Server

TENANT = "operadora-x"


@dataclass(frozen=True)
class Site:
    """A tenant file, where captures are written, and commands on them."""

    oracle: WritableOracle
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "capture.jsonl.gz"

    def start(self, *arguments: str, login: str | None = None, prepare: Callable[[], None] | None = None) -> Command:
        (self.folder / f"{TENANT}.toml").write_text(
            f'name = "{TENANT}"\nans_registry = "412345"\n[erp]\ndialect = "oracle"\nurl = "env:NOT_NEEDED"\n'
            'company = "01"\n[hat]\nurl = "env:NOT_NEEDED"\n',
            encoding="utf-8",
        )
        secret = {"OPERADORA_X_CAPTURE_URL": login or self.oracle.login}
        return Command(arguments, {**os.environ, "HAT_ETL_TENANTS": str(self.folder), **secret}, prepare)

    def record(self, prepare: Callable[[], None] | None = None) -> Command:
        return self.start("oracle", "record", TENANT, "--output", str(self.file), "--settle", "0", prepare=prepare)


@pytest.fixture
def start_oracle(postgres: Server) -> Iterator[Callable[..., WritableOracle]]:
    """Starts servers, each over a database of its own; they end with the test."""
    begun: list[WritableOracle] = []

    def start(profile: str = "19c") -> WritableOracle:
        begun.append(WritableOracle(postgres.url(postgres.create_database("captures")), profile))
        return begun[-1]

    yield start
    for oracle in begun:
        oracle.close()


@pytest.fixture
def site(start_oracle: Callable[..., WritableOracle], tmp_path: Path) -> Site:
    return Site(start_oracle(), tmp_path)
