from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hat_etl.sandbox import command
from hat_etl.sandbox.command import Manifest
from hat_etl.sandbox.server import Sandbox

Built = tuple[Sandbox, Manifest]


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """A sandbox with a clean population."""
    yield from _built(tmp_path_factory.mktemp("clean"), beneficiaries=1_200)


@pytest.fixture(scope="session")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """A sandbox with every kind of dirt planted."""
    yield from _built(tmp_path_factory.mktemp("dirty"), beneficiaries=command.LEAST_FOR_DIRT, dirt=True)


def _built(folder: Path, **arguments: int) -> Iterator[Built]:
    yield command.up(folder, tenants=folder / "tenants", **arguments)
    command.down(folder)
