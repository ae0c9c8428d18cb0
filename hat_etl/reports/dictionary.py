"""The data dictionary as Markdown, rendered from the entities: ``python -m hat_etl.reports.dictionary FILE``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from hat_etl.entities import AREAS, ENTITIES
from hat_etl.entities.model import DELETED, RECNO, STAMP, Column, Entity
from hat_etl.target.schema import hat_metadata

RULE_MEANINGS = {
    "cpf": "eleven digits that are not all equal, with both check digits right",
    "cnpj": "twelve digits or capital letters and two check digits, both right; not fourteen equal digits",
    "cpf_or_cnpj": "a good `cpf` when it has 11 characters, a good `cnpj` when it has 14",
    "cns": "fifteen digits that begin with 1, 2, 7, 8 or 9 and whose sum, weighted 15 to 1, is a multiple of 11",
    "cep": "eight digits, not all of them zero",
    "uf": "one of the 27 states",
    "ans_registry": "six digits",
    "cnes": "seven digits",
    "digits": "nothing but digits",
    "email": "one @ with something before it, a dot in the domain, no blanks",
    "in": "the source text is in the list",
    "map": "the source text is in the list; what stands behind its `=` is stored, and NULL for any other text",
    "not_future": "a day that is not after the day of the run",
    "not_before": "a day that is not before that of the named column, where it has one",
    "positive": "a number above zero",
    "non_negative": "zero or a number above it",
    "upper": "checks nothing: letters are stored in upper case, before the other rules look",
    "check_digit": "its last character is the check digit of the rest (`card`: the beneficiary card, modulus 11)",
}
"""What a value must be to pass each rule that a column may carry."""

ENGINE_RULE_MEANINGS = {
    "required": "rejects: a column that may not be NULL is empty",
    "too_long": "rejects in a key or a hard reference; elsewhere the text is cut, with a warning",
    "invalid_date": "no real day from 1900 to 2199: NULL with a warning, or rejected where NULL may not be",
    "invalid_number": "unreadable or out of range: NULL with a warning, or rejected where NULL may not be",
    "control_character": "warns: control characters were replaced by blanks",
    "duplicate_key": "rejects: another live row with the same key has a higher R_E_C_N_O_",
    "parent_missing": "holds the row back where the reference is hard; warns where it is soft",
}
"""What the rules say that follow from types, keys and references."""

_INTRODUCTION = """\
# Data dictionary

<!-- Rendered from hat_etl/entities by `make docs`. Change the declarations, not this file. -->

The {tables} tables with {columns} columns that hat_etl fills in a tenant's HAT database, and where each value comes
from in TOTVS Protheus PLS. Within an area the tables stand in the order in which they are loaded, parents before
children.

"""

_READING = """\
## How to read it

- **Source** speaks of PLS fields: `F` as stored; `A+B` side by side at full width; `F[1:4]` characters 1 to 4;
  `F else '-'` the constant where F is blank; `F via A=B` of the row joined by these equalities; `F else G via ...` the
  joined G where F is blank; `F if H else G via ...` F where H is filled, else the joined G.
- **†** behind a type: type or size is assumed, for no published dictionary confirms it. Ask the operator's SX3.
- **Secret** columns are never shown, logged or kept among the rejects.
- A **hard** reference has no column that may be NULL: a row without its parent is held back until the parent arrives.
  A **soft** one is not checked where a column of it is NULL, and a missing parent is only a warning.
- A **rule** with `!` rejects the row when it fails; without it the row is kept and a warning recorded. NULL passes
  every rule.

