"""Tasks side by side, and the thread that waits for them."""

from __future__ import annotations

import concurrent.futures
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pytest

from hat_etl.parallel import in_parallel, result_of
from hat_etl.source.adbc import Session
from hat_etl.source.postgresql_snapshot import PostgresSnapshot
from hat_etl.sync.view_reader import Absent, Offer, ViewReader, read_side_by_side


def main_waits_in(*waits: Callable[..., Any]) -> bool:
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    codes = {wait.__code__ for wait in waits}
    return any(at.f_code in codes for at, _ in traceback.walk_stack(frame))


def interrupt(*waits: Callable[..., Any]) -> None:
    """Ctrl-C while the main thread is in one of these; it is taken here, so that the one that waits sleeps on."""
    while not main_waits_in(*waits):
        pass
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)


def test_a_signal_that_does_not_end_the_wait_is_heard_all_the_same(heard: threading.Event) -> None:
    """A load that was told to stop at the moment in which it began to wait went on, for no server answered it."""
    in_time = list[bool]()

    def task() -> None:
        interrupt(concurrent.futures.wait)
        in_time.append(heard.wait(20))

    given_up = threading.Event()
    with pytest.raises(KeyboardInterrupt):
        in_parallel([task], 1, given_up.set, "task")
    assert in_time == [True]
    assert given_up.is_set()


def test_a_signal_that_does_not_end_the_wait_for_one_answer_is_heard_all_the_same(heard: threading.Event) -> None:
    """So did a sync that waited for the ERP to count its rows."""

    in_time = list[bool]()

    def answer() -> None:
        interrupt(Future.result, concurrent.futures.wait)
        in_time.append(heard.wait(20))

    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyboardInterrupt):
        result_of(pool.submit(answer))
    assert in_time == [True]


@dataclass
class Reader:
    """Reads from a server that answers when Ctrl-C was heard."""

    heard: threading.Event
    in_time: bool = False

    def tasks(self) -> list[Callable[[Offer], None]]:
        return [self._read]

    def _read(self, offer: Offer) -> None:
        interrupt(queue.Queue.get)
        self.in_time = self.heard.wait(20)
        offer(Absent("companies", np.array([], dtype=np.int64)))


def test_a_signal_that_does_not_end_the_wait_for_rows_is_heard_all_the_same(heard: threading.Event) -> None:
    """So did a sync that waited for the first rows of the views."""
    reader = Reader(heard)
    with pytest.raises(KeyboardInterrupt):
        next(read_side_by_side([cast(ViewReader, reader)], 1))
    assert reader.in_time


def test_a_signal_that_does_not_end_the_wait_for_a_session_is_heard_all_the_same(heard: threading.Event) -> None:
    """So did a sync all of whose sessions of the ERP were counting."""
    session, moment, in_time = cast(Session, object()), datetime.now(UTC), list[bool]()
    snapshot = PostgresSnapshot("demo", "hat-etl sync demo", moment, moment, [], "UTF8")

    def count() -> None:
        interrupt(PostgresSnapshot._session.__wrapped__)  # type: ignore[attr-defined]
        in_time.append(heard.wait(20))
        snapshot._free.put(session)

    counting = threading.Thread(target=count)
    counting.start()
    with pytest.raises(KeyboardInterrupt), snapshot._session("persons"):
        pass
    counting.join()
    assert in_time == [True]
