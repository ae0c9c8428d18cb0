"""Other values for a field, good ones and bad ones, as SQL over the row, so that one statement serves many rows."""

from __future__ import annotations

from hat_etl.entities.model import Column, Kind
from hat_etl.sandbox import words
from hat_etl.sandbox.churn.tables import FILTERS, Table
from hat_etl.sandbox.physical import RECNO, PhysicalField

Assignment = tuple[str, str]
"""Column of the PLS table, SQL of its new value."""

_TAME = frozenset(["in", "map", "digits", "upper", "not_future", "not_before", "positive", "non_negative"])
"""Rules that the values here obey."""
_NAMES = 16
_LONG = 12


def change(table: Table, choice: int) -> Assignment:
    """Another good value of some field outside keys and references; where there is none, the same value again."""
    columns = [column for column in table.entity.columns if _is_free(table, column)]
    if not columns:
        return touch(table)
    column = columns[choice % len(columns)]
    field = table.field(column.source.fields[0])
    return field.column, _other(column, field, choice, _is_a_lower_bound(table, column))


def touch(table: Table) -> Assignment:
    """Written, but as it was."""
    return table.key[0].column, table.key[0].column


def spoil(table: Table, choice: int) -> Assignment:
    """A value for which a load rejects the row."""
    ways = _ways(table)
    field = list(ways)[choice % len(ways)]
    return field.lower(), ways[field]


def ways_to_spoil(table: Table) -> int:
    return len(_ways(table))


def flip_filter(table: Table) -> Assignment:
    """Filled where it was blank, else blank."""
    field = table.field(FILTERS[table.alias])
    filled = _number(field.size, f"{RECNO} + 1")
    return field.column, f"CASE WHEN {field.column} = '' THEN {filled} ELSE '' END"


def _is_free(table: Table, column: Column) -> bool:
    source, entity = column.source, table.entity
    bound = {name for key in entity.keys for part in key for name in entity[part].source.fields}
    bound |= {name for parent in entity.parents for part in parent.columns for name in entity[part].source.fields}
    bound.add(FILTERS.get(table.alias, ""))
    return (
        len(source.fields) == 1
        and not (source.joined or source.slice or source.constant or column.secret)
        and source.fields[0] not in bound
        and column.name != "health_insurer_id"
        and {rule.name for rule in column.rules} <= _TAME
    )


def _is_a_lower_bound(table: Table, column: Column) -> bool:
    rules = (other.rule("not_before") for other in table.entity.columns)
    return any(rule is not None and rule.argument == column.name for rule in rules)


def _other(column: Column, field: PhysicalField, choice: int, early: bool) -> str:
    number = f"({RECNO} + {choice})"
    if rule := column.rule("in"):
        return _next(field, list(rule.values), choice)
    if rule := column.rule("map"):
        meanings = {stored: code for code, stored in reversed(rule.mapping.items())}
        return _next(field, list(meanings.values()), choice)
    if column.numeric_source:
        return f"mod({number} * 7, 300) + 1" + (".25" if column.kind is Kind.AMOUNT else "")
    if column.kind is Kind.DATE:
        first = "1990-01-01" if early else "2040-01-01" if column.rule("not_before") else "2008-01-01"
        return f"to_char(date '{first}' + mod({number} * 37, 3000)::integer, 'YYYYMMDD')"
    width = min(field.size, column.width or field.size)
    if "name" in column.name and width >= _LONG:
        first, last = (_array(names[:_NAMES]) for names in (words.WOMEN, words.SURNAMES))
        name = f"({first})[1 + mod({number}, {_NAMES})] || ' ' || ({last})[1 + mod({number} / {_NAMES}, {_NAMES})]"
        return f"left({name}, {width})"
    if width >= _LONG and not column.rule("digits"):
        return f"'REV ' || {_number(8, number)}"
    return _number(width, number)


def _next(field: PhysicalField, codes: list[str], choice: int) -> str:
    """The code that stands ``choice`` places after the one there, never the same one."""
    step = choice % max(1, len(codes) - 1)
    place = f"coalesce(array_position({_array(codes)}, rtrim({field.column})), 0)"
    return f"({_array(codes)})[1 + mod({place} + {step}, {len(codes)})]"


def _number(width: int, number: str) -> str:
    digits = min(width, 9)
    return f"lpad(mod(({number}) * 13 + 1, {10**digits})::text, {width}, '0')"


def _array(texts: list[str]) -> str:
    return "ARRAY[" + ", ".join(f"'{text}'" for text in texts) + "]"


def _ways(table: Table) -> dict[str, str]:
    """Field to a bad value."""
    wrong = _wrong(table)
    # Under a unique index, blanked keys would soon be the same.
    return wrong if table.is_unique and wrong else _blanks(table) | wrong


def _blanks(table: Table) -> dict[str, str]:
    """Fields that must be filled; of a concatenation the last, for one blank part makes the whole count as empty."""
    return {
        column.source.fields[-1]: "''"
        for column in _judged(table)
        if column.required and column.kind is Kind.TEXT and not column.source.constant
    }


def _wrong(table: Table) -> dict[str, str]:
    ways: dict[str, str] = {}
    for column in _judged(table):
        field = column.source.fields[-1]
        if column.required and column.kind is Kind.DATE:
            ways[field] = f"'202313' || lpad(mod({RECNO}, 100)::text, 2, '0')"
        elif column.required and column.numeric_source:
            ways[field] = "'Infinity'::double precision"
        elif any(rule.name == "in" and rule.rejects for rule in column.rules):
            ways[field] = "'?'"
    return ways


def _judged(table: Table) -> list[Column]:
    return [
        column
        for column in table.entity.columns
        if column.source.fields
        and not (column.source.slice or column.source.joined)
        and column.source.fields[0] != FILTERS.get(table.alias)
    ]
