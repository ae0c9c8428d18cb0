"""The connection broke while a run committed: the ledger, written by the same transaction, tells the outcome."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from hat_etl.errors import TargetError
from hat_etl.target import ledger
from hat_etl.target.database import Connection, TenantDatabase, errors, target_failed

_QUESTIONS = 20
_PAUSE_SECONDS = 0.5


@contextmanager
def settled_by_ledger(database: TenantDatabase, control: Connection, run: int, again: str) -> Iterator[None]:
    """The transaction on ``control`` that closes ``run`` in the ledger with all that the run has done.

    Raises TargetError, which tells to go on with the command ``again``; when the connection is lost over the commit,
    only if the commit did not happen, or if the server does not answer for ten seconds.
    """
    session, is_committing = control.info.backend_pid, False
    try:
        with errors(database.tenant.name, again=again), control.transaction():
            yield
            is_committing = True
    except TargetError:
        if not (is_committing and (control.closed or control.broken)):
            raise
        _settle(database, run, session, again)


def _settle(database: TenantDatabase, run: int, session: int, again: str) -> None:
    """Return when ``run``, committed by server process ``session``, stands in the ledger as committed."""
    tenant = database.tenant.name
    for _ in range(_QUESTIONS):
        committed = _ask_ledger(database, run, session, again)
        if committed:
            return
        if committed is False:
            raise target_failed(tenant, None, psycopg.OperationalError(), again)
        threading.Event().wait(_PAUSE_SECONDS)
    raise TargetError(
        "The connection was lost while the run committed, and the tenant database does not answer: whether the"
        " changes are in HAT is not known yet.",
        f"When it is up again, hat-etl status {tenant} tells; right in either case is: {again}",
        tenant=tenant,
    ) from None


def _ask_ledger(database: TenantDatabase, run: int, session: int, again: str) -> bool | None:
    """Whether the transaction of that session is committed; None while nobody can tell."""
    try:
        with database.connect() as asking, errors(database.tenant.name, again=again):
            if not database.end_session(asking, session):
                return None
            if ledger.state_of(asking, run) in ledger.COMMITTED:
                return True
            ledger.fail(asking, run, "failed", "the connection was lost and the commit did not happen")
            return False
    except TargetError:
        return None
