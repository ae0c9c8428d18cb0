"""HAT's tables are changed behind hat_etl's back: what is told of it, and that what is told mends it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from hat_etl.entities import BY_TABLE
from hat_etl.sandbox.server import PLS

from . import changes
from .ground import Ground, Server
from .syncing import assert_told, rows
from .syncing import synced as sync
from .test_doctor import checks

TABLES = "tenant database: HAT's tables"


@pytest.fixture
def synced(ground: Ground) -> Ground:
    """A sync has looked up the latest row of each table: the next one asks HAT of changed rows alone."""
    assert ground.run("sync", ground.name).exit_code == 0
    return ground


@pytest.mark.parametrize(
    ("harm", "lacked"),
    [
        ("DROP TABLE hat.health_insurers CASCADE", "the table"),
        ("ALTER TABLE hat.persons DROP email", "email"),
        ("ALTER TABLE hat.kinships DROP source_stamp", "source_stamp"),
    ],
)
def test_what_hat_lacks_is_told_and_a_load_of_it_mends_that(harm: str, lacked: str, synced: Ground) -> None:
    """A sync passed over a table that was dropped and succeeded: new children of its rows were held. Where it failed,
    it sent to a doctor that was green."""
    with synced.in_hat() as connection:
        before = rows(connection)
        connection.execute(harm)
    table = harm.partition("hat.")[2].split()[0]
    check = checks(synced, exit_code=5)[TABLES]
    assert_told(check["detail"], f"hat.{table} ({lacked})")
    assert_told(check["mend"], f"hat-etl load demo --only {table}")
    for command in ("sync", "reconcile"):
        told = synced.run(command, synced.name)
        assert told.exit_code == 5
        assert_told(told.err, f"hat.{table} ({lacked})", f"hat-etl load demo --only {table}", f"hat-etl {command} demo")
    synced.load("--only", table)
    assert TABLES not in checks(synced, exit_code=0)
    assert synced.run("sync", synced.name, "--full").exit_code == 0
    assert synced.run("reconcile", synced.name).exit_code == 0
    with synced.in_hat() as connection:
        assert rows(connection) == before


def test_another_schema_in_the_file_is_no_hat_without_rows(synced: Ground) -> None:
    """Tables of which nothing had changed were counted as synchronised, and the others sent to a green doctor."""
    synced.extra = 'schema = "elsewhere"'
    told = synced.run("sync", synced.name)
    assert told.exit_code == 5
    assert_told(told.err, "elsewhere.beneficiaries (the table)", "[hat] schema", "hat-etl load demo. Then")


@pytest.mark.parametrize(
    "harm",
    [
        "persons ALTER birthdate TYPE text",
        "persons ALTER person_id TYPE bigint USING person_id::bigint",
        "kinships ALTER description TYPE bytea USING description::bytea",
    ],
)
def test_a_column_of_another_type_is_told_with_the_statement_that_mends_it(harm: str, synced: Ground) -> None:
    """Load and sync ended with the name of an error of the server's and sent to a doctor that was green."""
    with synced.in_hat() as connection:
        connection.execute(f"ALTER TABLE hat.{harm}")
        check = checks(synced, exit_code=5)[TABLES]
        alter = check["mend"].partition("run: ")[2]
        for command in ("sync", "reconcile", "load"):
            told = synced.run(command, synced.name)
            assert told.exit_code == 5
            assert_told(told.err, f"hat.{harm.split()[0]}.{harm.split()[2]} is ", alter, f"hat-etl {command} demo")
        if "bytea" in harm:
            connection.execute("UPDATE hat.kinships SET description = NULL")
        elif "bigint" in harm:
            padded = "lpad(person_id::text, 8, '0')"
            connection.execute(f"ALTER TABLE hat.persons ALTER person_id TYPE varchar(8) USING {padded}")
        connection.execute(alter)
    assert synced.run("load", synced.name).exit_code == 0
    assert synced.run("reconcile", synced.name).exit_code == 0


