"""What can happen in an ERP, as data: an operation says what, where and to which rows, and holds no connection."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What an operation does to the rows it picks."""

    UPDATE = "update"
    """Another value in one field, rows all over the table."""
    INSERT = "insert"
    """Copies of live rows under natural keys that are not in use; their hard parents exist."""
    DELETE = "delete"
    """D_E_L_E_T_ = '*', R_E_C_D_E_L_ = Recno."""
    UNDELETE = "undelete"
    """A deletion taken back: the same Recno lives again."""
    TOUCH = "touch"
    """Written without a change: only the stamp moves."""
    MASS_UPDATE = "mass_update"
    """Another value in one field of neighbouring rows, many of them with the same stamp."""
    PURGE = "purge"
    """A live row removed from the table, without a trace."""
    PACK = "pack"
    """A logically deleted row removed from the table."""
    RENEW = "renew"
    """A live row deleted and its key included again under a new Recno, in one transaction."""
    REINCLUDE = "reinclude"
    """The key of a row deleted before, again, under a new Recno."""
    REINCLUDE_PURGED = "reinclude_purged"
    """The key of a row purged by earlier activity, again, under a new Recno."""
    DUPLICATE = "duplicate"
    """A second live row with the same natural key."""
    KEY_CHANGE = "key_change"
    """The row gets a natural key that is not in use; what referred to it refers to nothing."""
    SPOIL = "spoil"
    """The row becomes one that a load rejects."""
    MEND = "mend"
    """A row spoiled by earlier activity gets its value back."""
    FILTER = "filter"
    """The row enters or leaves what its view shows (BCI, BEA), or gives way to another row (BR4)."""
    PARENT_DELETE = "parent_delete"
    """A row that others need (a hard parent with live children) is logically deleted."""
    PARENT_RETURN = "parent_return"
    """Such a row, deleted before, lives again."""
    JOINED_UPDATE = "joined_update"
    """A row that a view joins (BA3 of the cards, BAU of the provider history) shows other values there."""
    COMMIT = "commit"
    """The named transaction is committed."""
    ROLLBACK = "rollback"
    """The named transaction is rolled back; the Recnos it took are lost."""


class Clock(StrEnum):
    """The stamps that an operation leaves; tables without stamps know no clock."""

    RIGHT = "right"
    """As the database stamps: the start of the transaction."""
    BACK = "back"
    """Some hours before now, as if the server's clock had been set back."""
    FUTURE = "future"
    """The year 2999."""
    NONE = "none"
    """NULL, as on rows from before stamps were switched on."""


@dataclass(frozen=True)
class Operation:
    """One piece of activity.

    ``rows`` are picked among those there, in the order of Recno, from place ``choice`` (modulo their number) on and
    evenly over the table; when fewer fit, fewer are touched. Large tables are not counted for this: places are Recnos
    there, and many rows come in runs of neighbours. ``choice`` also decides between fields and values.
    With a ``transaction`` the operation runs in that one, opened if need be, and is seen only after its COMMIT.
    """

    kind: Kind
    alias: str = ""
    rows: int = 1
    choice: int = 0
    clock: Clock = Clock.RIGHT
    transaction: str = ""

    @property
    def label(self) -> str:
        """The activity that it stands for, one of ``LABELS``; the kind itself in the plain case."""
        if self.kind in ENDS:
            return self.kind.value
        if self.transaction:
            return LATE
        return _CLOCKS.get(self.clock, self.kind.value)


ENDS = frozenset([Kind.COMMIT, Kind.ROLLBACK])

LATE = "late"
"""Label of what a long transaction does: its stamps are old when it commits."""
CLOCK_BACK, FUTURE_STAMP, NULL_STAMP = "clock_back", "future_stamp", "null_stamp"
_CLOCKS = {Clock.BACK: CLOCK_BACK, Clock.FUTURE: FUTURE_STAMP, Clock.NONE: NULL_STAMP}
CLOCKS: dict[str, Clock] = {label: clock for clock, label in _CLOCKS.items()}

LABELS: tuple[str, ...] = (*(kind.value for kind in Kind if kind not in ENDS), LATE, *CLOCKS)
"""Every activity that can be asked for by name."""
