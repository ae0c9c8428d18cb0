"""One database of the session's server, which plays the ERP; schemas keep the tests apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from hat_etl.tenants.config import Tenant
from hat_etl_tests.servers import Server

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
def erp(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Erp:
    url_file = tmp_path_factory.mktemp("secrets") / "erp_url"
    url_file.write_text(postgres.url() + "\n", encoding="utf-8")
    return Erp(postgres.url(), url_file)
