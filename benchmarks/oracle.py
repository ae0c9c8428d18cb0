"""``make bench-oracle``: hat_etl's path from Oracle into HAT beside what python-oracledb alone can fetch.

Writes ``docs/benchmarks-oracle.md``. The sandbox's Oracle server sends rows that it has encoded once and keeps, from a
process of its own, so that it costs next to nothing: what is measured is the client, and nothing of an Oracle server.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path

import oracledb
import psutil

from benchmarks import delay
from hat_etl.sandbox import command, server
from hat_etl.sandbox.oracle.logon import Account
from hat_etl.sandbox.oracle.server import SERVICE, OracleServer
from hat_etl.source import view_live
from hat_etl.sync.load import load
from hat_etl.sync.request import LoadRequest
from hat_etl.tenants import store

FOLDER = Path(".bench").resolve()
TABLE = "beneficiaries"
PASSWORD = "bench"
LEAST_SHARE, LEAST_SHARE_FAR, MOST_MIB, FAR = 0.5, 0.8, 400, 0.02
"""What is asked: of the driver's rate nearby and at ``FAR`` seconds of latency, and the most memory."""
DRIVER_SECONDS = 6.0
"""After which the driver has fetched enough for its rate to be known."""

_SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Measure:
    """One client with one size of batches at one latency; a value for each round."""

    client: str
    size: int | None
    latency: float
    rates: list[float] = field(default_factory=list)
    """Rows per second, of reading."""
    whole: list[float] = field(default_factory=list)
    """Seconds of the whole load."""
    peaks: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    """Share of a core that the Oracle server took meanwhile."""

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)

    @property
    def words(self) -> list[str]:
        size = ["--size", str(self.size)] if self.size else []
        return [self.client, *size, *(["--most-seconds", str(DRIVER_SECONDS)] if self.client == "driver" else [])]


class Erp:
    """The Oracle server and the proxies before it, each in a process of its own."""

    def __init__(self, sandbox: server.Sandbox, latencies: Sequence[float], url: Path) -> None:
        self._url = url
        self._server, port = _started(
            _serve, sandbox.url(server.PLS, server.READER), sandbox.url(server.PLS, "postgres")
        )
        self._proxies, ports = _started(delay.serve, port, latencies)
        self._ports = {0.0: port, **dict(zip(latencies, ports, strict=True))}
        self._usage = psutil.Process(self._server.pid)

    def at(self, latency: float) -> None:
        """Let the tenant's ERP be so far away."""
        place = f"127.0.0.1:{self._ports[latency]}/{SERVICE}"
        self._url.write_text(f"oracle://{server.READER}:{PASSWORD}@{place}", encoding="utf-8")

    def cpu_seconds(self) -> float:
        """What the server has used so far."""
        times = self._usage.cpu_times()
        return times.user + times.system

    def close(self) -> None:
        for process in (self._proxies, self._server):
            process.terminate()
            process.join()


