"""The process that fetches for runs that read much: it changes nothing but the speed, and never outlives its run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import oracledb
import psutil
import pyarrow as pa
import pytest

from hat_etl.entities import ENTITIES
from hat_etl.errors import SourceError
from hat_etl.sandbox.oracle.errors import OracleError
from hat_etl.sandbox.oracle.faults import CutOff, Fault, HangUp, Hold, Reset
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.source import oracle as oracle_source
from hat_etl.source import oracle_fetcher
from hat_etl.source.oracle_fetcher import Fetcher, FetcherDied, FetcherSession
from hat_etl.source.oracle_login import OracleLogin
from hat_etl.source.reader import Range, Snapshot, ViewShape
from hat_etl.tenants.oracle_address import OracleAddress
from hat_etl_tests.failures.commands import Command
from hat_etl_tests.failures.ground import DEADLINE, Ground
from hat_etl_tests.failures.syncing import assert_told
from hat_etl_tests.oracle.conftest import PASSWORD, address
from hat_etl_tests.oracle.test_faults import BENEFICIARIES, SECOND_BATCH, opened, small_batches, told


def small_batches_apart() -> None:
    """Called in the process of a command."""
    small_batches()
    oracle_source.MANY_ROWS = 1


def started(ground: Ground, *arguments: str) -> Command:
    return ground.start("load", ground.name, "--json", *arguments, prepare=small_batches_apart)


def fetchers(process: int) -> list[psutil.Process]:
    """The processes that fetch for this one."""
    return [
        child
        for child in psutil.Process(process).children()
        if any(oracle_fetcher.__name__ in w for w in child.cmdline())
    ]


def whole(snapshot: Snapshot, shape: ViewShape) -> list[pa.RecordBatch]:
    bounds = snapshot.bounds(shape)
    return [] if bounds is None else list(snapshot.stream(shape, bounds))


@pytest.fixture
def session(oracle: OracleServer) -> Iterator[FetcherSession]:
    """A session of a process of its own, not connected yet."""
    with closing(Fetcher(_login(oracle), 1)) as fetcher:
        yield fetcher.sessions[0]


def _login(server: OracleServer, password: str = PASSWORD) -> OracleLogin:
    return OracleLogin("demo", OracleAddress("hat_reader", password, server.address))


def test_every_view_reads_the_same_apart(ground: Ground) -> None:
    with closing(opened(ground)) as source:
        shapes = [source.describe(entity) for entity in ENTITIES]
        with source.snapshot() as here:
            expected = [whole(here, shape) for shape in shapes]
        with source.snapshot(oracle_source.MANY_ROWS) as apart:
            assert {type(session) for session in apart.sessions} == {FetcherSession}
            assert [whole(apart, shape) for shape in shapes] == expected
            assert apart.live(shapes[0])[0] > 0


@pytest.mark.parametrize("fault", [OracleError(3113), Reset(), HangUp(), CutOff(), OracleError(1555)], ids=told)
def test_a_fault_apart_has_the_fate_that_it_has_here(fault: Exception, oracle: OracleServer, ground: Ground) -> None:
    before = ground.contents()
    oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH, fault))
    result = started(ground, "--only", "beneficiaries").wait()
    assert result.exit_code == 0, result.err
    assert ground.contents() == before
    ground.assert_clean()


def test_one_session_in_a_transaction_can_be_apart_too(oracle: OracleServer, ground: Ground) -> None:
    before = ground.contents()
    ground.erp_url = address(oracle, "present")
    assert started(ground).wait().exit_code == 0
    assert ground.contents() == before


def test_a_load_whose_fetcher_is_killed_says_so_and_can_be_resumed(oracle: OracleServer, ground: Ground) -> None:
    before, state = ground.contents(), ground.state()
    hold = Hold()
    oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH, hold))
    running = started(ground)
    assert hold.reached.wait(DEADLINE)
    (fetcher,) = fetchers(running.pid)
    fetcher.kill()
    hold.go_on.set()
    result = running.wait()
    assert result.exit_code == 4
    assert_told(result.err, "demo / ", "oracle_fetcher) has died", "memory", "hat-etl load demo --resume")
    assert ground.state() == state
    assert started(ground, "--resume").wait().exit_code == 0
    assert ground.contents() == before
    ground.assert_clean()


def test_a_fetcher_killed_before_it_reads_is_told_as_itself(oracle: OracleServer, ground: Ground) -> None:
    """It was told as a failure of the ERP, by the name of a class (FetcherDied)."""
    hold, ground.erp_url = Hold(), address(oracle, "present")
    oracle.faults.plant(Fault("SET TRANSACTION READ ONLY", 0, hold))
    running = started(ground)
    assert hold.reached.wait(DEADLINE)
    (fetcher,) = fetchers(running.pid)
    fetcher.kill()
    hold.go_on.set()
    result = running.wait()
    assert result.exit_code == 4
    assert_told(result.err, "demo", "oracle_fetcher) has died", "hat-etl load demo --resume")


def test_a_fetcher_that_does_not_start_is_told(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was told as an ERP that cannot be reached."""
    with closing(opened(ground)) as source:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(SourceError, match=r"fetches rows .* has died"), source.snapshot(oracle_source.MANY_ROWS):
            pass