@pytest.mark.parametrize(
    "wider",
    [
        "health_provider_procedure_coverages ALTER initial_term TYPE timestamp",
        "product_copayment_rules ALTER minimum_age TYPE numeric(8, 2), ALTER maximum_age TYPE bigint",
        "beneficiary_copayment_rules ALTER copart_percentage TYPE numeric(20, 4)",
        "persons ALTER email TYPE hat.mail, ALTER person_id TYPE char(8)",
    ],
)
def test_columns_of_other_types_that_hold_their_values_go_on_as_before(
    wider: str, make_ground: Callable[..., Ground], server: Server
) -> None:
    """A domain was refused. By days with hours, and numbers with a scale, each row was taken for another one: of keys,
    the sync told of rows that were numbered anew; the reconciliation ended in a traceback."""
    ground = make_ground(pls=server.copy(PLS), extra="[sync]\nlookback_minutes = 0")
    sync(ground)
    with ground.in_hat() as connection:
        connection.execute(f"CREATE DOMAIN hat.mail AS varchar(100); ALTER TABLE hat.{wider}")
    alias = BY_TABLE[wider.split()[0]].reads[0]
    with ground.in_erp() as connection:
        changes.purge(connection, alias, changes.live(connection, random.Random(3), alias, 1))
    assert sync(ground)["remarks"] == []
    assert sync(ground, "--full")["remarks"] == []
    for command in ("reconcile", "load"):
        told = ground.run(command, ground.name)
        assert told.exit_code == 0, told.err


TRIGGER = (
    "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS"
    " $$ BEGIN RAISE EXCEPTION 'not %', NEW.description; END $$;"
    " CREATE TRIGGER refuse BEFORE UPDATE OR INSERT ON hat.kinships FOR EACH ROW EXECUTE FUNCTION refuse()"
)


@pytest.mark.parametrize(
    ("added", "named"),
    [
        ("ALTER TABLE hat.kinships ADD CONSTRAINT app_short CHECK (length(description) < 2) NOT VALID", "app_short"),
        (
            "ALTER TABLE hat.kinships ADD app int NOT NULL DEFAULT 1; ALTER TABLE hat.kinships ALTER app DROP DEFAULT",
            "column app",
        ),
        (TRIGGER, "RaiseException"),
    ],
)
def test_what_others_have_added_and_refuses_rows_is_named_with_its_table(
    added: str, named: str, ground: Ground
) -> None:
    """Neither table nor constraint was told, and the doctor, to which that sent, had nothing to mend."""
    with ground.in_hat() as connection:
        connection.execute(added)
        connection.execute("DELETE FROM hat.kinships WHERE source_recno = (SELECT max(source_recno) FROM hat.kinships)")
        (descriptions,) = connection.execute("SELECT array_agg(description) FROM hat.kinships").fetchall()[0]
    for command, again in (("sync --full", "sync demo --full"), ("load", "load demo --resume")):
        name, *options = command.split()
        told = ground.run(name, ground.name, *options)
        assert told.exit_code == 5
        assert_told(told.err, "demo / kinships", named, "others have added", f"hat-etl {again}")
        assert not [description for description in descriptions if description in told.err]
    assert_told(checks(ground, exit_code=0)["tenant database: kinships"]["mend"], "must let in every row")


def test_a_narrow_column_that_is_part_of_a_partition_key_is_named(ground: Ground) -> None:
    """It was a number of PostgreSQL's: a view in the way had been thought of alone."""
    with ground.in_hat() as connection:
        connection.execute(
            "ALTER TABLE hat.kinships ALTER description TYPE varchar(25);"
            " CREATE TABLE hat.parts (LIKE hat.kinships) PARTITION BY LIST (description);"
            " CREATE TABLE hat.part PARTITION OF hat.parts DEFAULT; INSERT INTO hat.parts SELECT * FROM hat.kinships;"
            " DROP TABLE hat.kinships; ALTER TABLE hat.parts RENAME TO kinships;"
            " ALTER TABLE hat.kinships OWNER TO hat_loader; ALTER TABLE hat.part OWNER TO hat_loader"
        )
    told = ground.run("load", ground.name)
    assert told.exit_code == 5
    assert_told(told.err, "hat.kinships.description", "partition key", "--resume")


def test_a_column_that_is_too_narrow_for_a_sync_is_told_with_the_load_that_widens_it(ground: Ground) -> None:
    """It was the name of an error of the server's, and the doctor, to which that sent, was green."""
    with ground.in_hat() as connection:
        before = rows(connection)
        connection.execute("ALTER TABLE hat.kinships ALTER description TYPE varchar(2) USING left(description, 2)")
    told = ground.run("sync", ground.name, "--full")
    assert told.exit_code == 5
    assert_told(
        told.err, "demo / kinships", "narrower", "hat-etl load demo --only kinships", "hat-etl sync demo --full"
    )
    ground.load("--only", "kinships")
    assert ground.run("sync", ground.name, "--full").exit_code == 0
    with ground.in_hat() as connection:
        assert rows(connection) == before
