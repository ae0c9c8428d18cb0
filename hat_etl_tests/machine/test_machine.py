"""Anything may happen in the ERP and to a sync, in any order: in the end HAT is what the model says.

In every test run, a history of each rule that matters and a few that chance makes; ``HAT_ETL_EXAMPLES=500`` asks for
more of chance.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.errors import DecisionNeeded
from hat_etl.sandbox.churn import Clock, Kind, Operation, apply
from hat_etl.sync import ranges, view_reader
from hat_etl.sync.incremental import sync
from hat_etl.sync.reconcile import ReconcileRequest, reconcile
from hat_etl.sync.request import SyncRequest
from hat_etl.sync.undo import undo
from hat_etl.tenants.config import Dialect
from hat_etl_tests.conformance.compare import assert_same_entries, assert_same_rows
from hat_etl_tests.conformance.model import Hat
from hat_etl_tests.erps import ERPS
from hat_etl_tests.machine.subject import Ground, Subject, joined_aliases
from hat_etl_tests.sandbox.activity import endings, operations
from hat_etl_tests.servers import Server

EXAMPLES, STEPS = int(os.environ.get("HAT_ETL_EXAMPLES", "2")), 12
SHARE: dict[Dialect, float] = {"postgresql": 1.0, "oracle": 0.5}
"""Of the examples: what is read of Oracle goes the same ways afterwards, and takes longer."""
JOINED = joined_aliases(ENTITIES)
JOINING = frozenset(entity.reads[0] for entity in ENTITIES if len(entity.reads) > 1)
"""PLS tables to whose rows a view joins others: where such a row loses its stamp, the view shows the joined row's."""
TABLES = st.sampled_from([entity.table for entity in ENTITIES])
PARENTS = {BY_TABLE[p.table].reads[0]: p.table for entity in ENTITIES for p in entity.parents}
"""Driving PLS tables of HAT tables that others refer to."""
COMINGS_AND_GOINGS = (Kind.DELETE, Kind.UNDELETE, Kind.PURGE, Kind.INSERT)
HARM = ("change", "remove", "add")
SEEN_WHEN_JOINED = {Kind.UPDATE, Kind.INSERT, Kind.TOUCH, Kind.MASS_UPDATE, Kind.JOINED_UPDATE, Kind.UNDELETE}
PHASES_OF_SEARCH = [p for p in Phase if p is not Phase.shrink or "HAT_ETL_SHRINK" in os.environ]
PHASES = ("looking at the views", "reading", "comparing keys", "merging", "committing", "committed")


def with_dependents(table: str) -> set[str]:
    """The table, and those whose rows would be held without it, and so on."""
    found = {table}
    for entity in ENTITIES:  # parents first
        if any(parent.table in found for parent in entity.hard_parents):
            found.add(entity.table)
    return found


