"""``make bench-sync``: incremental runs after 1,000 and 50,000 changes, beside the bare window queries and the peers.

Writes ``docs/benchmarks-sync.md``. Each round changes the ERP, and then every contender brings over the same change.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

FOLDER = Path(".bench").resolve()

import psycopg  # noqa: E402

from benchmarks.contenders import PEERS  # noqa: E402
from hat_etl.entities import BY_TABLE, ENTITIES  # noqa: E402
from hat_etl.sandbox import churn, command, server  # noqa: E402
from hat_etl.source import view_live  # noqa: E402
from hat_etl.sync.load import load  # noqa: E402
from hat_etl.sync.request import LoadRequest  # noqa: E402
from hat_etl.tenants import store  # noqa: E402

Run = Callable[[], tuple[float, float | None]]
"""Brings a change over; gives the seconds, and those of the target where they are told."""

TABLE = BY_TABLE["beneficiaries"]
LOOKBACK = timedelta(minutes=15)


class PeerFailed(Exception):
    """A peer could not bring the change over."""


@dataclass
class Measure:
    """What one contender took: seconds of each round, and the share of the target in them where it tells."""

    name: str
    seconds: list[float] = field(default_factory=list)
    target: list[float] = field(default_factory=list)
    failed: bool = False
    """Then it is not asked again: what it misses would be in its way."""

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass
class Case:
    """A size of the tenant, a number of changes, and whether the stamps are indexed."""

    rows: int
    changes: int
    indexed: bool
    load_seconds: float
    measures: list[Measure]


def main() -> None:
    arguments = _arguments()
    cases = []
    for rows in arguments.rows:
        folder = FOLDER / f"sync-{rows}"
        os.environ["HAT_ETL_TENANTS"] = str(folder / "tenants")
        command.up(folder, beneficiaries=rows, seed=1, tenants=folder / "tenants")
        sandbox = server.Sandbox.up(folder)
        tenant = store.load("demo")
        view_live.install(tenant)
        _index(sandbox, wanted=False)
        started = time.monotonic()
        load(tenant, LoadRequest(restart=True))
        load_seconds = time.monotonic() - started
        for indexed in (False, True):
            _index(sandbox, wanted=indexed)
            for changes in arguments.changes:
                cases.append(_case(sandbox, rows, changes, indexed, load_seconds, arguments.runs))
                if arguments.output:  # after each, for all of them take an hour or two
                    Path(arguments.output).write_text(render(cases), encoding="utf-8")
        server.down(folder)
    print(render(cases))


def _case(sandbox: server.Sandbox, rows: int, changes: int, indexed: bool, load_seconds: float, runs: int) -> Case:
    only = ("--only", TABLE.table)
    peers: dict[str, Run] = {}
    if sling := _sling(sandbox):
        peers["Sling incremental, beneficiaries"] = lambda: (_timed(*sling), None)
    if dlt := _dlt(sandbox):
        peers["dlt merge, beneficiaries"] = lambda: (_timed(*dlt), None)
    # Each stage is one change of the ERP, and who brings it over: a change is brought over once by each.
    stages: list[dict[str, Run]] = [
        {"window queries (psql)": lambda: (_timed(_windows(sandbox)), None), "hat_etl sync": _sync},
        {"hat_etl sync, beneficiaries": lambda: _sync(*only), **peers},
    ]
    if not indexed:  # what reads everything has no use for an index
        stages.append({"hat_etl sync --full, beneficiaries": lambda: _sync(*only, "--full")})
    measures = {name: Measure(name) for stage in stages for name in stage}
    for turn in range(runs + 1):
        for number, stage in enumerate(stages):
            _catch_up(peers if number == 1 else {}, measures)
            _age_watermarks(sandbox)
            _change(sandbox, changes, 100 * turn + 10 * number + changes)
            for name, run in stage.items():
                seconds, target = _brought_over(measures[name], run)
                share = f", target {target:.2f} s" if target is not None else ""
                index = "index" if indexed else "scan"
                print(
                    f"{rows:,} {changes:,} {index} {turn or 'warm-up'}: {name} {seconds:.2f} s{share}", file=sys.stderr
                )
                if turn and not measures[name].failed:
                    measures[name].seconds.append(seconds)
                    measures[name].target += [target] if target is not None else []
    return Case(rows, changes, indexed, load_seconds, list(measures.values()))


def _catch_up(peers: Mapping[str, Run], measures: Mapping[str, Measure]) -> None:
    """Bring over what is left of the stages before; not timed."""
    _sync()
    for name, run in peers.items():
        _brought_over(measures[name], run)


def _brought_over(measure: Measure, run: Run) -> tuple[float, float | None]:
    if not measure.failed:
        try:
            return run()
        except PeerFailed as failure:
            print(failure, file=sys.stderr)
            measure.failed = True
    return math.nan, None


def _change(sandbox: server.Sandbox, changes: int, seed: int) -> None:
    with psycopg.connect(sandbox.url("pls", "postgres")) as connection:
        found = connection.execute(
            "SELECT upper(left(relname, 3)), greatest(reltuples, 0)::int8 FROM pg_class"
            " WHERE relnamespace = 'protheus'::regnamespace AND relkind = 'r'"
        ).fetchall()
    with churn.Activity(sandbox.url("pls", "postgres")) as activity:
        for operation in churn.mixture(seed, changes, dict(found)):
            churn.apply(operation, activity)


def _age_watermarks(sandbox: server.Sandbox) -> None:
    """Nothing of the rounds before lies in the look-back: hours pass between real runs."""
    with psycopg.connect(sandbox.url("hat", "hat_loader"), autocommit=True) as connection:
        connection.execute("UPDATE hat_etl.watermarks SET horizon = clock_timestamp() + interval '15 minutes'")


def _windows(sandbox: server.Sandbox) -> list[str]:
    """The window of every view by one psql, one query after the other, thrown away."""
    with psycopg.connect(sandbox.url("hat", "hat_loader")) as connection:
        marks = dict(connection.execute('SELECT "table", horizon FROM hat_etl.watermarks').fetchall())
    queries = []
    for entity in ENTITIES:
        since = f"{marks[entity.table] - LOOKBACK:%Y-%m-%d %H:%M:%S.%f}"
        where = f"Carimbo >= '{since}' OR Carimbo IS NULL"
        queries += ["-c", f"copy (select * from hat.{entity.view} where {where}) to stdout (format binary)"]
    psql = [str(sandbox.binaries / "psql"), "-q", "-v", "ON_ERROR_STOP=1", sandbox.url("pls", "hat_reader"), *queries]
    return ["bash", "-c", f"{shlex.join(psql)} > /dev/null"]


def _sync(*options: str) -> tuple[float, float | None]:
    started = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    words = [sys.executable, "-m", "benchmarks.phases", *options]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    if done.returncode:
        raise RuntimeError(f"hat_etl failed:\n{done.stderr[-2000:]}")
    return seconds, float(json.loads(done.stdout)["target"])


def _timed(words: Sequence[str], environment: dict[str, str] | None = None) -> float:
    started = time.monotonic()
    done = subprocess.run(words, env=os.environ | (environment or {}), capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerFailed(f"{words[0]} failed:\n{done.stdout[-4000:]}{done.stderr[-1000:]}")
    return time.monotonic() - started


def _sling(sandbox: server.Sandbox) -> tuple[list[str], dict[str, str]] | None:
    found = list(PEERS.glob("lib/python*/site-packages/sling_linux_*/bin/sling-linux-*"))
    if not found:
        return None
    environment = {
        "BENCH_SOURCE": sandbox.url("pls", "hat_reader") + "&sslmode=disable",
        "BENCH_TARGET": sandbox.url("hat", "hat_loader") + "&sslmode=disable",
        "SLING_DISABLE_TELEMETRY": "true",
    }
    words = [
        "run", "--src-conn", "BENCH_SOURCE", "--src-stream", f"hat.{TABLE.view.lower()}", "--tgt-conn", "BENCH_TARGET",
        "--tgt-object", f"bench.{TABLE.table}_sling_sync", "--mode", "incremental",
        "--primary-key", ",".join(TABLE[column].alias.lower() for column in TABLE.key), "--update-key", "carimbo",
    ]  # fmt: skip
    return [str(found[0]), *words], environment


def _dlt(sandbox: server.Sandbox) -> tuple[list[str], dict[str, str]] | None:
    python = PEERS / "bin" / "python"
    if not python.exists() or not list(PEERS.glob("lib/python*/site-packages/dlt")):
        return None
    home = sandbox.folder / "dlt"
    home.mkdir(exist_ok=True)
    program = "\n".join(
        (
            "import os",
            "os.environ['RUNTIME__DLTHUB_TELEMETRY'] = 'false'",
            f"os.environ['DLT_DATA_DIR'] = {str(home)!r}",
            "import dlt",
            "from dlt.sources.sql_database import sql_table",
            f"rows = sql_table(os.environ['BENCH_SOURCE'], table={TABLE.view.lower()!r}, schema='hat',",
            "    backend='pyarrow', reflection_level='full', chunk_size=100_000,",
            "    incremental=dlt.sources.incremental('carimbo'))",
            f"rows.apply_hints(primary_key={[TABLE[c].alias.lower() for c in TABLE.key]!r})",
            "to = dlt.destinations.postgres(os.environ['BENCH_TARGET'])",
            f"pipeline = dlt.pipeline('sync_{TABLE.table}', destination=to, dataset_name='bench_dlt_sync')",
            "pipeline.run(rows, write_disposition='merge', loader_file_format='csv')",
        )
    )
    source, target = (
        sandbox.url(*who).replace("@/", ":unused@localhost/") for who in (("pls", "hat_reader"), ("hat", "hat_loader"))
    )
    source = source.replace("postgresql://", "postgresql+psycopg2://")
    return [str(python), "-c", program], {"BENCH_SOURCE": source, "BENCH_TARGET": target}


def _index(sandbox: server.Sandbox, *, wanted: bool) -> None:
    """Make or drop an index on the stamp of every PLS table."""
    with psycopg.connect(sandbox.url("pls", "postgres"), autocommit=True) as connection:
        tables = connection.execute(
            "SELECT relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 's_t_a_m_p_'"
            " WHERE relnamespace = 'protheus'::regnamespace AND relkind = 'r'"
        ).fetchall()
        for (table,) in tables:
            if wanted:
                connection.execute(f"CREATE INDEX IF NOT EXISTS {table}_stamp ON protheus.{table} (s_t_a_m_p_)")
            else:
                connection.execute(f"DROP INDEX IF EXISTS protheus.{table}_stamp")
        connection.execute("VACUUM ANALYZE")


def render(cases: Sequence[Case]) -> str:
    """The report as Markdown."""
    parts = [
        "# Benchmarks of incremental runs",
        "",
        f"Written by `make bench-sync` on {date.today():%Y-%m-%d}, {os.cpu_count()} cores, ERP and HAT in one embedded"
        " server. Before each round the ERP changes (updates, inserts, deletions and others, over all PLS tables);"
        " then every contender brings over the same change, each as a process of its own from start to end. Medians of"
        " interleaved rounds. *window queries* is psql reading the changed rows of all 43 views one after the other and"
        " throwing them away. The peers bring over one view; they see no purges and keep no quarantine.",
        "",
        "*target* is the part of the time that hat_etl spends in the tenant database, from the end of reading to the"
        " commit.",
        "",
    ]
    for case in cases:
        index = "with an index on S_T_A_M_P_" if case.indexed else "without an index on S_T_A_M_P_"
        parts += [
            f"## {case.rows:,} beneficiaries, {case.changes:,} changed rows, {index}",
            "",
            f"The initial load of all tables took {case.load_seconds:.1f} s.",
            "",
            "| | median s | min - max s | target s |",
            "|--|--:|--:|--:|",
        ]
        for measure in case.measures:
            if measure.failed:
                parts.append(f"| {measure.name} | failed | | |")
                continue
            target = f"{statistics.median(measure.target):.2f}" if measure.target else ""
            span = f"{min(measure.seconds):.2f} - {max(measure.seconds):.2f}"
            parts.append(f"| {measure.name} | {measure.median:.2f} | {span} | {target} |")
        parts.append("")
    return "\n".join(parts)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sync", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--changes", type=int, nargs="+", default=[1_000, 50_000])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--output", default="docs/benchmarks-sync.md", help="'' prints only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
