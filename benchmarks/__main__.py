"""``make bench``: initial loads of the widest table and of a whole tenant, beside the limit and the peers.

Writes ``docs/benchmarks.md``. Makes its own sandbox in ``.bench`` (about 4 GiB for a million beneficiaries).
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

FOLDER = Path(".bench").resolve()
os.environ["HAT_ETL_SANDBOX"] = str(FOLDER / "sandbox")
os.environ["HAT_ETL_TENANTS"] = str(FOLDER / "tenants")

import psycopg  # noqa: E402 - the environment above must stand before

from benchmarks import contenders, report  # noqa: E402
from benchmarks.race import Result, race  # noqa: E402
from hat_etl.entities import BY_TABLE, ENTITIES  # noqa: E402
from hat_etl.sandbox import command, server  # noqa: E402
from hat_etl.source import view_live  # noqa: E402
from hat_etl.sync.load import load  # noqa: E402
from hat_etl.sync.request import LoadRequest  # noqa: E402
from hat_etl.tenants import store  # noqa: E402

WIDEST = BY_TABLE["beneficiaries"]


def main() -> None:
    arguments = _arguments()
    command.up(FOLDER / "sandbox", beneficiaries=arguments.rows, dirt=False, seed=1)
    sandbox = server.Sandbox.up(FOLDER / "sandbox")
    tenant = store.load("demo")
    view_live.install(tenant)
    load(tenant, LoadRequest(restart=True))

    def prepare(statements: str) -> None:
        with psycopg.connect(sandbox.url("hat", "hat_loader"), autocommit=True) as connection:
            connection.execute("SET client_min_messages = warning")
            connection.execute(statements)
            connection.execute("CHECKPOINT") if arguments.checkpoint else None

    # The reconciliation compares what the load before it has brought: it fails where a row differs.
    field = [contenders.first_load(WIDEST), contenders.reconcile(WIDEST), contenders.limit(sandbox, [WIDEST])]
    peers = [contenders.sling(sandbox, WIDEST), contenders.dlt(sandbox, WIDEST)]
    missing = [name for name, peer in zip(("Sling", "dlt"), peers, strict=True) if peer is None]
    one = race([*field, *(peer for peer in peers if peer)], arguments.runs, prepare)
    whole: list[Result] = []
    if not arguments.one_table:
        again = contenders.hat_etl([WIDEST], f"hat_etl, {WIDEST.table} again")
        whole = race(
            [contenders.hat_etl(None), contenders.limit(sandbox, list(ENTITIES)), again], arguments.runs, prepare
        )
    text = report.render(arguments.rows, WIDEST.table, one, whole, missing)
    if arguments.output:
        Path(arguments.output).write_text(text, encoding="utf-8")
    print(text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rows", type=int, default=int(os.environ.get("ROWS", 1_000_000)))
    parser.add_argument("--runs", type=int, default=int(os.environ.get("RUNS", 5)))
    parser.add_argument("--one-table", action="store_true", help="only the widest table, not the whole tenant")
    parser.add_argument("--output", default="docs/benchmarks.md", help="'' prints only")
    parser.add_argument("--checkpoint", action="store_true", help="checkpoint the server before each run (superuser)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
