"""Tasks side by side, and the thread that waits for them."""

from __future__ import annotations

import concurrent.futures
import signal
import sys
import threading
import traceback

import pytest

from hat_etl.parallel import in_parallel


def main_waits() -> bool:
    frame = sys._current_frames()[threading.main_thread().ident or 0]
    return any(at.f_code is concurrent.futures.wait.__code__ for at, _ in traceback.walk_stack(frame))


def test_a_signal_that_does_not_end_the_wait_is_heard_all_the_same() -> None:
    """A load that was told to stop at the moment in which it began to wait went on, for no server answered it."""
    give_up, heard = threading.Event(), list[bool]()

    def task() -> None:
        while not main_waits():
            pass
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)  # taken here: the thread that waits sleeps on
        heard.append(give_up.wait(20))

    with pytest.raises(KeyboardInterrupt):
        in_parallel([task], 1, give_up.set, "task")
    assert heard == [True]
