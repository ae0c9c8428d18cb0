"""Questions to many tenant databases at once: one that is silent keeps no tick waiting, nor the other tenants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

from hat_etl.errors import HatEtlError

if TYPE_CHECKING:
    from hat_etl.tenants.config import Tenant

Answer = TypeVar("Answer")

AT_ONCE = 16
SECONDS = 30.0
"""How long a tick waits for answers: Dagster gives up a tick, and forgets all that it has found, after a minute."""


def ask_all(
    tenants: Iterable[Tenant], ask: Callable[[Tenant], Answer], seconds: float = SECONDS
) -> dict[str, Answer | HatEtlError]:
    """What ``ask`` gives or raises for each tenant; without those that have not answered within ``seconds``.

    They are asked in the order given. What ``ask`` does for a silent one goes on until the driver gives it up.
    """
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="hat-ask")
    asked = {pool.submit(ask, tenant): tenant.name for tenant in tenants}
    try:
        answered, _ = wait(asked, seconds)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    answers: dict[str, Answer | HatEtlError] = {}
    for future in answered:
        try:
            answers[asked[future]] = future.result()
        except HatEtlError as error:
            answers[asked[future]] = error
    return answers
