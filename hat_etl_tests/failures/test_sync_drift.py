"""Views that have changed since the last run: what hangs on them waits, the rest goes on, the mend brings all of it."""

from __future__ import annotations

import importlib
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.sandbox.server import PLS, READER

from . import changes
from .ground import Ground, Server
from .phases import Phase
from .syncing import Shown, Untouched, assert_told, last_run, synced
from .test_refusals import remade, view_of

MAKE_GROUND = Callable[..., Ground]

NARROWED, RETYPED, STAMPLESS = "specialties", "user_types", "beneficiary_waiting_periods"
STOPPED: dict[str, tuple[str, ...]] = {
    "families": ("HAT_BA3_Familia", "MatriculaFamilia is missing", "hat-etl views install"),
    NARROWED: (
        "Column descricao had 60 characters and has 5",
        "hat-etl sync demo --accept",
        "hat-etl views render demo",
    ),
    RETYPED: ("Column descricao was bpchar and is text", "hat-etl sync demo --accept"),
    STAMPLESS: ("Column Carimbo is gone", "hat-etl sync demo --accept"),
    "professionals": ("HAT_BB0_Profissional is not in the ERP", "hat-etl views install demo"),
}
"""Tables whose views ``drift`` spoils, with what is said of each and how to mend it."""


def as_owner(ground: Ground) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(ground.server.url(ground.pls, READER), autocommit=True)


def drift(ground: Ground) -> None:
    with as_owner(ground) as connection:
        remade("families", matriculafamilia=None)(connection)
        remade(NARROWED, descricao="descricao::character(5)")(connection)
        remade(RETYPED, descricao="descricao::text")(connection)
        remade(STAMPLESS, carimbo=None)(connection)
        connection.execute(f"ALTER VIEW hat.{view_of('professionals')} RENAME TO {view_of('professionals')}_was")
        # A column that is new stops nothing.
        remade("procedures", sexo="'x'::varchar(9) AS novidade, sexo")(connection)


def mend(ground: Ground) -> None:
    with as_owner(ground) as connection:
        for table in (*STOPPED, "procedures"):
            connection.execute(f"DROP VIEW IF EXISTS hat.{view_of(table)}")
            connection.execute(f"ALTER VIEW hat.{view_of(table)}_was RENAME TO {view_of(table)}")


@pytest.fixture
def ground(make_ground: MAKE_GROUND, server: Server) -> Ground:
    """A loaded tenant in whose ERP rows have changed, in the tables that will be left out too."""
    made = make_ground(pls=server.copy(PLS))
    rng = random.Random(1)
    with made.in_erp() as connection:
        changes.some(connection, seed=1)
        for alias in ("BB0", "BAQ", "BIH", "BFO", "BC1", "BF3", "BAE"):
            changes.delete(connection, alias, changes.live(connection, rng, alias, 1))
        changes.update(connection, "BR8", changes.live(connection, rng, "BR8", 3), descri="DESCRICAO MUDADA")
    return made


def loaded(ground: Ground, make_ground: MAKE_GROUND) -> Shown:
    other = make_ground(pls=ground.pls)
    other.load()
    return Shown.by(other)


def dependents(tables: set[str]) -> set[str]:
    """Tables that hang on these by hard references, near or far."""
    found = set(tables)
    for entity in BY_TABLE.values():
        if any(parent.table in found for parent in entity.hard_parents):
            found.add(entity.table)
    return found - tables


def test_each_kind_of_drift_stops_what_hangs_on_it(ground: Ground, make_ground: MAKE_GROUND) -> None:
    before = Shown.by(ground)
    drift(ground)
    result = ground.run("sync", ground.name, "--json")
    assert result.exit_code == 6, result.err
    document = result.document
    assert document["state"] == last_run(ground)[2] == "partial"
    problems = {problem["table"]: f"{problem['message']} {problem['next_step']}" for problem in document["problems"]}
    waiting = dependents(set(STOPPED))
    assert problems.keys() == STOPPED.keys() | waiting
    for table, words in STOPPED.items():
        assert_told(problems[table], *words)
    for table in waiting:
        assert_told(problems[table], "It depends on", "Mend", "first")
    assert_told(problems["clinical_staff"], "Mend professionals first")
    assert_told(" ".join(document["remarks"]), "HAT_BR8_Procedimento", "novidade is new", "not read")

    after = Shown.by(ground)
    assert {name: after.rows[name] for name in problems} == {name: before.rows[name] for name in problems}
    mend(ground)
    expected = loaded(ground, make_ground)
    going_on = before.rows.keys() - problems.keys()
    assert {name: after.rows[name] for name in going_on} == {name: expected.rows[name] for name in going_on}
    assert {name for name in going_on if after.rows[name] != before.rows[name]} >= {"persons", "procedures"}
    assert {name for name in problems if before.rows[name] != expected.rows[name]} >= STOPPED.keys() - {"families"}

    synced(ground)
    assert Shown.by(ground) == expected
    ground.assert_clean()