class Machine(RuleBasedStateMachine):
    ground: ClassVar[Ground]
    dialect: ClassVar[Dialect]

    @initialize()
    def begin(self) -> None:
        self.subject = Subject(self.ground, self.dialect)
        self.known = self.subject.hat_now()
        self.fresh = False
        """Whether HAT shows the ERP as it is now."""
        self.undoable: tuple[int, Hat] | None = None
        """The last run, when it is a sync, and what HAT was before it."""
        self.blind = False
        """Whether something has happened that no window shows: a joined row is deleted, or changes without a stamp."""
        self.blind_when_ended: set[str] = set()
        """Open transactions that hold such a thing: no sync before their end can show it, not even a full one."""

    def teardown(self) -> None:
        if not hasattr(self, "subject"):
            return
        try:
            for name in self.subject.activity.open_transactions:
                self.subject.activity.end(name, commit=True)
            self.sync(full=self.blind)
            self.sync(full=False)
        finally:
            self.subject.close()

    # -- the ERP -----------------------------------------------------------------------------------------------------

    @rule(operation=operations())
    def erp_is_used(self, operation: Operation) -> None:
        self.use_erp(operation)

    def use_erp(self, operation: Operation) -> None:
        apply(operation, self.subject.activity)
        unstamped = operation.clock is Clock.NONE
        seen = operation.kind in SEEN_WHEN_JOINED and not unstamped
        lost = operation.alias in JOINING and unstamped
        if (operation.alias in JOINED and not seen) or lost or operation.clock is Clock.BACK:
            self.blind = True
            if operation.transaction:
                self.blind_when_ended.add(operation.transaction)
        self.fresh = False

    @rule(operation=endings())
    def transaction_ends(self, operation: Operation) -> None:
        apply(operation, self.subject.activity)
        self.blind_when_ended &= set(self.subject.activity.open_transactions)
        self.fresh = False

    # -- hat_etl -----------------------------------------------------------------------------------------------------

    @rule(full=st.sampled_from([False, False, False, True]))
    def sync(self, full: bool) -> None:
        request = SyncRequest(full=full)
        try:
            run = self.subject.sync(request)
        except DecisionNeeded:
            # The brake: stamps went back, as after a restored backup.
            self.assert_unchanged()
            request = SyncRequest(full=True, accept=True)
            run = self.subject.sync(request)
        before = self.known
        if self.blind and not request.full:
            self.known = self.subject.hat_now()
        else:
            self.blind, self.fresh = bool(self.blind_when_ended), True
            self.assert_hat(self.subject.expected(self.known, run))
        self.undoable = (run, before)

    @rule(tables=st.sets(TABLES, min_size=1, max_size=30))
    def some_tables_are_synchronised(self, tables: set[str]) -> None:
        before, only = self.known, tuple(sorted(tables))
        run = self.subject.sync(SyncRequest(only, accept=True))
        self.fresh = False  # some tables are ahead of others now
        if self.blind:
            self.known = self.subject.hat_now()
        else:
            self.assert_hat(self.subject.expected(before, run, only))
        self.undoable = (run, before)

    @rule(
        operation=operations(COMINGS_AND_GOINGS, sorted(PARENTS), [Clock.RIGHT], [""], max_rows=20),
        others=st.lists(TABLES, max_size=2),
    )
    def parents_come_or_go_and_are_loaded(self, operation: Operation, others: list[str]) -> None:
        """Alone, or with some other tables."""
        self.use_erp(operation)
        self.undoable = None
        tables = tuple(sorted({PARENTS[operation.alias], *others}))
        run = self.subject.load(tables)
        self.assert_hat(self.subject.expected_of_load(self.known, run, tables))

    @rule(phase=st.sampled_from(PHASES))
    def sync_is_killed(self, phase: str) -> None:
        self.undoable = None
        killed = self.subject.sync_killed_at(phase, SyncRequest(accept=True))
        self.subject.await_lock()
        if not killed:
            self.known = self.subject.hat_now()  # nothing to merge: it ran to its end
        elif phase == "committed":
            self.known = self.subject.hat_now()
        else:
            self.assert_unchanged()

    @precondition(lambda self: self.undoable)
    @rule()
    def last_sync_is_undone(self) -> None:
        assert self.undoable is not None
        run, before = self.undoable
        self.undoable, self.fresh = None, False
        try:
            undo(self.subject.tenant, run)
        except DecisionNeeded as refusal:
            if "nothing" not in refusal.cause.lower():
                raise
            return
        self.assert_hat(before)

    @precondition(lambda self: self.fresh and not self.subject.activity.open_transactions)
    @rule(
        table=st.sampled_from([entity.table for entity in ENTITIES]),
        place=st.integers(0, 50),
        harm=st.sampled_from(HARM),
    )
    def hat_is_harmed_and_repaired(self, table: str, place: int, harm: str) -> None:
        assert reconcile(self.subject.tenant, ReconcileRequest()).is_clean
        if not self.subject.harm(BY_TABLE[table], place, harm):
            return
        report = reconcile(self.subject.tenant, ReconcileRequest(repair=True, accept=True))
        assert any(found.mismatches for found in report.tables if found.table == table)
        assert report.is_clean
        self.undoable = None
        found = self.subject.hat_now()
        for entity in ENTITIES:
            values = [{key: row.values for key, row in hat.rows[entity.table].items()} for hat in (found, self.known)]
            assert values[0] == values[1], entity.table
        assert_same_entries(found.entries, self.known.entries)
        self.known = found

    @rule(table=TABLES)
    def view_drifts_and_is_mended(self, table: str) -> None:
        self.undoable, entity = None, BY_TABLE[table]
        left_out = with_dependents(table)
        with self.subject.drifted(entity):
            report = sync(self.subject.tenant, SyncRequest(accept=True))
            expected = self.subject.expected(self.known, report.run, tuple({*BY_TABLE} - left_out))
            assert {problem.table for problem in report.problems} == left_out
            assert not left_out & {outcome.table for outcome in report.tables if outcome.read}
        self.fresh = False
        if self.blind:
            self.known = self.subject.hat_now()
        else:
            self.assert_hat(expected)

    @rule(table=TABLES)
    def view_is_made_anew(self, table: str) -> None:
        """No stamp tells of it."""
        self.fresh &= not self.subject.make_anew(BY_TABLE[table])

    # -- what must hold ----------------------------------------------------------------------------------------------

    def assert_unchanged(self) -> None:
        self.assert_hat(self.known)

    def assert_hat(self, expected: Hat) -> None:
        found = self.subject.hat_now()
        for entity in ENTITIES:
            assert_same_rows(entity, found.rows[entity.table], expected.rows[entity.table])
        assert_same_entries(found.entries, expected.entries)
        self.known = found


