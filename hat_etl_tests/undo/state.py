"""HAT with all that hat_etl keeps beside it, in a form that can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hat_etl.entities import ENTITIES
from hat_etl_tests.conformance.site import Site

Rows = list[tuple[Any, ...]]

ENTRY = '"table", recno, key, "column", rule, severity, reason, value'


@dataclass
class State:
    """Tables to their rows as text, with Recno, stamp and run; the quarantine; what stands behind rows of HAT."""

    rows: dict[str, Rows]
    rejects: Rows
    backing: Rows


def state(site: Site, *, runs: bool = True) -> State:
    """The state of a tenant, with or without the numbers of the runs that wrote each row and entry."""
    with site.server.connect(site.hat) as connection:
        connection.execute("SET timezone = 'UTC'")
        there = {name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'hat'")}
        rows = {}
        for entity in ENTITIES:
            if entity.table in there:
                names = [field.name for field in entity.schema if runs or field.name != "loaded_run"]
                columns = ", ".join(f'"{name}"::text' for name in names)
                rows[entity.table] = connection.execute(f"SELECT {columns} FROM hat.{entity.table}".encode()).fetchall()
                rows[entity.table].sort(key=repr)
        entry = f"run, {ENTRY}" if runs else ENTRY
        rejects = connection.execute(
            f'SELECT {entry} FROM hat_etl.rejects ORDER BY "table", recno, id'.encode()
        ).fetchall()
        backing = connection.execute('SELECT "table", key, recno FROM hat_etl.backing').fetchall()
    return State(rows, rejects, sorted(backing, key=repr))


def kinds(site: Site, run: int) -> dict[str, int]:
    """How many before-images of each kind a run has left."""
    with site.server.connect(site.hat) as connection:
        found = connection.execute("SELECT kind, count(*) FROM hat_etl.changes WHERE run = %s GROUP BY 1", (run,))
        return {kind: count for kind, count in found}


def watermarks(site: Site) -> dict[str, tuple[Any, ...]]:
    """Table to horizon, live rows and the sum of their Recnos."""
    with site.server.connect(site.hat) as connection:
        found = connection.execute('SELECT "table", horizon, live_rows, live_recnos FROM hat_etl.watermarks')
        return {row[0]: row[1:] for row in found}
