"""The load from outside: what a person who runs the commands can rely on."""

from __future__ import annotations

import pytest

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl_tests.load.conftest import Site


def test_every_table_balances_and_the_rejects_are_the_planted_ones(site: Site) -> None:
    report = site.ask("load", "demo", "--restart")
    assert [table["table"] for table in report["tables"]] == [entity.table for entity in ENTITIES]
    for table in report["tables"]:
        assert table["read"] == table["loaded"] + table["rejected"] + table["held"] + table["deleted"], table
    found = sorted(
        (r["table"], r["recno"], r["rule"], r["severity"], r["column"] or "") for r in site.ask("rejects", "demo")
    )
    assert found == sorted((p.table, p.recno, p.rule, p.severity, p.column or "") for p in site.manifest.planted)
    assert site.leftovers() == []


def test_loading_again_changes_nothing_but_the_run(site: Site) -> None:
    before, reported = site.contents(), site.reported()
    site.ask("load", "demo")
    assert site.contents() == before
    assert site.reported() == reported


def test_a_second_load_is_refused_while_one_holds_the_tenant(site: Site) -> None:
    before = site.contents()
    with site.hat() as other:
        other.execute("SELECT pg_advisory_lock(%s, %s)", (0x484154, 1))
        code, _, err = site.run("load", "demo")
    assert code == 8
    assert "Another run" in err
    assert site.contents() == before


def test_a_view_that_shrank_waits_for_a_decision(site: Site) -> None:
    before = site.contents()
    with site.pls() as connection:
        connection.execute(
            b"UPDATE protheus.bqc010 SET d_e_l_e_t_ = '*', r_e_c_d_e_l_ = r_e_c_n_o_ + 900000000 WHERE d_e_l_e_t_ = ' '"
        )
    try:
        code, _, err = site.run("load", "demo", "--only", "subcontracts")
        assert (code, "subcontracts" in err, "--accept-shrink" in err) == (7, True, True), err
        assert site.contents() == before
        code, _, err = site.run("load", "demo")
        assert (code, "--resume" in err) == (7, True), err
    finally:
        with site.pls() as connection:
            connection.execute(
                b"UPDATE protheus.bqc010 SET d_e_l_e_t_ = ' ', r_e_c_d_e_l_ = 0 WHERE r_e_c_d_e_l_ > 900000000"
            )
        site.ask("load", "demo", "--restart")


