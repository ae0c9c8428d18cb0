"""Views that others made: the right names, but not our types, nor all technical columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import product, starmap
from typing import Any

import pytest

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import DELETED, STAMP, Column, Entity
from hat_etl.tenants.config import Dialect
from hat_etl_tests.conformance import model
from hat_etl_tests.conformance.compare import assert_same_counts, assert_same_entries, assert_same_rows
from hat_etl_tests.conformance.conftest import MakeSite
from hat_etl_tests.conformance.model import RECNO, Entry, Hat, HatRow, Key, Pls, Shown
from hat_etl_tests.conformance.site import Site
from hat_etl_tests.conformance.world import World


@dataclass(frozen=True)
class Style:
    """How a view differs from ours."""

    number: str
    text: str
    deleted: str
    """Type of Excluido; empty: no such column, and deleted rows are filtered out."""
    stamp: str
    """Type of Carimbo; empty: no such column."""
    quoted: bool
    """Names as the contract spells them, kept so by quotes."""


STYLES = [
    Style(*features)
    for features in product(
        ("double precision", "numeric", "numeric(20,6)", "integer"), ("character", "varchar", "text"),
        ("integer", "", "numeric"), ("timestamp", "", "timestamptz"), (True, False),
    )
]  # fmt: skip


def style_of(entity: Entity, dialect: Dialect) -> Style:
    """Spread over the tables so that every feature, and most pairs, are met."""
    style = STYLES[ENTITIES.index(entity) * 29 % len(STYLES)]
    # On Oracle a quoted name is another one, which the contract does not know.
    return replace(style, quoted=False) if dialect == "oracle" else style


def create(entity: Entity, style: Style) -> str:
    """The view in schema ``hat``, over ours in schema ``ours``."""

    def name(text: str) -> str:
        return f'"{text}"' if style.quoted else text

    columns = [f"{column.alias}: {_expression(column, style)}" for column in entity.columns]
    columns.insert(0, f"Recno: Recno::{'numeric' if style.number == 'numeric' else 'bigint'}")
    if style.deleted:
        columns.append(f"{DELETED}: {DELETED}::{style.deleted}")
    if style.stamp:
        zoned = f"{STAMP} AT TIME ZONE 'UTC'" if style.stamp == "timestamptz" else STAMP
        columns.append(f"{STAMP}: {zoned}")
    columns.append("Desconhecida: 'x'")
    select = ", ".join(f"{text} AS {name(alias)}" for alias, text in (c.split(": ", 1) for c in columns))
    where = "" if style.deleted else f" WHERE {DELETED} = 0"
    return f"CREATE VIEW hat.{name(entity.view)} AS SELECT {select} FROM ours.{entity.view}{where}"


def _expression(column: Column, style: Style) -> str:
    if not column.numeric_source:
        return column.alias if style.text == "character" else f"{column.alias}::{style.text}"
    match style.number:
        case "double precision":
            return column.alias
        case "numeric":
            return f"{column.alias}::numeric"
        case bounded:
            # What does not fit is NULL.
            fits = f"{column.alias} BETWEEN -1e9 AND 1e9"
            return f"CASE WHEN {fits} THEN {column.alias}::numeric::{bounded} END"


def shown(pls: Pls, entity: Entity, style: Style) -> Iterator[Shown]:
    """What these views show."""
    for row in model.view(pls, entity):
        if row.deleted and not style.deleted:
            continue
        raw = {c.name: _number(row.raw[c.name], style) if c.numeric_source else row.raw[c.name] for c in entity.columns}
        yield replace(row, raw=raw, stamp=row.stamp if style.stamp else None)


def _number(value: float, style: Style) -> Any:
    # PostgreSQL turns a double into numeric by its first fifteen digits.
    exact = Decimal(f"{value:.15g}")
    match style.number:
        case "double precision":
            return value
        case "numeric":
            return exact
    if not -(10**9) <= value <= 10**9:
        return None
    return model.rounded(exact, 6 if "," in style.number else 0)


@dataclass
class Outcome:
    report: dict[str, Any]
    rows: dict[str, dict[Key, HatRow]]
    entries: list[Entry]
    expected: Hat


@pytest.fixture(scope="module")
def site(dialect: Dialect, make_site: MakeSite) -> Site:
    return make_site(dialect=dialect)


@pytest.fixture(scope="module")
def outcome(dialect: Dialect, site: Site, today: date) -> Outcome:
    styles = {entity: style_of(entity, dialect) for entity in ENTITIES}
    pls = World(2, today).pls
    for alias in ("BTS", "BAU", "BA1"):
        for row in pls.rows(alias):
            row[RECNO] *= 2500  # far apart, so that the table is read in several ranges
    site.create_tables(pls)
    site.install_views()
    site.execute("ALTER SCHEMA hat RENAME TO ours", "CREATE SCHEMA hat", *starmap(create, styles.items()))
    site.fill_tables(pls)
    report = site.load()
    expected = model.load(
        pls,
        run=report["run"],
        today=site.day_of(report["run"]),
        shown_by=lambda pls, entity: shown(pls, entity, styles[entity]),
    )
    return Outcome(report, site.rows(), site.rejects(), expected)


def test_every_way_to_differ_is_met() -> None:
    styles = {entity: style_of(entity, "postgresql") for entity in ENTITIES}
    for feature in ("number", "text", "deleted", "stamp", "quoted"):
        assert {getattr(style, feature) for style in styles.values()} == {getattr(style, feature) for style in STYLES}
    numeric = {style.number for entity, style in styles.items() if any(c.numeric_source for c in entity.columns)}
    assert numeric == {style.number for style in STYLES}


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)
def test_the_table_is_loaded_as_the_model_says(outcome: Outcome, entity: Entity) -> None:
    table = entity.table
    assert_same_rows(entity, outcome.rows[table], outcome.expected.rows[table])
    assert_same_entries(
        [entry for entry in outcome.entries if entry.table == table],
        [entry for entry in outcome.expected.entries if entry.table == table],
    )
    (reported,) = (reported for reported in outcome.report["tables"] if reported["table"] == table)
    assert_same_counts(reported, outcome.expected.counts[table])


def test_the_plan_says_what_views_lack(dialect: Dialect, site: Site, outcome: Outcome) -> None:
    remarks = {table["table"]: " ".join(table["remarks"]) for table in site.run("plan", "acme", "--json").json}
    for entity in ENTITIES:
        style = style_of(entity, dialect)
        assert ("Excluido" in remarks[entity.table]) == (not style.deleted)
        assert ("Carimbo" in remarks[entity.table]) == (not style.stamp)
