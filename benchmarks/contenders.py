"""Who races: each contender is one command that brings a view (or all) into a PostgreSQL database.

The limit moves bytes and builds a primary key, nothing else: no cleaning, no checks, no state. Peers run when they are
installed (``make bench-peers``); they load into the same server with their defaults for a full refresh, in the fastest
of their formats.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Entity
from hat_etl.sandbox.server import Sandbox

PEERS = Path(".bench/peers")
"""Virtual environment of the peers, apart from ours."""


@dataclass(frozen=True)
class Contender:
    """A command, what must be run before each of its runs (not timed), and its environment."""

    name: str
    command: list[str]
    before: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


def hat_etl(tables: list[Entity] | None, name: str = "hat_etl", before: str = "") -> Contender:
    """``hat-etl load demo``, of all tables or of some."""
    only = [word for entity in tables or [] for word in ("--only", entity.table)]
    command = [sys.executable, "-m", "hat_etl.cli.main", "load", "demo", "--restart", "--json", *only]
    return Contender(name, command, before)


def first_load(entity: Entity) -> Contender:
    """``hat-etl load demo`` of one table into a HAT that has the tables it refers to, and none that refer to it."""
    needed = {entity.table}
    for other in reversed(ENTITIES):  # parents stand before children
        if other.table in needed:
            needed |= {parent.table for parent in other.parents}
    others = ", ".join(f"hat.{other.table}" for other in ENTITIES if other.table not in needed)
    return hat_etl([entity], before=f"DROP TABLE IF EXISTS {others} CASCADE")


def reconcile(entity: Entity) -> Contender:
    """``hat-etl reconcile demo`` of a table that was loaded before: every row of the ERP against every row of HAT."""
    words = ["reconcile", "demo", "--table", entity.table, "--json"]
    return Contender("hat_etl reconcile", [sys.executable, "-m", "hat_etl.cli.main", *words])


def limit(sandbox: Sandbox, entities: list[Entity]) -> Contender:
    """psql to psql in binary COPY, one view after the other, and the same primary key on the plain copy."""
    psql = shlex.quote(str(sandbox.binaries / "psql")) + " -q -v ON_ERROR_STOP=1"
    source, target = shlex.quote(_erp(sandbox)), shlex.quote(_hat(sandbox))
    steps, prepare = [], ["CREATE SCHEMA IF NOT EXISTS bench"]
    for entity in entities:
        key = ", ".join(f'"{entity[column].alias.lower()}"' for column in entity.key)
        steps.append(
            f"{psql} {source} -c 'copy (select * from hat.{entity.view} where Excluido = 0) to stdout (format binary)'"
            f" | {psql} {target} -c 'copy bench.{entity.table} from stdin (format binary)'"
            f" && {psql} {target} -c 'alter table bench.{entity.table} add primary key ({key})'"
        )
        prepare.append(f"DROP TABLE IF EXISTS bench.{entity.table}")
        prepare.append(f"CREATE TABLE bench.{entity.table} ({_columns(entity)})")
    return Contender("limit (psql COPY)", ["bash", "-c", " && ".join(steps)], before="; ".join(prepare))


def sling(sandbox: Sandbox, entity: Entity) -> Contender | None:
    """Sling, full refresh."""
    found = list(PEERS.glob("lib/python*/site-packages/sling_linux_*/bin/sling-linux-*"))
    if not found:
        return None
    found[0].chmod(0o755)
    stream, target = f"hat.{entity.view.lower()}", f"bench.{entity.table}_sling"
    environment = {
        "BENCH_SOURCE": _erp(sandbox) + "&sslmode=disable",
        "BENCH_TARGET": _hat(sandbox) + "&sslmode=disable",
        "SLING_DISABLE_TELEMETRY": "true",
    }
    words = ["--src-conn", "BENCH_SOURCE", "--src-stream", stream, "--tgt-conn", "BENCH_TARGET", "--tgt-object", target]
    return Contender("Sling", [str(found[0]), "run", *words, "--mode", "full-refresh"], environment=environment)


def dlt(sandbox: Sandbox, entity: Entity) -> Contender | None:
    """dlt's sql_database source in its Arrow backend, loaded through CSV files."""
    python = PEERS / "bin" / "python"
    if not python.exists() or not list(PEERS.glob("lib/python*/site-packages/dlt")):
        return None
    program = "\n".join(
        (
            "import os, tempfile",
            "os.environ['RUNTIME__DLTHUB_TELEMETRY'] = 'false'",
            "os.environ['DLT_DATA_DIR'] = tempfile.mkdtemp(prefix='dlt-')",
            "import dlt",
            "from dlt.sources.sql_database import sql_table",
            f"rows = sql_table(os.environ['BENCH_SOURCE'], table={entity.view.lower()!r}, schema='hat',",
            "                 backend='pyarrow', reflection_level='full', chunk_size=100_000)",
            "to = dlt.destinations.postgres(os.environ['BENCH_TARGET'])",
            f"pipeline = dlt.pipeline('bench_{entity.table}', destination=to, dataset_name='bench_dlt')",
            "pipeline.run(rows, write_disposition='replace', loader_file_format='csv')",
        )
    )
    # dlt asks for a password and a host, though the server wants neither: the socket in ?host= is what counts.
    source, target = (u.replace("@/", ":unused@localhost/") for u in (_erp(sandbox), _hat(sandbox)))
    source = source.replace("postgresql://", "postgresql+psycopg2://")
    return Contender("dlt", [str(python), "-c", program], environment={"BENCH_SOURCE": source, "BENCH_TARGET": target})


def _columns(entity: Entity) -> str:
    """Columns of a plain copy, in the order and of the kinds that the view has them."""
    kinds = [("recno", "bigint"), ("excluido", "integer"), ("carimbo", "timestamp")]
    for column in entity.columns:
        number = "double precision" if column.numeric_source else "text"
        kinds.append((column.alias.lower(), number))
    return ", ".join(f'"{name}" {kind}' for name, kind in kinds)


def _erp(sandbox: Sandbox) -> str:
    return sandbox.url("pls", "hat_reader")


def _hat(sandbox: Sandbox) -> str:
    return sandbox.url("hat", "hat_loader")
