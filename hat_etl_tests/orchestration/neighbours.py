"""Further tenants of the sandbox's ERP, each with a HAT database of its own."""

from __future__ import annotations

from contextlib import closing

import psycopg
from psycopg import sql

from hat_etl.entities import BY_TABLE
from hat_etl.sandbox.server import HAT, LOADER, PLS, READER
from hat_etl_tests.failures.ground import present
from hat_etl_tests.orchestration.conftest import Demo

Rows = dict[str, list[str]]
"""Table to its rows, whichever run brought them."""

CONNECTIONS = 2
"""To the ERP, of each tenant's file."""
MISSED = '[schedule]\nincremental = "0 3 1 1 *"\n'
"""A schedule of one moment a year: a tenant that was never synchronised has missed it."""


def add_tenant(demo: Demo, name: str, template: str = HAT, *, erp: str = "", schedule: str = "") -> None:
    """A tenant whose HAT database, of its own name, is a copy of ``template``; nobody may be in that now."""
    with psycopg.connect(demo.sandbox.url("postgres", "postgres"), autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*map(sql.Identifier, (name, template, LOADER)))
        )
    with closing(psycopg.connect(demo.sandbox.url(name, LOADER), autocommit=True)) as hat:
        if hat.execute("SELECT to_regclass('hat_etl.identity')").fetchone() != (None,):
            hat.execute("UPDATE hat_etl.identity SET tenant = %s", (name,))
    for side, url in (("erp", demo.sandbox.url(PLS, READER)), ("hat", demo.sandbox.url(name, LOADER))):
        (demo.tenants / f"{name}-{side}.url").write_text(url, encoding="utf-8")
    (demo.tenants / f"{name}.toml").write_text(
        f'name = "{name}"\nans_registry = "412345"\n[erp]\ndialect = "postgresql"\nurl = "file:{name}-erp.url"\n'
        f'schema = "protheus"\nviews_schema = "hat"\ncompany = "01"\nconnections = {CONNECTIONS}\n{erp}\n'
        f'[hat]\nurl = "file:{name}-hat.url"\n{schedule}',
        encoding="utf-8",
    )


def rows(demo: Demo, name: str) -> Rows:
    """All that the HAT database of a tenant shows."""
    found = {}
    with psycopg.connect(demo.sandbox.url(name, LOADER)) as hat:
        for table in present(hat):
            columns = [field.name for field in BY_TABLE[table].schema if field.name != "loaded_run"]
            row = sql.SQL(", ").join(map(sql.Identifier, columns))
            query = sql.SQL("SELECT ROW({})::text FROM {} ORDER BY 1").format(row, sql.Identifier("hat", table))
            found[table] = [text for (text,) in hat.execute(query)]
    return found
