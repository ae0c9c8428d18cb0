"""Whether a stage of a tenant has anything to do now: one question to its database."""

from __future__ import annotations

from hat_etl.billing.store import EARLIER, ORDER, store_of
from hat_etl.tenants.config import Tenant

UNCHECKED_BEFORE = f"SELECT FROM hat_etl.billing_lots b WHERE {EARLIER} AND b.state = 'pulled' AND b.hold IS NULL"
"""An earlier lot of the provider whose check could not be done, as when its bytes could not be read."""

_FIRST = (
    "SELECT DISTINCT ON (provider) lot, state, state_since, next_poll FROM hat_etl.billing_lots"
    f" WHERE state IN ('queued', 'unknown') AND hold IS NULL ORDER BY {ORDER}"
)
"""The lot of each provider that its later ones wait for."""

_QUESTIONS = {
    "send": "SELECT 1 FROM hat_etl.billing_lots WHERE state = 'sent'"
    f" OR (state = 'validated' AND hold IS NULL AND NOT EXISTS ({UNCHECKED_BEFORE}))"
    f" UNION ALL SELECT 1 FROM ({_FIRST}) f WHERE CASE state"
    " WHEN 'unknown' THEN state_since <= now() - make_interval(secs => %(doubt)s)"
    " AND coalesce(next_poll <= now(), true)"
    " ELSE EXISTS (SELECT FROM hat_etl.billing_outbox o WHERE o.lot = f.lot AND kind = 'deliver'"
    " AND o.state = 'waiting' AND not_before <= now()) END",
    "poll": "SELECT FROM hat_etl.billing_lots WHERE state IN ('protocolled', 'under analysis', 'final')"
    " AND next_poll <= now()",
    "push": "SELECT FROM hat_etl.billing_outbox WHERE kind IN ('status', 'delete') AND state = 'waiting'"
    " AND not_before <= now()",
}


def is_due(tenant: Tenant, stage: str) -> bool:
    """Whether ``send``, ``poll`` or ``push`` would do something. Raises TargetError."""
    with store_of(tenant) as store:
        if not store.is_there():
            return False
        with store.connection() as connection:
            row = connection.execute(
                f"SELECT EXISTS ({_QUESTIONS[stage]})".encode(), {"doubt": tenant.billing.unknown_wait_seconds}
            ).fetchone()
    return row == (True,)
