"""Nothing is launched twice, and nothing is lost: ticks in processes of their own, killed between two writes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest

from hat_etl.orchestration.doubles import is_double
from hat_etl.tenants import store
from hat_etl_tests.orchestration.conftest import ROOT
from hat_etl_tests.servers import Server

DEADLINE = 300.0
TENANTS = ("alfa", "beta", "gama")
MOMENTS = ("TICK_CREATED", "RUN_IDS_RESERVED", "RUN_CREATED", "RUN_LAUNCHED")


@pytest.fixture
def instance(
    home: Path, postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Dagster on PostgreSQL, and three tenants that are due: once a year, and never launched."""
    monkeypatch.setenv("HAT_DAGSTER_URL", postgres.url(postgres.create_database("launches")))
    folder = tmp_path / "tenants"
    folder.mkdir()
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(folder))
    for name in TENANTS:
        (folder / f"{name}.toml").write_text(
            f'name = "{name}"\nans_registry = "412345"\n[erp]\ndialect = "postgresql"\nurl = "env:NOT_SET"\n'
            'company = "01"\n[hat]\nurl = "env:NOT_SET"\n[schedule]\nincremental = "0 3 1 1 *"\n',
            encoding="utf-8",
        )
    with dg.DagsterInstance.get() as opened:
        opened.add_dynamic_partitions("tenant", list(TENANTS))
        yield opened


def ticks(*moment: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "hat_etl_tests.orchestration.two_ticks", *moment]
    return subprocess.Popen(words, cwd=ROOT, start_new_session=True)


def code(process: subprocess.Popen[bytes]) -> int:
    """The exit code of the process, whose code server goes with it."""
    found = process.wait(DEADLINE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return found


def launched(instance: dg.DagsterInstance) -> Counter[str]:
    """Per tenant, the runs that will do something."""
    return Counter(run.tags["dagster/partition"] for run in instance.get_runs() if not is_double(run, instance))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_daemon_killed_while_it_launches_has_launched_each_tenant_once_when_it_runs_again(
    moment: str, instance: dg.DagsterInstance
) -> None:
    assert code(ticks(moment)) == -signal.SIGKILL
    assert len(instance.get_runs()) < len(TENANTS)
    assert code(ticks()) == 0
    assert launched(instance) == dict.fromkeys(TENANTS, 1)
    assert {run.status.value for run in instance.get_runs()} == {"QUEUED"}


def test_of_two_daemons_that_tick_at_once_each_tenant_has_one_run_that_does_something(
    instance: dg.DagsterInstance,
) -> None:
    store.folder().rename(store.folder().with_name("none"))
    assert code(ticks()) == 0, "the sensors are known to Dagster; nobody is due yet"
    store.folder().with_name("none").rename(store.folder())
    both = [ticks(), ticks()]
    assert [code(process) for process in both] == [0, 0]
    assert launched(instance) == dict.fromkeys(TENANTS, 1)
