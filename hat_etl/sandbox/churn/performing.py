"""How each kind of activity is done to a real PLS."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import psycopg

from hat_etl.sandbox.churn import keys, values
from hat_etl.sandbox.churn.activity import Activity, rows_of
from hat_etl.sandbox.churn.operations import Clock, Kind, Operation
from hat_etl.sandbox.churn.tables import FILTERS, Table
from hat_etl.sandbox.churn.work import DELETION, LIFE, Work
from hat_etl.sandbox.physical import DELETED, RECNO, STAMP

_DELETED_ROW = f"a.{DELETED} = '*'"
_FILIAL_CODES = 36 * 36
_DONORS = 50
"""So many different values of a joined row are enough to choose others from."""

_STAMPS = {
    Clock.BACK: "(now() AT TIME ZONE 'utc') - make_interval(hours => 1 + {choice})",
    Clock.FUTURE: "timestamp '2999-01-01' + make_interval(secs => {choice})",
    Clock.NONE: "NULL",
}
_MOST_HOURS = 10_000


def apply(operation: Operation, activity: Activity) -> tuple[int, ...]:
    """Perform one operation; gives the Recnos of the rows it wrote (of both rows where it renews one), in order.

    That is none where nothing fits: no such rows, no free key, a unique index or another session in the way, as an
    ERP answers its users. COMMIT and ROLLBACK give none.
    """
    if operation.kind in (Kind.COMMIT, Kind.ROLLBACK):
        activity.end(operation.transaction, commit=operation.kind is Kind.COMMIT)
        return ()
    try:
        with activity.transaction(operation.transaction) as connection:
            work = Work(operation, activity, connection)
            recnos = _PERFORM[operation.kind](work)
            _set_clock(work, recnos)
    except (psycopg.errors.UniqueViolation, psycopg.errors.LockNotAvailable):
        return ()
    activity.hold(operation.transaction, operation.alias, recnos)
    return tuple(sorted(recnos))


def _set_clock(work: Work, recnos: Sequence[int]) -> None:
    """Stamp the rows as a wrong clock would have, past the trigger."""
    clock = work.operation.clock
    if clock is Clock.RIGHT or not recnos or not work.activity.has_stamp(work.operation.alias):
        return
    stamp = _STAMPS[clock].format(choice=work.operation.choice % _MOST_HOURS)
    work.connection.execute("SET LOCAL session_replication_role = replica")
    work.assign(recnos, f"{STAMP} = {stamp}")
    # A long transaction goes on after this.
    work.connection.execute("SET LOCAL session_replication_role = origin")


def _update(work: Work) -> list[int]:
    return _change(work, work.pick_live())


def _mass_update(work: Work) -> list[int]:
    return _change(work, work.pick_live(side_by_side=True))


def _change(work: Work, recnos: Sequence[int]) -> list[int]:
    column, value = values.change(work.table, work.operation.choice)
    return work.assign(recnos, f"{column} = {value}")


def _touch(work: Work) -> list[int]:
    column, value = values.touch(work.table)
    return work.assign(work.pick_live(), f"{column} = {value}")


def _insert(work: Work) -> list[int]:
    found = work.fresh_keys(work.pick_live())
    patterns = [key.recno for key in found]
    other = _by_field(found)
    papers = [column.source.fields[0] for column in keys.document_columns(work.table)]
    if papers and patterns:
        old = work.read(work.table, patterns, papers)
        seed = keys.seed_of(
            work.operation.choice, "documents", patterns[0], work.activity.number(f"documents {work.table.alias}")
        )
        other |= keys.new_documents(work.table, old, seed)
    return work.copy(patterns, other)


def _key_change(work: Work) -> list[int]:
    found = work.fresh_keys(work.pick_live())
    return work.overwrite([key.recno for key in found], _by_field(found)) if found else []


def _by_field(found: Sequence[keys.Fresh]) -> dict[str, list[str]]:
    names = found[0].values if found else ()
    return {name: [key.values[name] for key in found] for name in names}


def _delete(work: Work) -> list[int]:
    return work.assign(work.pick_live(), DELETION)


def _undelete(work: Work) -> list[int]:
    # A unique index would refuse a second live row of the key.
    alone = work.table.is_last_of_its_key(work.name) if work.table.is_unique else "true"
    return work.assign(work.pick(f"{_DELETED_ROW} AND {alone}"), LIFE)


def _purge(work: Work) -> list[int]:
    return work.remove(work.pick_live())


def _pack(work: Work) -> list[int]:
    return work.remove(work.pick(_DELETED_ROW))


def _renew(work: Work) -> list[int]:
    old = work.assign(work.pick_live(), DELETION)
    return [*old, *work.copy(old)]


def _reinclude(work: Work) -> list[int]:
    old = work.pick(f"{_DELETED_ROW} AND {work.table.is_last_of_its_key(work.name)}")
    new = work.copy(old)
    # Nobody else should include them again before this is committed.
    work.activity.hold(work.operation.transaction, work.operation.alias, old)
    return new


def _reinclude_purged(work: Work) -> list[int]:
    purged = work.activity.purged(work.table)
    chosen = work.pick_purged(work.table.is_last_of_its_key(work.name, among=purged))
    free = work.connection.execute(
        f"SELECT {RECNO} FROM {purged} WHERE {RECNO} = ANY(%s::bigint[]) FOR UPDATE SKIP LOCKED", (chosen,)
    )
    old = rows_of(free.fetchall())
    new = work.copy(old, source=purged)
    work.connection.execute(f"DELETE FROM {purged} WHERE {RECNO} = ANY(%s::bigint[])", (old,))
    return new


def _duplicate(work: Work) -> list[int]:
    recnos = work.pick_live()
    other: dict[str, list[str]] = {}
    if work.table.is_unique:
        # Its index takes the same key under another FILIAL only.
        first = work.activity.number(f"filial {work.table.alias}") + work.operation.choice
        codes = [f"{_base36((first + place) % _FILIAL_CODES)}" for place in range(len(recnos))]
        other = {f"{work.table.alias}_FILIAL": codes}
    return work.copy(recnos, other)


def _base36(number: int) -> str:
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return digits[number // 36] + digits[number % 36]


def _spoil(work: Work) -> list[int]:
    column, value = values.spoil(work.table, work.operation.choice)
    memory, name = work.activity.spoiled, work.name
    known = f"SELECT 1 FROM {memory} s WHERE s.source = '{name}' AND s.recno = a.{RECNO}"
    recnos = work.pick_live(f"NOT EXISTS ({known})")
    work.connection.execute(
        f"INSERT INTO {memory} SELECT '{name}', {RECNO}, '{column}', {column}::text FROM {name}"
        f" WHERE {RECNO} = ANY(%s::bigint[])",
        (recnos,),
    )
    return work.assign(recnos, f"{column} = {value}")


def _mend(work: Work) -> list[int]:
    memory, name = work.activity.spoiled, work.name
    known = f"SELECT 1 FROM {memory} s WHERE s.source = '{name}' AND s.recno = a.{RECNO}"
    recnos = work.pick(f"EXISTS ({known})")
    found = work.connection.execute(
        f"DELETE FROM {memory} WHERE source = '{name}' AND recno = ANY(%s::bigint[]) RETURNING field, recno, value",
        (recnos,),
    ).fetchall()
    for column in sorted({column for column, _, _ in found}):
        rows = sorted((recno, value) for field, recno, value in found if field == column)
        work.overwrite([recno for recno, _ in rows], {column.upper(): [value for _, value in rows]})
    return recnos


def _filter(work: Work) -> list[int]:
    column, value = values.flip_filter(work.table)
    return work.assign(work.pick(f"a.{DELETED} = ' '"), f"{column} = {value}")


def _parent_delete(work: Work) -> list[int]:
    return work.assign(work.pick(f"{work.table.live()} AND {_has_children(work)}"), DELETION)


def _parent_return(work: Work) -> list[int]:
    alone = work.table.is_last_of_its_key(work.name)
    return work.assign(work.pick(f"{_DELETED_ROW} AND {alone} AND {_has_children(work)}"), LIFE)


def _has_children(work: Work) -> str:
    """Some live row of one of the tables below, which ``choice`` picks, refers to the row."""
    child, reference = work.table.children[work.operation.choice % len(work.table.children)]
    rows = work.activity.name(child)
    return f"EXISTS (SELECT 1 FROM {rows} c WHERE {child.live('c')} AND {child.refers(reference, 'c', 'a')})"


def _joined_update(work: Work) -> list[int]:
    above = work.table.joined_by[0]
    fields = _joined_fields(above)
    joins = above.joins(work.table, "d", "a")
    shown = f"EXISTS (SELECT 1 FROM {work.activity.name(above)} d WHERE {above.live('d')} AND {joins})"
    # Of several live rows with the key, views join the last.
    later = f"SELECT 1 FROM {work.name} k WHERE {work.table.same_key('k', 'a')} AND k.{RECNO} > a.{RECNO}"
    recnos = work.pick_live(f"{shown} AND NOT EXISTS ({later} AND k.{DELETED} = ' ')")
    columns = ", ".join(name.lower() for name in fields)
    donors = work.connection.execute(
        f"SELECT DISTINCT {columns} FROM {work.name} a WHERE {work.table.live()} AND {fields[0].lower()} <> ''"
        f" ORDER BY {columns} LIMIT {_DONORS}"
    ).fetchall()
    new: list[tuple[str, ...]] = []
    for place, row in enumerate(work.read(work.table, recnos, fields)):
        others = [donor for donor in donors if donor[0].rstrip() != row[fields[0]].rstrip()]
        new.append(others[(place + work.operation.choice) % len(others)] if others else tuple(row.values()))
    return work.overwrite(recnos, {name: [row[place] for row in new] for place, name in enumerate(fields)})


def _joined_fields(table: Table) -> list[str]:
    return [column.source.joined for column in table.entity.columns if column.source.joined]


def serves(kind: Kind, table: Table) -> bool:
    """The kind can do something to this table."""
    match kind:
        case Kind.FILTER:
            return table.alias in FILTERS
        case Kind.PARENT_DELETE | Kind.PARENT_RETURN:
            return bool(table.children)
        case Kind.JOINED_UPDATE:
            return bool(table.joined_by)
        case _:
            return True


_PERFORM: dict[Kind, Callable[[Work], list[int]]] = {
    Kind.UPDATE: _update,
    Kind.INSERT: _insert,
    Kind.DELETE: _delete,
    Kind.UNDELETE: _undelete,
    Kind.TOUCH: _touch,
    Kind.MASS_UPDATE: _mass_update,
    Kind.PURGE: _purge,
    Kind.PACK: _pack,
    Kind.RENEW: _renew,
    Kind.REINCLUDE: _reinclude,
    Kind.REINCLUDE_PURGED: _reinclude_purged,
    Kind.DUPLICATE: _duplicate,
    Kind.KEY_CHANGE: _key_change,
    Kind.SPOIL: _spoil,
    Kind.MEND: _mend,
    Kind.FILTER: _filter,
    Kind.PARENT_DELETE: _parent_delete,
    Kind.PARENT_RETURN: _parent_return,
    Kind.JOINED_UPDATE: _joined_update,
}