def _started(target: object, *arguments: object) -> tuple[multiprocessing.process.BaseProcess, object]:
    """A process that runs ``target``, and the first thing that it tells."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=target, args=(*arguments, theirs), daemon=True)
    process.start()
    return process, ours.recv()


def _serve(dsn: str, admin_dsn: str, told: Connection) -> None:
    oracle = OracleServer(dsn, admin_dsn, {server.READER: Account(PASSWORD)}, keeps_results=True)
    told.send(oracle.port)
    multiprocessing.Event().wait()


def main() -> None:
    arguments = _arguments()
    latencies = [milliseconds / 1000 for milliseconds in arguments.latencies]
    folder = FOLDER / f"oracle-{arguments.rows}"
    os.environ["HAT_ETL_TENANTS"] = str(folder / "tenants")
    command.up(folder, beneficiaries=arguments.rows, seed=1, tenants=folder / "tenants")
    sandbox, tenant_file = server.Sandbox.up(folder), folder / "tenants" / "demo.toml"
    tenant = store.load("demo")
    view_live.install(tenant)
    load(tenant, LoadRequest(restart=True))  # parents, without which the rows that are measured would be held
    as_postgresql = tenant_file.read_text(encoding="utf-8")
    tenant_file.write_text(
        as_postgresql.replace('dialect = "postgresql"', 'dialect = "oracle"').replace(
            f'"file:{folder / "erp.url"}"', f'"file:{folder / "oracle.url"}"'
        ),
        encoding="utf-8",
    )
    loads = os.getloadavg()
    with closing(Erp(sandbox, latencies, folder / "oracle.url")) as erp:
        for words in (["driver"], ["hat_etl"]):  # until the server has kept all rows, and everything is warm
            erp.at(0.0)
            _run(words)
        near = [Measure("driver", None, 0.0), Measure("driver", 10_000, 0.0), Measure("driver", 50_000, 0.0)]
        near += [Measure("hat_etl", None, 0.0)]
        _race(near, erp, arguments.runs)
        far = [
            Measure(client, size, latency)
            for latency in (0.0, *latencies)
            for client, sizes in (("driver", [*arguments.sizes, None]), ("hat_etl", [*arguments.sizes[1:], None]))
            for size in sizes
        ]
        _race(far, erp, arguments.latency_runs)
    tenant_file.write_text(as_postgresql, encoding="utf-8")
    text = render(arguments.rows, near, far, loads)
    if arguments.output:
        Path(arguments.output).write_text(text, encoding="utf-8")
    print(text)


def _race(measures: Sequence[Measure], erp: Erp, runs: int) -> None:
    for turn in range(runs):
        for measure in measures:
            erp.at(measure.latency)
            before = erp.cpu_seconds()
            found = _run(measure.words)
            measure.rates.append(found["rows"] / found["seconds"])
            measure.peaks.append(found["peak_mib"])
            measure.server.append((erp.cpu_seconds() - before) / found.get("whole", found["seconds"]))
            if "whole" in found:
                measure.whole.append(found["whole"])
            print(
                f"{turn + 1}: {measure.client}, batches of {measure.size or 'its own'},"
                f" {measure.latency * 1000:.0f} ms:"
                f" {measure.rates[-1]:,.0f} rows/s, {measure.peaks[-1]:.0f} MiB, server {measure.server[-1]:.0%}",
                file=sys.stderr,
            )


def _run(words: Sequence[str]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.oracle_client", *words, "--table", TABLE],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{words[0]} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def render(rows: int, near: Sequence[Measure], far: Sequence[Measure], loads: Sequence[float]) -> str:
    """The report as Markdown. Ratios are of medians, to the driver's best."""
    ceiling = max(measure.rate for measure in near if measure.client == "driver")
    (ours,) = (measure for measure in near if measure.client == "hat_etl")
    share = ours.rate / ceiling
    at_far = [measure for measure in far if measure.latency == FAR]
    parts = [
        "# Benchmarks of reading Oracle",
        "",
        f"Written by `make bench-oracle` on {datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, load average"
        f" {loads[0]:.1f} before it began, Python {platform.python_version()}, python-oracledb {oracledb.__version__}"
        f" in thin mode, PostgreSQL 18 as target, {rows:,} beneficiaries"
        f" (the view over BA1 and BA3). Interleaved rounds ({len(ours.rates)} nearby, {len(far[0].rates)} far away),"
        " each client a process of its own; medians are quoted, and ratios count more than rates.",
        "",
        "In front stands the sandbox's Oracle server, which sends rows that it encoded once and keeps. **It bounds the"
        " client from above and says nothing of an Oracle server or a real network.** *driver* is python-oracledb's"
        " `fetch_df_batches` by the statement that hat_etl puts, on one connection, in the types that the driver"
        " chooses; what it fetches is thrown away. *hat_etl* fetches on two connections in exact types, cleans, checks,"
        " transforms and writes to HAT by COPY; keys, references and the swap come after and are in *whole load*, as is"
        " the start of the process that fetches for it. Its peak of memory is that of both processes."
        " Where other work keeps the cores busy, hat_etl loses more than the driver, which needs but one.",
        "",
        "## Nearby",
        "",
        "| client | rows of a batch | rows/s, median | min - max | of the driver's best | whole load, s | peak MiB |"
        " server, share of a core |",
        "|--|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for measure in near:
        whole = f"{statistics.median(measure.whole):.1f}" if measure.whole else ""
        parts.append(
            f"| {measure.client} | {_size(measure)} | {measure.rate:,.0f} |"
            f" {min(measure.rates):,.0f} - {max(measure.rates):,.0f} | {measure.rate / ceiling:.2f} | {whole} |"
            f" {max(measure.peaks):.0f} | {statistics.median(measure.server):.0%} |"
        )
    parts += [
        "",
        *_verdict(f"hat_etl reaches {{:.2f}} of the driver's best; {LEAST_SHARE} is asked", share, LEAST_SHARE),
        *_verdict(f"hat_etl takes {{:.0f}} MiB at most; {MOST_MIB} are allowed", -max(ours.peaks), -MOST_MIB),
        "## Far away",
        "",
        "A proxy holds every packet back; the latency is that of a whole round trip. In parentheses: of the same"
        " client's best without latency.",
        "",
    ]
    latencies = list(dict.fromkeys(measure.latency for measure in far))
    parts.append("| client | rows of a batch | " + " | ".join(f"{ms * 1000:.0f} ms, rows/s" for ms in latencies) + " |")
    parts.append("|--|--:|" + "--:|" * len(latencies))
    for client, size in dict.fromkeys((measure.client, measure.size) for measure in far):
        best = max(m.rate for m in far if m.client == client and m.latency == 0.0)
        found = {m.latency: m for m in far if (m.client, m.size) == (client, size)}
        cells = " | ".join(f"{found[ms].rate:,.0f} ({found[ms].rate / best:.2f})" for ms in latencies)
        parts.append(f"| {client} | {_size(found[0.0])} | {cells} |")
    if at_far:
        best = max(measure.rate for measure in at_far if measure.client == "driver")
        (own,) = (measure for measure in at_far if measure.client == "hat_etl" and measure.size is None)
        told = f"At {FAR * 1000:.0f} ms hat_etl reaches {{:.2f}} of the driver's best there; {LEAST_SHARE_FAR} is asked"
        parts += ["", *_verdict(told, own.rate / best, LEAST_SHARE_FAR)]
        (same,) = (measure for measure in at_far if measure.client == "driver" and measure.size is None)
        parts += [
            f"Of what the driver reaches there with batches of the same size, that is {own.rate / same.rate:.2f}.",
            "",
        ]
    return "\n".join([*parts, ""]).rstrip() + "\n"


def _size(measure: Measure) -> str:
    return f"{measure.size:,}" if measure.size else "hat_etl's own"


def _verdict(told: str, found: float, asked: float) -> list[str]:
    return [f"{told.format(abs(found))}: **{'yes' if found >= asked else 'no'}**.", ""]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.oracle", description=__doc__)
    parser.add_argument("--rows", type=int, default=int(os.environ.get("ROWS", 300_000)))
    parser.add_argument("--runs", type=int, default=int(os.environ.get("RUNS", 5)))
    parser.add_argument("--latencies", type=int, nargs="*", default=[20, 100], help="milliseconds of a round trip")
    parser.add_argument("--latency-runs", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1_000, 10_000, 50_000])
    parser.add_argument("--output", default="docs/benchmarks-oracle.md", help="'' prints only")
    return parser.parse_args()


if __name__ == "__main__":
    main()
