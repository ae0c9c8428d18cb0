"""The connection broke while a sync committed: the ledger, written by the same transaction, tells the outcome."""

from __future__ import annotations

import threading

import psycopg

from hat_etl.errors import TargetError
from hat_etl.target import ledger
from hat_etl.target.database import TenantDatabase, errors, target_failed

_QUESTIONS = 20
_PAUSE_SECONDS = 0.5


def settle(database: TenantDatabase, tenant: str, run: int, session: int, state: str) -> None:
    """Return when run ``run``, committed by server process ``session``, stands in the ledger with ``state``.

    Raises TargetError when the commit did not happen, or when the server does not answer for ten seconds.
    """
    for _ in range(_QUESTIONS):
        committed = _ask_ledger(database, tenant, run, session, state)
        if committed:
            return
        if committed is False:
            raise target_failed(tenant, None, psycopg.OperationalError(), "sync")
        threading.Event().wait(_PAUSE_SECONDS)
    raise TargetError(
        "The connection was lost while the run committed, and the tenant database does not answer: whether the"
        " changes are in HAT is not known yet.",
        f"When it is up again, hat-etl status {tenant} tells; a new hat-etl sync {tenant} is right in either case.",
        tenant=tenant,
    ) from None


def _ask_ledger(database: TenantDatabase, tenant: str, run: int, session: int, state: str) -> bool | None:
    """Whether the transaction of that session is committed; None while nobody can tell."""
    try:
        with database.connect() as asking, errors(tenant, command="sync"):
            if not database.end_session(asking, session):
                return None
            if ledger.state_of(asking, run) == state:
                return True
            ledger.fail(asking, run, "failed", "the connection was lost and the commit did not happen")
            return False
    except TargetError:
        return None