def test_ctrl_c_of_a_terminal_does_not_reach_a_fetcher_that_starts() -> None:
    """Until it had its imports, it died of it with a traceback, which stood among the words of the load."""
    begun = (
        "import os, signal; signal.signal(signal.SIGINT, lambda *_: None);"
        "from hat_etl.source.oracle_fetcher import Fetcher; fetcher = Fetcher(None, 1);"
        "os.killpg(0, signal.SIGINT); [session.close() for session in fetcher.sessions]; fetcher._life.close();"
        "print(fetcher._process.wait())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", begun], start_new_session=True, check=True, capture_output=True, text=True
    )
    assert (ended.stdout, ended.stderr) == ("0\n", "")


def test_a_fetcher_that_cannot_be_started_is_told(ground: Ground, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without room for one more process ended the load in a traceback."""
    with closing(opened(ground)) as source:
        monkeypatch.setattr(sys, "executable", "/nowhere")
        with pytest.raises(SourceError, match=r"fetches rows .* has died"), source.snapshot(oracle_source.MANY_ROWS):
            pass


def test_a_fetcher_ends_with_the_load_that_is_killed(oracle: OracleServer, ground: Ground) -> None:
    before, hold = ground.contents(), Hold()
    oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH, hold))
    running = started(ground)
    assert hold.reached.wait(DEADLINE)
    (fetcher,) = fetchers(running.pid)
    psutil.Process(running.pid).kill()
    fetcher.wait(DEADLINE)
    hold.go_on.set()
    assert started(ground, "--resume").wait().exit_code == 0
    assert ground.contents() == before
    ground.assert_clean()


def test_a_snapshot_that_is_left_in_the_middle_of_a_range_leaves_no_process(ground: Ground) -> None:
    with closing(opened(ground)) as source:
        shape = max((source.describe(entity) for entity in ENTITIES), key=lambda shape: shape.estimated_rows)
        with source.snapshot(oracle_source.MANY_ROWS) as snapshot:
            (fetcher,) = fetchers(psutil.Process().pid)
            bounds = snapshot.bounds(shape)
            assert bounds is not None
            batches = snapshot.stream(shape, Range(bounds.low, bounds.high))
            assert next(iter(batches)).num_rows
        assert not fetcher.is_running()


def test_no_secret_stands_where_other_processes_can_read_it(session: FetcherSession) -> None:
    session.reconnect()
    (fetcher,) = fetchers(psutil.Process().pid)
    folder = Path("/proc") / str(fetcher.pid)
    assert PASSWORD.encode() not in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()


def test_a_refused_login_is_told_by_the_driver_s_own_error(oracle: OracleServer) -> None:
    refused = pytest.raises(oracledb.DatabaseError, match="ORA-01017")
    with closing(Fetcher(_login(oracle, "errada"), 1)) as fetcher, refused:
        fetcher.sessions[0].reconnect()


def test_an_error_of_a_statement_leaves_the_session_usable(session: FetcherSession) -> None:
    session.reconnect()
    with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        session.rows("SELECT 1 FROM NOWHERE")
    with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        list(session.batches("SELECT 1 AS C0 FROM NOWHERE", {}, [pa.int64()], 10))
    assert session.rows("SELECT 1 FROM DUAL") == [(1,)]


def test_a_session_whose_rows_are_not_fetched_to_the_end_is_closed(session: FetcherSession, ground: Ground) -> None:
    session.reconnect()
    with closing(opened(ground)) as source:
        view = ".".join(f'"{part}"' for part in source.describe(ENTITIES[0]).relation)
    batches = session.batches(f'SELECT "RECNO" AS C0 FROM {view}', {}, [pa.int64()], 1)
    assert np.array(next(batches).column(0)).size == 1
    batches.close()
    with pytest.raises(FetcherDied):
        session.rows("SELECT 1 FROM DUAL")


def test_a_session_that_breaks_over_there_is_told_here(session: FetcherSession) -> None:
    """Its thread ended and its line stayed open: whoever had asked waited for ever."""
    session._line.send(b"no message")
    with pytest.raises(FetcherDied):
        session.rows("SELECT 1 FROM DUAL")