"""


def render() -> str:
    """The whole dictionary."""
    return "".join(_lines())


def _lines() -> Iterator[str]:
    yield _INTRODUCTION.format(tables=len(ENTITIES), columns=sum(len(entity.columns) for entity in ENTITIES))
    yield from _contents()
    yield _READING
    yield from _rules()
    yield from _technical()
    for area in AREAS:
        yield from _area(area)


def _of(area: str) -> list[Entity]:
    return [entity for entity in ENTITIES if entity.area == area]


def _contents() -> Iterator[str]:
    for area in AREAS:
        yield f"- [{area.capitalize()}](#{area}-area): " + ", ".join(_link(e.table) for e in _of(area)) + "\n"
    yield "\n"


def _rules() -> Iterator[str]:
    yield "### Rules\n\n"
    yield from _table(("Rule", "A value is good when it is"), ((_code(n), m) for n, m in RULE_MEANINGS.items()))
    yield "These need no declaration, for they follow from types, keys and references:\n\n"
    yield from _table(("Rule", "What it does"), ((_code(name), m) for name, m in ENGINE_RULE_MEANINGS.items()))


def _technical() -> Iterator[str]:
    yield "### Technical columns\n\nAt the end of every table:\n\n"
    own = len(ENTITIES[0].columns)
    technical = list(hat_metadata("hat").tables[f"hat.{ENTITIES[0].table}"].columns)[own:]
    yield from _table(
        ("Column", "Type", "NULL", "Meaning"),
        (
            (_code(column.name), _technical_type(str(column.type)), _yes(bool(column.nullable)), column.comment or "")
            for column in technical
        ),
    )
    yield "At the beginning of every view:\n\n"
    yield from _table(
        ("Alias", "Meaning"),
        (
            (_code(RECNO), "R_E_C_N_O_ of the driving table."),
            (_code(DELETED), "1 where the driving row is marked as deleted, else 0."),
            (_code(STAMP), "S_T_A_M_P_ in UTC, the latest one where the view joins; NULL where a table has none."),
        ),
    )


def _technical_type(name: str) -> str:
    return {"DATETIME": "timestamptz"}.get(name, name.lower())


def _area(area: str) -> Iterator[str]:
    # "area" keeps the anchor apart from that of a table of the same name.
    yield f"## {area.capitalize()} area\n\n"
    yield "Hard references of these tables, from child to parent:\n\n```mermaid\nflowchart LR\n"
    entities = _of(area)
    for entity in entities:
        parents = dict.fromkeys(parent.table for parent in entity.hard_parents)
        yield from (f"    {entity.table} --> {parent}\n" for parent in parents)
        if not parents:
            yield f"    {entity.table}\n"
    yield "```\n\n"
    for entity in entities:
        yield from _entity(entity)


def _entity(entity: Entity) -> Iterator[str]:
    yield f"### {entity.table}\n\n{entity.meaning}\n\n"
    yield f"- **Grain:** {entity.grain}.\n"
    if entity.row_filter:
        yield f"- **Rows of the view:** {entity.row_filter}.\n"
    yield f"- **View:** {_code(entity.view)}, over PLS {', '.join(map(_code, entity.reads))}\n"
    yield f"- **Key:** {_names(entity.key)}\n"
    yield from (f"- **Alternate key:** {_names(key)}\n" for key in entity.alternate_keys)
    for parent in entity.parents:
        kind = "Hard" if entity.is_hard(parent) else "Soft"
        there = "" if parent.columns == parent.parent_columns else f" ({_names(parent.parent_columns)})"
        yield f"- **{kind} reference:** {_names(parent.columns)} → {_link(parent.table)}{there}\n"
    if entity.hat_api:
        yield f"- **HAT API:** {_code(entity.hat_api)}\n"
    yield "\n"
    yield from _table(
        ("Column", "Type", "NULL", "View alias", "Source", "Rules", "Meaning"), map(_column, entity.columns)
    )


def _column(column: Column) -> tuple[str, ...]:
    return (
        _code(column.name),
        column.sql_type + (" †" if column.assumed else ""),
        _yes(not column.required),
        _code(column.alias),
        _code(column.source.text),
        " ".join(_code(rule.token) for rule in column.rules),
        ("**Secret.** " if column.secret else "") + column.meaning,
    )


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    for cells in (head, ("---",) * len(head), *rows):
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"
    yield "\n"


def _names(columns: Iterable[str]) -> str:
    return ", ".join(map(_code, columns))


def _code(text: str) -> str:
    return f"`{text}`"


def _link(table: str) -> str:
    return f"[{table}](#{table})"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
def main(file: Path) -> None:
    """Write the data dictionary to FILE."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
