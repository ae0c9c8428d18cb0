"""The billing loop against a HAT and an operator that lose replies and fail, and with its process killed many times.

``python -m benchmarks.billing`` runs the whole: 10,000 lots of 100 guides of 200 providers, 5 % of replies lost, 5 %
of calls failing, 50 kills. It ends with an error unless every lot has reached the operator exactly once and HAT shows
the operator's status of each; then it prints lots per second, the share of each stage and the most memory.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from hat_etl.sandbox import services
from hat_etl.sandbox.hat.lots import Recipe
from hat_etl.sandbox.hat.state import State
from hat_etl.sandbox.operator.ledger import Ledger

REGISTRY, TENANT, TOKEN = "412345", "race", "5ec2e7" * 8
ROUNDS = 400
"""Runs of the loop after which it counts as standing still."""

_TENANT_FILE = """
name = "{tenant}"
ans_registry = "{registry}"
[erp]
dialect = "postgresql"
url = "env:NOT_SET"
company = "01"
[hat]
url = "file:{folder}/hat.url"
api_url = "{hat}"
master_token = "file:{folder}/token"
[hat.api]
tenant_name = "{tenant}"
tenant_id = "1"
pause_seconds = 0.01
[billing]
deliver = "soap"
ask = "pls"
download_hosts = ["{hat}"]
unknown_wait_seconds = 0
retry_seconds = 0
poll_minutes = 0
workers = {workers}
[billing.pls]
url = "{operator}/rest"
[billing.soap]
lot_url = "{operator}/ws/{{version}}/tissLoteGuias"
status_url = "{operator}/ws/{{version}}/tissSolicitacaoStatusProtocolo"
statement_url = "{operator}/ws/{{version}}/tissSolicitacaoDemonstrativoRetorno"
"""


@dataclass(frozen=True)
class Course:
    """What a race is run over."""

    lots: int = 10_000
    guides: int = 100
    providers: int = 200
    kills: int = 50
    lost: float = 0.05
    failing: float = 0.05
    bad: float = 0.02
    """Share of lots that the checks must refuse."""
    workers: int = 4
    seed: int = 1


@dataclass
class Result:
    """What a race came to."""

    seconds: float = 0.0
    runs: int = 0
    kills: int = 0
    peak_mib: float = 0.0
    first_peak_mib: float = 0.0
    stages: Counter[str] = field(default_factory=Counter)
    """Seconds of the stages of the runs that ended."""
    wrong: list[str] = field(default_factory=list)
    """What is not as it must be."""
    states: dict[str, int] = field(default_factory=dict)

    def told(self, course: Course) -> str:
        """For whoever reads it."""
        total = sum(self.stages.values()) or 1
        shares = ", ".join(f"{stage} {seconds / total:.0%}" for stage, seconds in self.stages.most_common())
        return (
            f"{course.lots:,} lots of {course.guides} guides, {course.providers} providers, {self.kills} kills,"
            f" {course.lost:.0%} of replies lost, {course.failing:.0%} of calls failing: {self.seconds:.0f} s,"
            f" {course.lots / self.seconds:.1f} lots/s in {self.runs} runs; {shares} of the time of the runs that"
            f" ended; peak memory {self.peak_mib:.0f} MiB (first run {self.first_peak_mib:.0f} MiB); {self.states}"
        )


def race(course: Course, database_url: str, folder: Path) -> Result:
    """Run it over an empty database at ``database_url``; files go to ``folder``."""
    dice, result = random.Random(course.seed), Result()
    bad = _fill(course, folder, dice)
    with _servers(course, folder) as (hat, operator):
        (folder / "token").write_text(TOKEN)
        (folder / "hat.url").write_text(database_url)
        (folder / f"{TENANT}.toml").write_text(
            _TENANT_FILE.format(
                tenant=TENANT, registry=REGISTRY, folder=folder, hat=hat, operator=operator, workers=course.workers
            )
        )
        began = time.monotonic()
        _drive(course, folder, operator, database_url, dice, result)
        result.seconds = time.monotonic() - began
    result.states = dict(_ask(database_url, "SELECT state, count(*) FROM hat_etl.billing_lots GROUP BY 1"))
    result.wrong += _faults_of(course, folder, bad)
    return result


def _fill(course: Course, folder: Path, dice: random.Random) -> set[str]:
    """Lots for HAT to list; gives the numbers of the bad ones."""
    state, bad = State(folder / "hat.sqlite"), set()
    for number in range(1, course.lots + 1):
        kind = "consulta"
        if dice.random() < course.bad:
            kind = "wrong_hash"
            bad.add(str(number))
        provider = f"{number % course.providers:06d}"
        recipe = {
            "registry": REGISTRY,
            "provider": provider,
            "number": str(number),
            "guides": course.guides,
            "kind": kind,
        }
        state.add(Recipe.model_validate(recipe))
    state.close()
    return bad


@contextmanager
def _servers(course: Course, folder: Path) -> Iterator[tuple[str, str]]:
    (folder / "token").write_text(TOKEN)
    faults = json.dumps({"fail": course.failing, "lose": course.lost, "shuffle": True, "seed": course.seed})
    hat = services.start(
        "hat_etl.sandbox.hat",
        ["--file", str(folder / "hat.sqlite"), "--token-file", str(folder / "token"), "--tenant-name", TENANT,
         "--tenant-id", "1", "--registry", REGISTRY, "--faults", faults],
    )  # fmt: skip
    try:
        operator = services.start(
            "hat_etl.sandbox.operator",
            ["--registry", REGISTRY, "--file", str(folder / "operator.sqlite"), "--seed", str(course.seed),
             "--fail", str(course.failing), "--lose-reply", str(course.lost)],
        )  # fmt: skip
        try:
            yield hat.url, operator.url
        finally:
            operator.stop()
    finally:
        hat.stop()


def _drive(course: Course, folder: Path, operator: str, database_url: str, dice: random.Random, result: Result) -> None:
    """Run the loop until nothing is left to do, killing it at moments that nobody has chosen."""
    typical = 3.0
    while result.runs < ROUNDS:
        killed_after = dice.uniform(0.3, 1.0) * typical if result.kills < course.kills else None
        began = time.monotonic()
        ended, peak, out = _run(folder, killed_after)
        result.runs += 1
        result.peak_mib = max(result.peak_mib, peak)
        if not ended:
            result.kills += 1
            # As runs get further, kills have to come later, or nothing beyond them would ever be hit.
            typical = min(typical * 1.15, 60.0)
            continue
        result.first_peak_mib = result.first_peak_mib or peak
        typical = max(1.0, time.monotonic() - began)
        for report in json.loads(out):
            result.stages[report["stage"]] += report["seconds"]
        moved = httpx.post(f"{operator}/control/advance", timeout=600).json()["moved"]
        if moved == 0 and result.kills >= course.kills and _is_done(course, database_url):
            return
    result.wrong.append(f"not done after {ROUNDS} runs")


def _run(folder: Path, killed_after: float | None) -> tuple[bool, float, str]:
    """One run of the loop: whether it ended by itself, the most memory it held in MiB, and what it printed."""
    environment = {**os.environ, "HAT_ETL_TENANTS": str(folder)}
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "hat_etl.cli.main", "billing", "run", TENANT, "--json"],
            stdout=out, stderr=subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        killed = False
        if killed_after is not None:
            try:
                process.wait(killed_after)
            except subprocess.TimeoutExpired:
                process.kill()
                killed = True
        peak = _reap(process)
        out.seek(0)
        return not killed, peak, out.read()


def _reap(process: subprocess.Popen[bytes]) -> float:
    if process.returncode is not None:
        return 0.0
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_maxrss / 1024


def _is_done(course: Course, database_url: str) -> bool:
    (open_,) = _ask(
        database_url,
        "SELECT (SELECT count(*) FROM hat_etl.billing_lots WHERE state IN ('final', 'refused')),"
        " (SELECT count(*) FROM hat_etl.billing_outbox WHERE state = 'waiting')",
    )
    return open_ == (course.lots, 0)


def _faults_of(course: Course, folder: Path, bad: set[str]) -> list[str]:
    """What is wrong in the end, as the servers themselves count."""
    state, ledger = State(folder / "hat.sqlite"), Ledger(folder / "operator.sqlite")
    at_operator = {lot.number: lot for lot in ledger.all()}
    wrong = []
    if set(at_operator) != {str(number) for number in range(1, course.lots + 1)} - bad:
        wrong.append(f"the operator has {len(at_operator)} lots, not the {course.lots - len(bad)} good ones")
    for lot in at_operator.values():
        if lot.arrivals != 1:
            wrong.append(f"lot {lot.number} was delivered {lot.arrivals} times")
    for shown in state.lots():
        known = at_operator.get(shown.batch_number)
        wanted = (int(known.status), known.protocol) if known else (4, None)
        if (shown.status, shown.protocol) != wanted:
            wrong.append(f"HAT shows {shown.status, shown.protocol} of lot {shown.batch_number}, not {wanted}")
        if known is not None and len(shown.causes) != len(known.denials):
            wrong.append(f"HAT shows {len(shown.causes)} denials of lot {shown.batch_number}, not {len(known.denials)}")
    by_provider: dict[str, list[int]] = {}
    for lot in at_operator.values():
        by_provider.setdefault(lot.provider, []).append(int(lot.number))
    wrong += [f"the lots of provider {p} did not keep their order" for p, n in by_provider.items() if n != sorted(n)]
    state.close()
    ledger.close()
    return wrong


def _ask(database_url: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(query.encode()).fetchall()


def main() -> None:
    """Run the race on an embedded PostgreSQL."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in vars(Course()).items():
        parser.add_argument(f"--{name}", type=type(value), default=value)
    course = Course(**vars(parser.parse_args()))
    from hat_etl.sandbox.server import HAT, LOADER, Sandbox, down

    with tempfile.TemporaryDirectory(prefix="billing") as name:
        folder = Path(name)
        sandbox = Sandbox.up(folder)
        try:
            sandbox.recreate_databases()
            result = race(course, sandbox.url(HAT, LOADER), folder)
        finally:
            down(folder)
    print(result.told(course))
    for wrong in result.wrong[:50]:
        print(wrong, file=sys.stderr)
    sys.exit(1 if result.wrong else 0)


if __name__ == "__main__":
    main()