def test_grants_survive_and_a_table_with_a_view_on_it_is_rewritten(site: Site) -> None:
    with site.hat("postgres") as connection:
        connection.execute(b"DO $$ BEGIN CREATE ROLE hat_app; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
        connection.execute(b"GRANT SELECT, UPDATE (description) ON hat.kinships TO hat_app")
        connection.execute(b"CREATE VIEW hat.app_view AS SELECT * FROM hat.user_types")
    try:
        before = site.contents()
        site.ask("load", "demo")
        with site.hat("postgres") as connection:
            rights = connection.execute(
                b"SELECT has_table_privilege('hat_app', 'hat.kinships', 'SELECT'),"
                b" has_column_privilege('hat_app', 'hat.kinships', 'description', 'UPDATE'),"
                b" (SELECT count(*) FROM hat.app_view) = (SELECT count(*) FROM hat.user_types)"
            ).fetchone()
        assert rights == (True, True, True)
        assert site.contents() == before
    finally:
        with site.hat("postgres") as connection:
            connection.execute(b"DROP VIEW hat.app_view")


def test_a_row_that_turns_bad_keeps_its_last_good_version(site: Site) -> None:
    with site.hat() as connection:
        recno, name = connection.execute(
            b"SELECT source_recno, name FROM hat.health_providers ORDER BY source_recno LIMIT 1"
        ).fetchall()[0]
    with site.pls() as connection:
        connection.execute(b"UPDATE protheus.bau010 SET bau_nome = ' ' WHERE r_e_c_n_o_ = %s", (recno,))
    try:
        site.ask("load", "demo")
        assert [
            r["rule"] for r in site.ask("rejects", "demo") if (r["table"], r["recno"]) == ("health_providers", recno)
        ] == ["required"]
        with site.hat() as connection:
            kept = connection.execute(
                b"SELECT name FROM hat.health_providers WHERE source_recno = %s", (recno,)
            ).fetchone()
        assert kept == (name,)
    finally:
        with site.pls() as connection:
            connection.execute(b"UPDATE protheus.bau010 SET bau_nome = %s WHERE r_e_c_n_o_ = %s", (name, recno))
        site.ask("load", "demo")
    assert [r for r in site.ask("rejects", "demo") if (r["table"], r["recno"]) == ("health_providers", recno)] == []


def test_a_table_of_an_older_hat_etl_keeps_its_last_good_versions_as_far_as_they_go(site: Site) -> None:
    """A column that it lacked ended every load in which a row was rejected."""
    with site.hat() as connection:
        ((recno, name),) = connection.execute(
            b"SELECT source_recno, name FROM hat.health_providers ORDER BY source_recno LIMIT 1"
        ).fetchall()
        connection.execute(b"ALTER TABLE hat.health_providers DROP COLUMN email")
    with site.pls() as connection:
        connection.execute(b"UPDATE protheus.bau010 SET bau_nome = ' ' WHERE r_e_c_n_o_ = %s", (recno,))
    try:
        site.ask("load", "demo")
        with site.hat() as connection:
            kept = connection.execute(
                b"SELECT name, email FROM hat.health_providers WHERE source_recno = %s", (recno,)
            ).fetchall()
        assert kept == [(name, None)]
    finally:
        with site.pls() as connection:
            connection.execute(b"UPDATE protheus.bau010 SET bau_nome = %s WHERE r_e_c_n_o_ = %s", (name, recno))
        site.ask("load", "demo", "--restart")


def test_a_table_of_an_older_hat_etl_gets_its_columns_where_tables_are_rewritten(site: Site) -> None:
    """One view of the HAT application on any table, and no load nor sync went on after the upgrade."""
    before = site.contents()
    with site.hat("postgres") as connection:
        connection.execute(b"ALTER TABLE hat.health_providers DROP COLUMN email")
        connection.execute(b"ALTER TABLE hat.user_types DROP COLUMN description")
        connection.execute(b"CREATE VIEW hat.app_view AS SELECT * FROM hat.user_types")
    try:
        site.ask("load", "demo")
        assert site.contents() == before
        with site.hat("postgres") as connection:
            nullable, comment = connection.execute(
                b"SELECT NOT attnotnull, col_description(attrelid, attnum) FROM pg_attribute"
                b" WHERE attrelid = 'hat.user_types'::regclass AND attname = 'description'"
            ).fetchall()[0]
            assert nullable is not BY_TABLE["user_types"]["description"].required
            assert comment
    finally:
        with site.hat("postgres") as connection:
            connection.execute(b"DROP VIEW hat.app_view")
        site.ask("load", "demo", "--restart")


def test_a_column_of_an_older_hat_etl_gets_its_width_where_tables_are_rewritten(site: Site) -> None:
    """The first value that was longer than the column had been ended every load."""
    kinds, before = (
        b"SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid IN"
        b" ('hat.user_types'::regclass, 'hat.product_copayment_rules'::regclass) AND attnum > 0",
        site.contents(),
    )
    with site.hat("postgres") as connection:
        wide = set(connection.execute(kinds))
        connection.execute(b"ALTER TABLE hat.user_types ALTER description TYPE varchar(2) USING left(description, 2)")
        connection.execute(b"ALTER TABLE hat.product_copayment_rules ALTER copart_value TYPE numeric(10,2)")
        connection.execute(b"CREATE VIEW hat.app_view AS SELECT code FROM hat.user_types")
    try:
        site.ask("load", "demo")
        assert site.contents() == before
        with site.hat("postgres") as connection:
            assert set(connection.execute(kinds)) == wide
    finally:
        with site.hat("postgres") as connection:
            connection.execute(b"DROP VIEW hat.app_view")
        site.ask("load", "demo", "--restart")


def test_a_view_on_a_column_that_must_become_wider_is_named(site: Site) -> None:
    """The load told that the tenant database had refused a statement."""
    before = site.contents()
    with site.hat("postgres") as connection:
        connection.execute(b"ALTER TABLE hat.user_types ALTER description TYPE varchar(2) USING left(description, 2)")
        connection.execute(b"CREATE VIEW hat.app_view AS SELECT description FROM hat.user_types")
    try:
        code, _, err = site.run("load", "demo")
        assert code == 5
        for told in ("demo / user_types", "rule _RETURN on view hat.app_view depends on column", "--resume"):
            assert told in err
    finally:
        with site.hat("postgres") as connection:
            connection.execute(b"DROP VIEW hat.app_view")
        site.ask("load", "demo", "--resume")
    assert site.contents() == before


def test_a_table_of_an_older_hat_etl_gets_its_keys_where_tables_are_rewritten(site: Site) -> None:
    """Rows that others refer to were taken for rows that had left the ERP, and the key was not made again."""
    constraints, key = (
        b"SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'hat'::regnamespace",
        ", ".join(BY_TABLE["beneficiaries"].key),
    )
    with site.hat("postgres") as connection:
        before, keys = site.contents(), set(connection.execute(constraints))
        connection.execute(b"ALTER TABLE hat.beneficiaries DROP COLUMN beneficiary_id CASCADE")
        connection.execute(b"CREATE SCHEMA app")
        connection.execute(f"CREATE TABLE app.notes AS SELECT {key} FROM hat.beneficiaries LIMIT 3".encode())
        connection.execute(f"ALTER TABLE app.notes ADD FOREIGN KEY ({key}) REFERENCES hat.beneficiaries".encode())
    try:
        site.ask("load", "demo")
        assert site.contents() == before
        with site.hat("postgres") as connection:
            assert set(connection.execute(constraints)) == keys
    finally:
        with site.hat("postgres") as connection:
            connection.execute(b"DROP SCHEMA app CASCADE")
        site.ask("load", "demo", "--restart")


def test_a_snapshot_is_one_moment_whatever_changes_meanwhile(site: Site) -> None:
    """Rows that are gone from two tables by now are read from both, for the snapshot is older."""
    from contextlib import closing

    from hat_etl.entities import BY_TABLE
    from hat_etl.source.erp import open_source
    from hat_etl.tenants import store

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HAT_ETL_TENANTS", str(site.tenants))
        tenant = store.load("demo")
    with closing(open_source(tenant, "hat-etl load")) as source:
        shapes = [source.describe(BY_TABLE[table]) for table in ("coverage_groups", "specialties")]
        with source.snapshot() as snapshot, site.pls() as erp:
            bounds = [snapshot.bounds(shape) for shape in shapes]
            with erp.transaction():
                for table in ("bg7010", "baq010"):
                    erp.execute(f"UPDATE protheus.{table} SET d_e_l_e_t_ = d_e_l_e_t_".encode())
                    erp.execute(f"DELETE FROM protheus.{table} WHERE d_e_l_e_t_ = '*'".encode())
            seen = []
            for shape, range_ in zip(shapes, bounds, strict=True):
                assert range_ is not None
                rows = [row for batch in snapshot.stream(shape, range_) for row in batch.to_pylist()]
                seen.append(sum(row["deleted"] for row in rows))
        assert all(count > 0 for count in seen)
