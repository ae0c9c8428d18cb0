"""Which activity happens: seeded lists of operations, small ones to try a sync with or a day's mixture in bulk."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping, Sequence

from hat_etl.errors import ConfigurationError
from hat_etl.sandbox import physical
from hat_etl.sandbox.churn.operations import CLOCKS, LABELS, LATE, Clock, Kind, Operation
from hat_etl.sandbox.churn.performing import serves
from hat_etl.sandbox.churn.tables import table

WEIGHTS = {
    "BA1": 30, "BTS": 12, "BA3": 12, "BFE": 8, "BFO": 6, "BFG": 5, "BCA": 5, "BEA": 4, "BCI": 4, "BC0": 3, "BBI": 2,
    "BF3": 2, "BVM": 2, "BFJ": 1, "BFD": 1, "BFC": 1, "BAX": 1, "BAU": 1, "BB8": 1, "BC1": 1, "BB0": 1, "BQC": 1,
}  # fmt: skip
"""How much of the activity falls on a table: cards and families change every day, code lists hardly ever."""
_SELDOM = 0.1

SHARES = {Kind.UPDATE: 60.0, Kind.INSERT: 25.0, Kind.DELETE: 10.0}
"""Of a hundred changed rows; all other activity shares the rest evenly."""
_OTHERS = 5.0

ROOTS = frozenset(["BA0", "BR4"])
"""Almost everything hangs on their few rows: unless asked for, nothing is done to them that would hold it all."""
_GENTLE = frozenset(
    [Kind.UPDATE, Kind.INSERT, Kind.TOUCH, Kind.MASS_UPDATE, Kind.UNDELETE, Kind.RENEW, Kind.REINCLUDE, Kind.MEND,
     Kind.REINCLUDE_PURGED, Kind.DUPLICATE, Kind.FILTER, Kind.PARENT_RETURN]
)  # fmt: skip

_MOST = 5
"""A mixture touches at most one row in so many by one kind of activity."""
_LATE_KINDS = (Kind.UPDATE, Kind.INSERT, Kind.DELETE, Kind.RENEW, Kind.KEY_CHANGE, Kind.UNDELETE)
_CLOCK_KINDS = (Kind.UPDATE, Kind.INSERT, Kind.DELETE)
_LATE_TRANSACTIONS = 3
_AFTER_OTHERS = frozenset([Kind.MEND, Kind.REINCLUDE, Kind.REINCLUDE_PURGED, Kind.PARENT_RETURN])
"""These find rows once others have been at work."""


def check_labels(labels: Collection[str]) -> tuple[str, ...]:
    """The activities asked for, all where none is; raises ConfigurationError for one that does not exist."""
    if unknown := sorted(set(labels) - set(LABELS)):
        raise ConfigurationError(f"There is no activity {', '.join(unknown)}.", f"Choose from: {', '.join(LABELS)}.")
    return tuple(label for label in LABELS if label in labels) or LABELS


def generate(
    seed: int, n: int, kinds: Collection[str] = (), aliases: Sequence[str] = (), name: str = ""
) -> list[Operation]:
    """``n`` small operations, every activity as often as any other, and the ends of the long transactions among them.

    ``kinds`` are ``LABELS``; ``aliases`` narrows the tables. Transactions are named after ``name`` and the seed; each
    ends a few operations after it began, most by COMMIT.
    """
    rng = random.Random(seed)
    labels = check_labels(kinds)
    done: list[Operation] = []
    ends: dict[int, list[Operation]] = {}
    for number in range(n):
        operation = _small(rng, rng.choice(labels), aliases)
        if operation.label == LATE:
            transaction = f"{name or 'late'} {seed} {number}"
            operation = Operation(operation.kind, operation.alias, operation.rows, operation.choice, Clock.RIGHT,
                                  transaction)  # fmt: skip
            end = Kind.ROLLBACK if rng.random() < 0.2 else Kind.COMMIT
            due = min(n - 1, number + rng.randint(1, 8))
            ends.setdefault(due, []).append(Operation(end, transaction=transaction))
        done += [operation, *ends.pop(number, [])]
    return done


def _small(rng: random.Random, label: str, aliases: Sequence[str]) -> Operation:
    kind, clock, late = _meaning(rng, label)
    fitting = [alias for alias in aliases or physical.aliases() if serves(kind, table(alias))]
    if not aliases and kind not in _GENTLE:
        fitting = [alias for alias in fitting if alias not in ROOTS]
    if not fitting:
        # None of these tables knows this kind.
        kind, fitting = Kind.UPDATE, list(aliases)
    # Milder than in life, so that the small tables have their turn.
    alias = rng.choices(fitting, [WEIGHTS.get(alias, _SELDOM) ** 0.5 for alias in fitting])[0]
    rows = rng.randint(20, 200) if kind is Kind.MASS_UPDATE else rng.choice((1, 1, 1, 2, 3))
    return Operation(kind, alias, rows, rng.randrange(1 << 30), clock, LATE if late else "")


def _meaning(rng: random.Random, label: str) -> tuple[Kind, Clock, bool]:
    if label == LATE:
        return rng.choice(_LATE_KINDS), Clock.RIGHT, True
    if label in CLOCKS:
        return rng.choice(_CLOCK_KINDS), CLOCKS[label], False
    return Kind(label), Clock.RIGHT, False


def mixture(seed: int, changes: int, sizes: Mapping[str, int], kinds: Collection[str] = ()) -> list[Operation]:
    """About ``changes`` changed rows in as few statements as there are tables and kinds; all transactions end.

    ``sizes`` gives the rows per table; those behind HAT tables change: small ones in proportion to their size, and none
    as a whole, so that a small sandbox takes fewer changes than asked.
    """
    rng = random.Random(seed)
    labels = check_labels(kinds)
    sizes = {alias: sizes[alias] for alias in physical.aliases() if alias in sizes}
    operations = [
        operation
        for label, rows in _portions({label: _share(label) for label in labels}, changes).items()
        for operation in _spread(rng, label, rows, sizes)
    ]
    rng.shuffle(operations)
    operations.sort(key=lambda operation: (operation.kind in _AFTER_OTHERS, not operation.transaction))
    names = dict.fromkeys(operation.transaction for operation in operations if operation.transaction)
    return [*operations, *(Operation(Kind.COMMIT, transaction=name) for name in names)]


def _share(label: str) -> float:
    shares: dict[str, float] = {kind.value: share for kind, share in SHARES.items()}
    return shares.get(label, _OTHERS / (len(LABELS) - len(shares)))


def _spread(rng: random.Random, label: str, rows: int, sizes: Mapping[str, int]) -> list[Operation]:
    tables = [alias for alias in sizes if _fits(label, alias)]
    weights = {alias: min(WEIGHTS.get(alias, _SELDOM), 1 + sizes[alias] / 100) for alias in tables}
    portions = _filled(weights, {alias: max(1, sizes[alias] // _MOST) for alias in tables}, rows)
    operations = []
    for alias, count in portions.items():
        kind, clock, late = _meaning(rng, label)
        transaction = f"{LATE} {rng.randrange(_LATE_TRANSACTIONS)}" if late else ""
        operations.append(Operation(kind, alias, count, rng.randrange(1 << 30), clock, transaction))
    return [operation for operation in operations if operation.rows]


def _fits(label: str, alias: str) -> bool:
    if label == LATE or label in CLOCKS:
        return alias not in ROOTS
    return serves(Kind(label), table(alias)) and (Kind(label) in _GENTLE or alias not in ROOTS)


def _filled(weights: Mapping[str, float], limits: Mapping[str, int], whole: int) -> dict[str, int]:
    """Portions of ``whole`` by weight; what is above a table's limit goes to those with room."""
    portions = dict.fromkeys(weights, 0)
    while whole > 0 and (room := {key: w for key, w in weights.items() if portions[key] < limits[key]}):
        for key, portion in _portions(room, whole).items():
            taken = min(portion, limits[key] - portions[key])
            portions[key] += taken
            whole -= taken
    return portions


def _portions(weights: Mapping[str, float], whole: int) -> dict[str, int]:
    """``whole`` divided by weight into whole numbers that add up."""
    total, done, given, portions = sum(weights.values()), 0.0, 0, {}
    for key, weight in weights.items():
        done += weight
        portions[key] = round(whole * done / total) - given
        given += portions[key]
    return portions