@pytest.fixture(scope="module")
def ground(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(postgres, tmp_path_factory.mktemp("tenants"))


@pytest.fixture(params=ERPS)
def dialect(request: pytest.FixtureRequest, ground: Ground, monkeypatch: pytest.MonkeyPatch) -> Dialect:
    """The ERP of the machines that the test makes."""
    monkeypatch.setenv("HAT_ETL_TENANTS", str(ground.folder))
    # What large tables go through, too.
    monkeypatch.setattr(view_reader, "MANY_UNSTAMPED", 1)
    monkeypatch.setattr(ranges, "SPLIT_ROWS", 1)
    Machine.ground, Machine.dialect = ground, request.param
    return Machine.dialect


def test_every_history_ends_as_the_model_says(dialect: Dialect) -> None:
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(
            max_examples=math.ceil(EXAMPLES * SHARE[dialect]),
            stateful_step_count=STEPS,
            derandomize="HAT_ETL_EXAMPLES" not in os.environ,
            phases=PHASES_OF_SEARCH,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


# -- histories that chance does not come to in few examples ------------------------------------------------------------


@pytest.fixture
def machine(dialect: Dialect) -> Iterator[Machine]:
    """One whose rules the test calls itself."""
    made = Machine()  # type: ignore[no-untyped-call]
    made.begin()
    yield made
    made.subject.close()


def use(machine: Machine, kind: Kind, alias: str, **more: Any) -> None:
    machine.erp_is_used(operation=Operation(kind, alias, rows=3, choice=7, **more))


def test_a_sync_is_undone_and_done_again(machine: Machine) -> None:
    for kind in (Kind.UPDATE, Kind.INSERT, Kind.DELETE, Kind.PURGE, Kind.RENEW, Kind.DUPLICATE, Kind.SPOIL):
        for alias in ("BTS", "BA1", "BFE"):
            use(machine, kind, alias)
    machine.sync(full=False)
    brought = machine.known
    machine.last_sync_is_undone()
    assert machine.known != brought
    machine.sync(full=False)


def test_stamps_are_late_and_missing_and_of_the_future(machine: Machine) -> None:
    use(machine, Kind.UPDATE, "BTS", transaction="a")
    use(machine, Kind.INSERT, "BFE", transaction="a")
    for clock in (Clock.NONE, Clock.FUTURE):
        use(machine, Kind.INSERT, "BTS", clock=clock)
        use(machine, Kind.UPDATE, "BFO", clock=clock)
    machine.sync(full=False)
    before = machine.known
    machine.transaction_ends(operation=Operation(Kind.COMMIT, transaction="a"))
    machine.sync(full=False)
    assert machine.known != before
    assert not machine.blind, "all was held against the model"


def test_syncs_are_killed(machine: Machine) -> None:
    before = machine.known
    for kind in (Kind.UPDATE, Kind.DELETE, Kind.INSERT):
        use(machine, kind, "BTS")
    machine.sync_is_killed(phase="merging")
    assert machine.known == before
    machine.sync_is_killed(phase="committed")
    assert machine.known != before
    machine.sync(full=False)


def test_parents_go_and_come_back(machine: Machine) -> None:
    for kind in (Kind.DELETE, Kind.UNDELETE):
        machine.parents_come_or_go_and_are_loaded(operation=Operation(kind, "BG9"), others=["persons"])
        use(machine, Kind.PARENT_DELETE if kind is Kind.DELETE else Kind.PARENT_RETURN, "BI3")
        machine.some_tables_are_synchronised(tables={"products", "persons"})
    machine.sync(full=False)


def test_a_view_drifts_while_rows_change(machine: Machine) -> None:
    for alias in ("BTS", "BQC", "BA1"):
        use(machine, Kind.UPDATE, alias)
        use(machine, Kind.INSERT, alias)
    machine.view_drifts_and_is_mended(table="subcontracts")
    machine.sync(full=False)


def test_views_are_made_anew(machine: Machine) -> None:
    for table in ("persons", "subcontracts"):
        machine.view_is_made_anew(table=table)
        assert table in machine.subject.other_texts
        use(machine, Kind.UPDATE, "BTS")
        before = machine.known
        machine.sync_is_killed(phase="merging")
        machine.some_tables_are_synchronised(tables={"persons", "products"})
        machine.sync(full=False)
        assert machine.known != before
        machine.last_sync_is_undone()
        machine.view_is_made_anew(table="persons")
        machine.sync(full=False)


def test_hat_is_harmed(machine: Machine) -> None:
    use(machine, Kind.UPDATE, "BTS")
    machine.sync(full=False)
    assert machine.undoable
    machine.hat_is_harmed_and_repaired(table="persons", place=3, harm="remove")
    assert not machine.undoable, "there was a row to harm"
