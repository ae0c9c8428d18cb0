"""One client of ``benchmarks.oracle`` as a process of its own: it prints its rows, seconds and peak memory as JSON.

``driver`` fetches the rows of a table by hat_etl's own statement and throws them away; ``hat_etl`` loads the table.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import closing

from benchmarks.phases import Clock
from hat_etl import memory
from hat_etl.entities import BY_TABLE
from hat_etl.entities.model import RECNO, Entity
from hat_etl.source import oracle_sql
from hat_etl.source.oracle import OracleSource
from hat_etl.sync.load import load
from hat_etl.sync.request import LoadRequest
from hat_etl.tenants import store
from hat_etl.tenants.config import Tenant


def driver(tenant: Tenant, entity: Entity, size: int | None, most_seconds: float) -> dict[str, float]:
    """python-oracledb's ``fetch_df_batches`` with its own types, on one connection."""
    with closing(OracleSource(tenant, f"hat-etl load {tenant.name}")) as source:
        shape = source.describe(entity)
        with source.snapshot() as snapshot:
            bounds = snapshot.bounds(shape)
            assert bounds is not None
            selected, recno = oracle_sql.whole_rows(shape), oracle_sql.name(shape, RECNO)
            query = (
                f"SELECT {selected.sql} FROM {oracle_sql.relation(shape)} AS OF SCN :scn"
                f" WHERE {recno} BETWEEN :low AND :high"
            )
            binds = {"scn": snapshot.scn, "low": bounds.low, "high": bounds.high}
            began, rows = time.monotonic(), 0
            connection = snapshot.sessions[0].connection
            for frame in connection.fetch_df_batches(query, binds, size=size or selected.rows):
                rows += frame.num_rows()
                if time.monotonic() - began > most_seconds:
                    break
            seconds = time.monotonic() - began
    return {"rows": rows, "seconds": seconds, "peak_mib": memory.peak_mib(), "size": size or selected.rows}


def hat_etl(tenant: Tenant, entity: Entity, size: int | None) -> dict[str, float]:
    """``seconds`` are those of reading: fetch, transform and COPY; ``whole`` are those of the load."""
    if size:
        oracle_sql.FEWEST_ROWS = oracle_sql.MOST_ROWS = size
    clock = Clock()
    report = load(tenant, LoadRequest(only=(entity.table,), restart=True, accept_shrink=True), clock)
    (table,) = (table for table in report.tables if table.read)
    return {
        "rows": table.read,
        "seconds": clock.between("reading", "keys and references"),
        "whole": report.seconds,
        "peak_mib": report.peak_mib,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oracle_client", description=__doc__)
    parser.add_argument("client", choices=["driver", "hat_etl"])
    parser.add_argument("--table", default="beneficiaries")
    parser.add_argument("--size", type=int, help="rows of one round trip; hat_etl's own choice when not given")
    parser.add_argument("--most-seconds", type=float, default=float("inf"), help="the driver stops then")
    arguments = parser.parse_args()
    tenant, entity = store.load("demo"), BY_TABLE[arguments.table]
    if arguments.client == "driver":
        found = driver(tenant, entity, arguments.size, arguments.most_seconds)
    else:
        found = hat_etl(tenant, entity, arguments.size)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
