"""Strategies that make ERP activity; they shrink to plain updates of the first row of a table that needs no other."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from hat_etl.sandbox import physical
from hat_etl.sandbox.churn import Clock, Kind, Operation, serves
from hat_etl.sandbox.churn.operations import ENDS
from hat_etl.sandbox.churn.tables import table

SIMPLE_FIRST = ("BTS", "BA3", "BA1", "BFE", "BFO", "BAU")
ALIASES = (*SIMPLE_FIRST, *(alias for alias in physical.aliases() if alias not in SIMPLE_FIRST))
CHANGES = tuple(kind for kind in Kind if kind not in ENDS)
TRANSACTIONS = ("", "a", "b")


@st.composite
def operations(
    draw: st.DrawFn,
    kinds: Sequence[Kind] = CHANGES,
    aliases: Sequence[str] = ALIASES,
    clocks: Sequence[Clock] = tuple(Clock),
    transactions: Sequence[str] = TRANSACTIONS,
    max_rows: int = 3,
) -> Operation:
    """One change; with a transaction other than "" it is seen only after that one's COMMIT."""
    able = [kind for kind in kinds if any(serves(kind, table(alias)) for alias in aliases)]
    kind = draw(st.sampled_from(able))
    return Operation(
        kind,
        draw(st.sampled_from([alias for alias in aliases if serves(kind, table(alias))])),
        draw(st.integers(1, max_rows)),
        draw(st.integers(0, 1_000)),
        draw(st.sampled_from(clocks)),
        draw(st.sampled_from(transactions)),
    )


def endings(transactions: Sequence[str] = TRANSACTIONS) -> st.SearchStrategy[Operation]:
    """The end of a long transaction; nothing happens when it is not open."""
    return st.builds(
        Operation,
        st.sampled_from([Kind.COMMIT, Kind.ROLLBACK]),
        transaction=st.sampled_from([name for name in transactions if name]),
    )


def histories(
    kinds: Sequence[Kind] = CHANGES,
    aliases: Sequence[str] = ALIASES,
    clocks: Sequence[Clock] = tuple(Clock),
    transactions: Sequence[str] = TRANSACTIONS,
    max_rows: int = 3,
    max_size: int = 12,
) -> st.SearchStrategy[list[Operation]]:
    """Operations one after the other; transactions may be open at the end."""
    steps: st.SearchStrategy[Operation] = operations(kinds, aliases, clocks, transactions, max_rows)
    if any(transactions):
        steps = st.one_of(steps, steps, steps, endings(transactions))
    return st.lists(steps, max_size=max_size)


def ended(history: Sequence[Operation]) -> list[Operation]:
    """The same, with a COMMIT at the end for every transaction that is open by then."""
    open_ones: dict[str, None] = {}
    for operation in history:
        if operation.kind in ENDS:
            open_ones.pop(operation.transaction, None)
        elif operation.transaction:
            open_ones[operation.transaction] = None
    return [*history, *(Operation(Kind.COMMIT, transaction=name) for name in open_ones)]
