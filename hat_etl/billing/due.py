"""Whether a stage of a tenant has anything to do now: one question to its database."""

from __future__ import annotations

from hat_etl.billing.store import store_of
from hat_etl.tenants.config import Tenant

_QUESTIONS = {
    "send": "SELECT FROM hat_etl.billing_lots l WHERE hold IS NULL AND (state IN ('validated', 'sent')"
    " OR (state = 'unknown' AND state_since <= now() - make_interval(secs => %(doubt)s))"
    " OR (state = 'queued' AND EXISTS (SELECT FROM hat_etl.billing_outbox o WHERE o.lot = l.lot"
    " AND kind = 'deliver' AND o.state = 'waiting' AND not_before <= now())))",
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
