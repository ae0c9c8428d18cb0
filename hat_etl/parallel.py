"""Independent tasks on several threads: the first that fails stops the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait


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
            finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
        except BaseException:
            give_up()
            for future in futures:
                future.cancel()
            raise