def test_a_tenant_file_may_let_drift_stop_everything(ground: Ground) -> None:
    ground.extra = '[sync]\ndrift = "stop-run"'
    with as_owner(ground) as connection:
        remade(NARROWED, descricao="descricao::character(5)")(connection)
    untouched = Untouched(ground)
    result = ground.run("sync", ground.name)
    assert result.exit_code == 6, result.err
    assert_told(result.err, "demo / specialties", "had 60 characters and has 5", "hat-etl sync demo --accept")
    assert last_run(ground)[1:3] == ("sync", "failed")
    untouched.check()


def test_what_the_operator_meant_is_accepted_once(ground: Ground, make_ground: MAKE_GROUND) -> None:
    with as_owner(ground) as connection:
        remade(NARROWED, descricao="descricao::character(40)")(connection)
        remade(RETYPED, descricao="descricao::text")(connection)
        remade(STAMPLESS, carimbo=None)(connection)
    report = synced(ground, "--accept")
    strategies = {outcome["table"]: outcome["strategy"] for outcome in report["tables"]}
    assert strategies[STAMPLESS] == "full"
    expected = loaded(ground, make_ground)
    assert Shown.by(ground) == expected
    assert synced(ground)["problems"] == []
    assert Shown.by(ground) == expected
    ground.assert_clean()


def test_a_plan_tells_what_a_sync_would_leave_out(ground: Ground) -> None:
    """It told of windows for views that had narrower columns, and failed where one was missing."""
    drift(ground)
    result = ground.run("plan", ground.name, "--sync", "--json")
    assert result.exit_code == 0, result.err
    planned = {table["table"]: table for table in result.document}
    assert list(planned) == [entity.table for entity in ENTITIES]
    for table, words in STOPPED.items():
        assert planned[table]["strategy"] == "stopped"
        assert_told(" ".join(planned[table]["remarks"]), *words)
    left_out = {problem["table"] for problem in ground.run("sync", ground.name, "--json").document["problems"]}
    assert {table for table, plan in planned.items() if plan["strategy"] == "stopped"} == left_out


def test_of_a_view_that_has_changed_throughout_three_columns_are_named(ground: Ground) -> None:
    """An ERP that moved to another database filled screens with a sentence for each column of each view."""
    retyped = {column.alias.lower(): f"{column.alias}::varchar(200)" for column in BY_TABLE["kinships"].columns}
    assert len(retyped) == 4
    with as_owner(ground) as connection:
        remade("kinships", **retyped)(connection)
    (problem,) = ground.run("sync", ground.name, "--json").document["problems"]
    assert problem["message"].count("Column ") == 3
    assert_told(problem["message"], BY_TABLE["kinships"].view, "codigo was bpchar and is varchar.", "And 1 more.")


@pytest.mark.parametrize("command", ["sync", "load"])
def test_a_view_made_anew_while_a_run_reads_ends_it(command: str, ground: Ground, make_ground: MAKE_GROUND) -> None:
    """Ranges read before and after stood side by side."""
    synced(ground, "--full")  # HAT knows the views of this copy of the PLS
    untouched, phase = Untouched(ground), Phase("reading", command)
    run = ground.start(command, ground.name, prepare=phase)
    phase.await_reached()
    with as_owner(ground) as connection:
        remade("specialties", descricao="upper(descricao)::character(60)")(connection)
    phase.go_on()
    result = run.wait()
    assert result.exit_code == 4, result.err
    assert_told(result.err, "demo / specialties", "Made anew", "HAT_BAQ_Especialidade", f"hat-etl {command} demo")
    assert last_run(ground)[1:3] == (command, "failed")
    if command == "sync":
        untouched.check()
        assert {t["table"]: t["strategy"] for t in synced(ground)["tables"]}["specialties"] == "full"
    else:
        ground.load("--resume")
    assert Shown.by(ground) == loaded(ground, make_ground)
    ground.assert_clean()


