"""Every table can be explained: rows of a soiled ERP, of any fate, with keys of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime

import pytest

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Entity
from hat_etl.source.erp import open_source
from hat_etl.sync import explain
from hat_etl.tenants import store
from hat_etl.tenants.config import Tenant
from hat_etl_tests.conformance.conftest import MakeSite
from hat_etl_tests.conformance.model import Entry, HatRow, Key
from hat_etl_tests.conformance.site import TENANT, Site
from hat_etl_tests.conformance.world import World

EACH = 2
"""Keys of each fate and table."""
NEVER_REJECTED_BY_KEY = {
    "health_insurers", "user_types", "kinships", "procedure_tables", "professionals", "authorization_cancellations",
}  # fmt: skip
"""Nothing but the one field of their key can be amiss enough: a row of them that is rejected has no key."""

tables = pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)


@dataclass
class Ground:
    tenant: Tenant
    rows: dict[str, dict[Key, HatRow]]
    entries: list[Entry]
    backing: dict[tuple[str, str], int | None]
    """Table and key to the live row that is not the one of the Recno; None for last good versions."""


@pytest.fixture(scope="module")
def ground(make_site: MakeSite, today: date) -> Iterator[Ground]:
    site, world = make_site(), World(7, today)
    site.create_tables(world.pls)
    site.install_views()
    site.fill_tables(world.pls)
    site.load()
    world.change(share=0.1)
    site.fill_tables(world.pls)
    assert site.run("sync", TENANT, "--full", "--accept").code == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HAT_ETL_TENANTS", str(site.folder))
        yield Ground(store.load(TENANT), site.rows(), site.rejects(), backing(site))


def backing(site: Site) -> dict[tuple[str, str], int | None]:
    with site.server.connect(site.hat) as connection:
        found = connection.execute("SELECT \"table\", array_to_string(key, '|'), recno FROM hat_etl.backing")
        return {(table, key): recno for table, key, recno in found}


def told(key: Key) -> str:
    return "|".join(value.isoformat() if isinstance(value, date | datetime) else str(value) for value in key)


@tables
def test_rows_of_hat(ground: Ground, entity: Entity) -> None:
    rows = ground.rows[entity.table]
    kept = {key for key in rows if ground.backing.get((entity.table, told(key)), 0) is None}
    assert len(kept) < len(rows)
    for key in [*sorted(kept, key=repr)[:EACH], *sorted(rows.keys() - kept, key=repr)[:EACH]]:
        answer = explain.explain(ground.tenant, entity.table, told(key))
        assert answer.state == ("kept" if key in kept else "in HAT"), answer.why
        assert answer.hat is not None
        assert answer.hat["source_recno"] == rows[key].source_recno
        for column in answer.columns:
            if not entity[column.column].secret:
                assert column.in_hat == rows[key].values[column.column]
                if key not in kept:
                    assert column.becomes == column.in_hat, column
        if key not in kept:
            assert "HAT shows what the ERP has now." in answer.why


@tables
def test_rows_that_are_not_in_hat(ground: Ground, entity: Entity) -> None:
    present = {told(key) for key in ground.rows[entity.table]}
    for severity, state in (("held", "held"), ("reject", "rejected")):
        others = {e.key for e in ground.entries if e.table == entity.table and e.severity != severity}
        absent = {
            entry.key: entry.recno
            for entry in ground.entries
            if entry.table == entity.table and entry.severity == severity
            and entry.key and entry.key not in present | others
        }  # fmt: skip
        # Of keys with odd characters and with parts that are empty, too.
        ordered = sorted(absent, key=lambda key: (key.isalnum(), "||" not in key, key))
        chosen = [key for key in ordered if key.count("|") + 1 == len(entity.key)][:EACH]
        can_be = entity.hard_parents if severity == "held" else entity.table not in NEVER_REJECTED_BY_KEY
        assert bool(chosen) == bool(can_be), severity
        for key in chosen:
            answer = explain.explain(ground.tenant, entity.table, key)
            assert answer.state == state, (key, answer.why)
            assert absent[key] in {row.recno for row in answer.in_view}
            assert any(entry["severity"] == severity for entry in answer.rejects)


@tables
def test_rows_of_the_view_are_found_by_their_key(ground: Ground, entity: Entity) -> None:
    clean = sorted(
        (row.source_recno, key)
        for key, row in ground.rows[entity.table].items()
        if (entity.table, told(key)) not in ground.backing
    )
    chosen = clean[:: max(1, len(clean) // 5)]
    with closing(open_source(ground.tenant, "hat-etl explain")) as source:
        shape = source.describe(entity)
        with source.snapshot() as snapshot:
            for recno, key in chosen:
                texts = dict(zip(entity.key, told(key).split("|"), strict=True))
                found = [
                    number
                    for batch in snapshot.matching(shape, texts)
                    for number in batch.column("source_recno").to_pylist()
                ]
                assert recno in found
                assert len(found) < max(12, len(clean)), "the server has chosen"
