"""A call in a process of its own comes back as if it had been made here."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import pytest

from hat_etl.errors import HatEtlError, SourceError
from hat_etl.own_process import call_apart
from hat_etl_tests.failures.ground import DEADLINE, eventually
from hat_etl_tests.test_parallel import interrupt


class Ended(BaseException):
    """Ends a wait."""


def number(add: int, *, times: int) -> int:
    return (os.getpid() + add) * times


def refuse() -> None:
    raise SourceError("The ERP is gone.", "Fetch it.", tenant="acme", table="persons")


def fail() -> None:
    raise ValueError("MARIA DA SILVA")


def die() -> None:
    os._exit(42)


def end_the_caller() -> None:
    os.kill(os.getppid(), signal.SIGUSR1)
    while True:
        signal.pause()


def tell_and_wait(folder: str) -> None:
    made = Path(folder) / "made"
    made.write_text(str(os.getpid()), encoding="ascii")
    made.rename(made.with_name("number"))
    signal.pause()


def test_it_ends_with_a_caller_who_is_killed(tmp_path: Path) -> None:
    """A sync of all tenants that was killed went on with the tenant at which it was, and held its lock."""
    code = (
        f"from hat_etl.own_process import call_apart; from {__name__} import tell_and_wait;"
        f"call_apart(tell_and_wait, {str(tmp_path)!r})"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as caller:
        eventually((tmp_path / "number").exists, "the call is made")
        made = psutil.Process(int((tmp_path / "number").read_text(encoding="ascii")))
        caller.kill()
    with suppress(psutil.NoSuchProcess):
        made.wait(DEADLINE)


def test_ctrl_c_of_a_terminal_does_not_reach_it_while_it_starts() -> None:
    """Until it had its imports, it died of it with a traceback, which stood among the words of the command."""
    code = (
        "import multiprocessing, os, signal, threading; signal.signal(signal.SIGINT, lambda *_: None);"
        f"from hat_etl.own_process import call_apart; from {__name__} import number;"
        "call = threading.Thread(target=lambda: print(call_apart(number, 0, times=0))); call.start();"
        "next(filter(None, iter(multiprocessing.active_children, None))); os.killpg(0, signal.SIGINT); call.join()"
    )
    ended = subprocess.run([sys.executable, "-c", code], start_new_session=True, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("0\n", "")


def test_it_runs_in_another_process_and_gives_what_it_returns() -> None:
    assert call_apart(number, 0, times=1) not in (os.getpid(), None)
    assert call_apart(number, 1, times=2) % 2 == 0


def test_an_error_comes_back_whole() -> None:
    with pytest.raises(SourceError) as caught:
        call_apart(refuse)
    assert caught.value == SourceError("The ERP is gone.", "Fetch it.", "acme", "persons")


def test_an_error_that_nobody_foresaw_comes_back_without_its_text() -> None:
    with pytest.raises(HatEtlError) as caught:
        call_apart(fail)
    assert caught.value.cause == "Unexpected ValueError."


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(HatEtlError) as caught:
        call_apart(die)
    assert "exit code 42" in caught.value.cause


def test_it_ends_with_a_caller_who_is_interrupted() -> None:
    def end(number: int, frame: object) -> None:
        raise Ended

    before = signal.signal(signal.SIGUSR1, end)
    try:
        with pytest.raises(Ended):
            call_apart(end_the_caller)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not multiprocessing.active_children()


@pytest.mark.usefixtures("heard")
def test_a_signal_that_does_not_end_the_wait_is_heard_all_the_same() -> None:
    """A sync of all tenants that was told to stop went on until the tenant at which it was had been synchronised."""
    began, thread = time.monotonic(), threading.Thread(target=interrupt, args=(Connection.recv, Connection.poll))
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        call_apart(time.sleep, 20)
    thread.join()
    assert time.monotonic() - began < 20
