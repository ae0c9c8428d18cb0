"""What a load leaves behind for the syncs that follow, asked of the catalogue."""

from __future__ import annotations

from hat_etl.entities import ENTITIES
from hat_etl_tests.load.conftest import Site

INDEXED = """
SELECT c.relname,
       array_agg(ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (number, place)
                       JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.number ORDER BY k.place)::text)
FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid
WHERE c.relnamespace = 'hat'::regnamespace AND i.indisvalid GROUP BY c.relname
"""
TIED = """
SELECT c.conrelid::regclass::text, c.confrelid::regclass::text, c.condeferrable AND NOT c.condeferred,
       ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k (number, place)
             JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.number ORDER BY k.place)
FROM pg_constraint c WHERE c.connamespace = 'hat'::regnamespace AND c.contype = 'f'
"""


def check(site: Site) -> None:
    with site.hat() as connection:
        indexes = {
            str(table): [str(columns).strip("{}").split(",") for columns in found]
            for table, found in connection.execute(INDEXED.encode())
        }
        ties = connection.execute(TIED.encode()).fetchall()
    hard = [(entity, parent) for entity in ENTITIES for parent in entity.hard_parents]
    assert sorted((f"hat.{e.table}", f"hat.{p.table}", True, list(p.columns)) for e, p in hard) == sorted(ties)
    for entity, parent in hard:
        breadth = len(parent.columns)
        assert any(set(index[:breadth]) == set(parent.columns) for index in indexes[entity.table]), (entity, parent)
    for entity in ENTITIES:
        assert ["source_recno"] in indexes[entity.table]


def test_references_can_be_deferred_and_parents_and_recnos_are_found_by_index(site: Site) -> None:
    check(site)


def test_statistics_are_taken_before_the_tables_are_seen(site: Site) -> None:
    with site.hat() as connection:
        filled = {
            entity.table for entity in ENTITIES
            if connection.execute(f"SELECT EXISTS (SELECT FROM hat.{entity.table})".encode()).fetchone() == (True,)
        }  # fmt: skip
        known = connection.execute(b"SELECT DISTINCT tablename FROM pg_stats WHERE schemaname = 'hat'").fetchall()
    assert filled == {str(table) for (table,) in known}


def test_tables_that_are_rewritten_in_place_get_the_same(site: Site) -> None:
    """As those of an earlier version, which had neither."""
    identity = b"SELECT 'hat.clinical_staff'::regclass::oid"
    with site.hat() as connection:
        before = connection.execute(identity).fetchone()
        connection.execute(b"DROP INDEX hat.clinical_staff_recno, hat.clinical_staff_ref2")
        connection.execute(b"ALTER TABLE hat.clinical_staff DROP CONSTRAINT clinical_staff_fk1")
        connection.execute(b"CREATE VIEW hat.app_view AS SELECT * FROM hat.user_types")
    try:
        site.ask("load", "demo")
        with site.hat() as connection:
            assert connection.execute(identity).fetchone() == before
        check(site)
    finally:
        with site.hat() as connection:
            connection.execute(b"DROP VIEW hat.app_view")
