"""What the store tells: all lots in short, and the whole story of one. Reads only; no data of beneficiaries."""

from __future__ import annotations

from typing import Any

from psycopg.rows import dict_row

from hat_etl.billing.decisions import only
from hat_etl.billing.states import MEANINGS, State
from hat_etl.billing.store import Store, store_of
from hat_etl.tenants.config import Tenant

_LISTED = 50

_MOVING = [str(state) for state in State if state not in (State.FINAL, State.REFUSED, State.WITHDRAWN)]
"""States in which something is still to happen."""


def overview(tenant: Tenant) -> dict[str, Any]:
    """Lots by state, those that wait for a person, files that are missing, and what waits to leave."""
    with store_of(tenant) as store:
        if not store.is_there():
            return {"tenant": tenant.name, "states": {}, "held": [], "stuck": [], "missing": [], "waiting": {}}
        states = _ask(store, "SELECT state, count(*) AS lots FROM hat_etl.billing_lots GROUP BY state ORDER BY state")
        waiting = _ask(
            store,
            "SELECT kind, count(*) AS messages FROM hat_etl.billing_outbox WHERE state = 'waiting' GROUP BY kind",
        )
        return {
            "tenant": tenant.name,
            "states": {row["state"]: row["lots"] for row in states},
            "held": _ask(
                store,
                "SELECT batch_number, provider, state, coalesce(hold, 'unknown') AS waits_for, state_since"
                " FROM hat_etl.billing_lots WHERE hold IS NOT NULL"
                # One that is in doubt has been asked about by then, unless the loop stands still.
                " OR (state = 'unknown' AND state_since <= now() - make_interval(secs => %s))"
                " ORDER BY state_since LIMIT %s",
                (2 * tenant.billing.unknown_wait_seconds, _LISTED),
            ),
            "stuck": stuck(store),
            "missing": _ask(
                store,
                "SELECT batch_number, provider, code, attempts, first_at FROM hat_etl.billing_missing_files"
                " ORDER BY first_at LIMIT %s",
                (_LISTED,),
            ),
            "waiting": {row["kind"]: row["messages"] for row in waiting},
        }


def stuck(store: Store) -> list[dict[str, Any]]:
    """Lots that stand still longer than the tenant's file allows: in a state that is not final, or untold in HAT."""
    hours = store.tenant.billing.stuck_hours
    return _ask(
        store,
        "SELECT batch_number, provider, state, state_since FROM hat_etl.billing_lots"
        " WHERE state = ANY (%s) AND state_since < now() - make_interval(hours => %s)"
        " UNION ALL SELECT batch_number, provider, 'not told to HAT', o.created_at FROM hat_etl.billing_outbox o"
        " JOIN hat_etl.billing_lots USING (lot) WHERE kind IN ('status', 'delete') AND o.state = 'waiting'"
        " AND o.created_at < now() - make_interval(hours => %s) ORDER BY state_since LIMIT %s",
        (_MOVING, hours, hours, _LISTED),
    )


def story(tenant: Tenant, batch_number: str, provider: str | None = None) -> dict[str, Any]:
    """Everything that is known of one lot. Raises DataError when there is none."""
    with store_of(tenant) as store:
        with store.transaction() as connection:
            lot = only(store, connection, batch_number, provider).lot
        (row,) = _ask(store, "SELECT * FROM hat_etl.billing_lots WHERE lot = %s", (lot,))
        contents = _ask(
            store,
            "SELECT sha256, coalesce(bytes, length(content)) AS bytes, pulled_at, place"
            " FROM hat_etl.billing_contents WHERE lot = %s ORDER BY pulled_at",
            (lot,),
        )
        messages = _ask(
            store,
            "SELECT kind, state, attempts, created_at, done_at, error, body ->> 'status' AS status"
            " FROM hat_etl.billing_outbox WHERE lot = %s ORDER BY id",
            (lot,),
        )
        history = _ask(
            store,
            "SELECT at, event, from_state, to_state, detail FROM hat_etl.billing_history WHERE lot = %s ORDER BY id",
            (lot,),
        )
    # A person's CPF it may be.
    del row["origin_code"]
    status = row["tiss_status"]
    row["status_meaning"] = MEANINGS.get(status, "código desconhecido") if status is not None else None
    return {"lot": row, "contents": contents, "messages": messages, "history": history}


def _ask(store: Store, query: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
    with store.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query.encode(), values).fetchall()