def test_what_a_load_read_by_a_text_that_was_taken_back_is_not_kept(ground: Ground, make_ground: MAKE_GROUND) -> None:
    """It was resumed once the view had its text again, and HAT showed what the other text had shown."""
    expected, phase, view = loaded(ground, make_ground), Phase("reading", "load"), view_of("specialties")
    load = ground.start("load", ground.name, prepare=phase)
    phase.await_reached()
    with as_owner(ground) as connection:
        remade("specialties", descricao="lower(descricao)::character(60)")(connection)
    phase.go_on()
    assert load.wait().exit_code == 4
    with as_owner(ground) as connection:
        connection.execute(f"DROP VIEW hat.{view}")
        connection.execute(f"ALTER VIEW hat.{view}_was RENAME TO {view}")
    ground.load("--resume")
    assert Shown.by(ground) == expected
    ground.assert_clean()


@dataclass
class Impatient:
    """In the process of a load: a lock in the ERP is waited for as long as a test waits, and then ``phase`` comes."""

    phase: Phase | None

    def __call__(self) -> None:
        module: Any = importlib.import_module("hat_etl.source.postgresql")
        module._SESSION = tuple("lock_timeout=1s" if s.startswith("lock_timeout") else s for s in module._SESSION)
        if self.phase is not None:
            self.phase()


@pytest.mark.parametrize("moment", ["before", "amid"])
def test_a_table_of_the_erp_that_stays_locked_ends_a_load_with_its_cause(ground: Ground, moment: str) -> None:
    """The run waited for ever, and said nothing; it held the tenant's lock all the time."""
    phase = Phase("reading", "load") if moment == "amid" else None
    with ground.in_erp() as connection, connection.transaction():
        lock = "LOCK TABLE protheus.bts010 IN ACCESS EXCLUSIVE MODE"
        if phase is None:
            connection.execute(lock)
        load = ground.start("load", ground.name, prepare=Impatient(phase))
        if phase is not None:
            phase.await_reached()
            connection.execute(lock)
            phase.go_on()
        result = load.wait()
    assert result.exit_code == 4, result.err
    where = "demo / persons" if moment == "amid" else "demo"
    assert_told(result.err, where, "structure is being changed", "hat-etl load demo --resume")
    ground.load("--resume" if moment == "amid" else "--restart")
    ground.assert_clean()


def test_a_catalogue_that_refuses_to_tell_ends_a_run_as_the_erps_trouble(ground: Ground) -> None:
    """A right that a DBA had taken from all logins was said to be lacking in the tenant database."""
    with ground.in_erp() as connection:
        connection.execute("REVOKE EXECUTE ON FUNCTION pg_get_viewdef(oid) FROM PUBLIC")
    untouched = Untouched(ground)
    for command in ("sync", "load", "plan"):
        result = ground.run(command, ground.name)
        assert result.exit_code == 4, result.err
        assert_told(result.err, "demo", "Reading the ERP failed (InsufficientPrivilege, SQLSTATE 42501)", "hat-etl")
    untouched.check()


def test_rows_that_a_narrower_column_of_the_erp_has_cut_follow_without_a_stamp(
    ground: Ground, make_ground: MAKE_GROUND
) -> None:
    """The text of the view was as before: a sync that was to accept it read a window, and HAT kept what was longer."""

    def width(of: int) -> None:
        with ground.in_erp() as connection:
            connection.execute(
                "DROP VIEW hat.hat_baq_especialidade;"
                f" ALTER TABLE protheus.baq010 ALTER baq_descri TYPE char({of}) USING left(baq_descri, {of})"
            )
        assert ground.run("views", "install", ground.name).exit_code == 0

    synced(ground)
    width(8)
    report = synced(ground, "--accept")
    assert {t["table"]: t["strategy"] for t in report["tables"]}["specialties"] == "full"
    assert Shown.by(ground) == loaded(ground, make_ground)
    assert {t["table"]: t["strategy"] for t in synced(ground)["tables"]}["specialties"] == "window"
    width(60)
    synced(ground)
    assert Shown.by(ground) == loaded(ground, make_ground)


def test_what_a_load_read_before_a_column_was_narrower_is_not_kept(ground: Ground, make_ground: MAKE_GROUND) -> None:
    """Ranges of before stood beside those that were read when it was resumed."""
    phase = Phase("keys and references", "load")
    load = ground.start("load", ground.name, prepare=phase)
    phase.await_reached()
    load.signal(signal.SIGKILL)
    load.wait()
    with ground.in_erp() as connection:
        connection.execute(
            "DROP VIEW hat.hat_baq_especialidade;"
            " ALTER TABLE protheus.baq010 ALTER baq_descri TYPE char(8) USING left(baq_descri, 8)"
        )
    assert ground.run("views", "install", ground.name).exit_code == 0
    ground.load("--resume")
    assert Shown.by(ground) == loaded(ground, make_ground)
