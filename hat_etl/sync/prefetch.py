"""Read ahead: a thread that keeps a bounded number of batches ready."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, nullcontext
from typing import TypeVar, cast

T = TypeVar("T")

AHEAD = 2
"""Batches that wait between two stages."""


def prefetch(produce: Callable[[], Iterator[T]]) -> Generator[T, None, None]:
    """Items of ``produce()``, which runs in a thread of its own, at most ``AHEAD`` items in front.

    An error of the producer is raised here. Closing this generator stops the producer and waits for its end.
    """
    ready: queue.Queue[tuple[str, T | BaseException | None]] = queue.Queue(AHEAD)
    stop = threading.Event()

    def offer(kind: str, item: T | BaseException | None) -> bool:
        while not stop.is_set():
            try:
                ready.put((kind, item), timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def run() -> None:
        try:
            items = produce()
            with closing(items) if isinstance(items, Generator) else nullcontext():
                for item in items:
                    if not offer("item", item):
                        return
            offer("end", None)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
            offer("error", error)

    thread = threading.Thread(target=run, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, item = ready.get()
            if kind == "item":
                yield cast(T, item)
            elif kind == "error":
                assert isinstance(item, BaseException)
                raise item
            else:
                return
    finally:
        stop.set()
        thread.join()
