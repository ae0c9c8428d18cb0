"""A call in a process of its own, for what a process cannot take back once it has done it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, ParamSpec, TypeVar

from hat_etl.errors import HatEtlError
from hat_etl.parallel import LISTENING

P = ParamSpec("P")
T = TypeVar("T")

# A fork would begin with what this process has done already.
_PROCESSES = multiprocessing.get_context("spawn")


def call_apart(function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What ``function`` returns, or the HatEtlError that it raises; both must be picklable, and so its arguments.

    Raises HatEtlError, too, when anything else is raised there, or when the process dies. That ends when this call is
    interrupted, and when the process that called ends, whichever way.
    """
    here, there = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_answer, args=(there, function, arguments, named), daemon=True)
    with _deaf():
        process.start()
    there.close()
    try:
        while not here.poll(LISTENING):
            pass
        outcome = here.recv()
    except EOFError:
        process.join()
        outcome = HatEtlError(f"Its process has died (exit code {process.exitcode}).", "Start it again.")
    except BaseException:
        process.kill()
        raise
    finally:
        process.join()
    if isinstance(outcome, HatEtlError):
        raise outcome
    answer: T = outcome
    return answer


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that are started hear no Ctrl-C of a terminal: the caller does, which then ends them."""
    resource_tracker.ensure_running()  # its own start, which comes with that of the first process, lets SIGINT in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _answer(caller: Connection, function: Callable[..., Any], arguments: Any, named: Any) -> None:
    threading.Thread(target=_end_with_caller, daemon=True).start()
    try:
        outcome = function(*arguments, **named)
    except HatEtlError as error:
        outcome = error
    except Exception as error:  # noqa: BLE001 - its text may quote values of the data
        outcome = HatEtlError(f"Unexpected {type(error).__name__}.", "Run the command for this tenant alone.")
    caller.send(outcome)


def _end_with_caller() -> None:
    caller = multiprocessing.parent_process()
    assert caller is not None
    caller.join()
    os._exit(1)
