"""Independent tasks on several threads: the first that fails stops the others."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

T = TypeVar("T")

LISTENING = 1.0
"""Seconds after which a wait begins anew: a signal that comes while it begins is not heard before it ends."""


def in_parallel(tasks: Sequence[Callable[[], None]], workers: int, give_up: Callable[[], None], name: str) -> None:
    """Carry out all ``tasks`` in threads called ``name``, at most ``workers`` at a time.

    Of the first error, and of an interruption, ``give_up`` tells the tasks that are going on; no more begin, and the
    error is raised when all have ended.
    """
    if not tasks:
        return
    with ThreadPoolExecutor(min(workers, len(tasks)), thread_name_prefix=name) as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            unfinished = set(futures)
            while unfinished:
                finished, unfinished = wait(unfinished, LISTENING, FIRST_EXCEPTION)
                for future in finished:
                    future.result()
        except BaseException:
            give_up()
            for future in futures:
                future.cancel()
            raise


def result_of(future: Future[T]) -> T:
    """What a future gives, or the error that it raises; a signal is heard while it is waited for."""
    while wait([future], LISTENING).not_done:
        pass
    return future.result()


def taken(ready: queue.Queue[T] | queue.SimpleQueue[T]) -> T:
    """The next item of a queue; a signal is heard while it is waited for."""
    while True:
        try:
            return ready.get(timeout=LISTENING)
        except queue.Empty:
            continue
