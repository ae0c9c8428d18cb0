"""What goes wrong between hat_etl and an Oracle ERP: each with its fate, and nothing lost, doubled or rounded."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from hat_etl.entities import BY_TABLE
from hat_etl.sandbox.oracle.errors import OracleError
from hat_etl.sandbox.oracle.faults import CutOff, EndEarly, Fault, HangUp, Hold, Overwrite, Reset, Silence
from hat_etl.sandbox.oracle.logon import Account
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.sandbox.server import PLS, READER
from hat_etl.source import oracle_session, oracle_snapshot, oracle_sql
from hat_etl.source.erp import open_source
from hat_etl.source.oracle import OracleSource
from hat_etl.source.reader import Range
from hat_etl.tenants import store
from hat_etl_tests.failures import changes
from hat_etl_tests.failures.commands import Result
from hat_etl_tests.failures.ground import DEADLINE, Ground, Server
from hat_etl_tests.failures.syncing import Shown, assert_told, synced
from hat_etl_tests.oracle.conftest import PASSWORD, address

BENEFICIARIES = 'AS C3, "CODIGOSEMDIGITO"'
"""Only in the statement that reads whole rows of beneficiaries."""
SECOND_BATCH = 2_000
"""A row of beneficiaries that stands behind rows which were handed on already, where batches are small."""


def small_batches() -> None:
    """Called in the process of a command."""
    oracle_sql.FEWEST_ROWS = oracle_sql.MOST_ROWS = 500


def load(ground: Ground, *arguments: str) -> Result:
    """A load with small batches."""
    return ground.start("load", ground.name, "--json", *arguments, prepare=small_batches).wait()


LOST = [OracleError(28), OracleError(3113), Reset(), HangUp(), CutOff()]


def told(fault: Exception) -> str:
    return f"ORA-{fault.code:05d}" if isinstance(fault, OracleError) else type(fault).__name__


@pytest.mark.parametrize("fault", LOST, ids=told)
def test_a_connection_lost_in_the_middle_of_a_range_goes_on_where_it_was(
    fault: Exception, oracle: OracleServer, ground: Ground
) -> None:
    before = ground.contents()
    oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH, fault))
    result = load(ground, "--only", "beneficiaries")
    assert result.exit_code == 0, result.err
    assert ground.contents() == before
    (table,) = result.document["tables"]
    assert table["read"] == _physical_rows(ground)
    moments = {scn for sql, scn in oracle.statements if BENEFICIARIES in sql}
    assert len(moments) == 1
    assert len([sql for sql, _ in oracle.statements if BENEFICIARIES in sql]) == 2
    ground.assert_clean()


def test_a_connection_that_is_lost_often_and_brings_new_rows_each_time_is_enough(
    oracle: OracleServer, ground: Ground
) -> None:
    before, rows = ground.contents(), range(400, 2_400, 500)
    for row in rows:
        oracle.faults.plant(Fault(BENEFICIARIES, row, Reset()))
    assert len(rows) > oracle_snapshot.RECONNECTS
    result = load(ground, "--only", "beneficiaries")
    assert result.exit_code == 0, result.err
    assert len([sql for sql, _ in oracle.statements if BENEFICIARIES in sql]) == len(rows) + 1
    assert ground.contents() == before


@pytest.mark.parametrize("row", [0, SECOND_BATCH])
def test_a_connection_that_is_lost_again_and_again_ends_the_run(row: int, oracle: OracleServer, ground: Ground) -> None:
    """Rows that had been handed on before counted as progress: it was made anew for ever, without a pause."""
    before = ground.state()
    oracle.faults.plant(Fault(BENEFICIARIES, row, Reset(), times=50))
    result = load(ground, "--only", "beneficiaries")
    assert result.exit_code == 4
    assert_told(result.err, "demo / beneficiaries", "Reading the ERP failed (DPY-4011)", "hat-etl load demo --resume")
    assert ground.state() == before


def test_a_server_that_goes_down_in_the_middle_of_a_range_is_told_as_one(
    start_oracle: Callable[..., OracleServer], ground: Ground
) -> None:
    """That no connection is open (DPY-1001) was told, and not why none could be had any more."""
    before, oracle, hold = ground.state(), start_oracle(), Hold()
    ground.erp_url = address(oracle)
    oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH, hold))
    running = ground.start("load", ground.name, "--only", "beneficiaries", prepare=small_batches)
    assert hold.reached.wait(DEADLINE)
    oracle.close()
    hold.go_on.set()
    result = running.wait()
    assert result.exit_code == 4
    assert_told(result.err, "demo / beneficiaries", "Reading the ERP failed (DPY-6005)", "hat-etl load demo --resume")
    assert ground.state() == before


class Asked(dict[str, Account]):
    """Accounts that count how often one was asked for."""

    times = 0

    def get(self, *arguments: Any) -> Any:
        self.times += 1
        return super().get(*arguments)


def test_a_password_changed_in_the_middle_of_a_range_is_tried_once(oracle: OracleServer, ground: Ground) -> None:
    """It was tried three times by each connection, and locked the account for the day."""
    before, hold = ground.state(), Hold()
    oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH, hold))
    oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH + 200, Reset()))
    running = ground.start("load", ground.name, "--only", "beneficiaries", prepare=small_batches)
    assert hold.reached.wait(DEADLINE)
    oracle.accounts = asked = Asked({READER.upper(): Account("another")})
    hold.go_on.set()
    result = running.wait()
    assert result.exit_code == 4
    assert_told(result.err, "demo / beneficiaries", "Reading the ERP failed (ORA-01017)", "hat-etl load demo --resume")
    assert asked.times == 1
    assert ground.state() == before


def test_a_connection_lost_while_a_view_is_described_is_no_views_fault(oracle: OracleServer, ground: Ground) -> None:
    """The sync left out the table, and with it, for the connection stayed lost, all that came after."""
    before = ground.state()
    for question in (("sync", ground.name), ("views", "check", ground.name)):
        oracle.faults.plant(Fault("NUM_ROWS FROM ALL_TABLES", 0, Reset()))
        result = ground.run(*question)
        assert result.exit_code == 4, result.err
        assert_told(result.err, "demo", "Reading the ERP failed (DPY-4011)", " ".join(("hat-etl", *question)))
    assert ground.state() == before
    ground.assert_clean()


@pytest.mark.parametrize("code", [1013, 1033, 1652, 4031])
def test_what_a_server_is_short_of_while_a_view_is_described_is_no_views_fault(
    code: int, oracle: OracleServer, ground: Ground
) -> None:
    """The sync left out the table (exit code 6), and the DBA was to make a view anew with which nothing was wrong."""
    before = ground.state()
    oracle.faults.plant(Fault("NUM_ROWS FROM ALL_TABLES", 0, OracleError(code)))
    result = ground.run("sync", ground.name)
    assert result.exit_code == 4, result.err
    assert_told(result.err, "demo", f"Reading the ERP failed (ORA-{code:05d})", "hat-etl sync demo")
    assert ground.state() == before
    ground.assert_clean()


def test_without_the_right_to_look_back_a_lost_connection_ends_the_run_and_it_can_be_resumed(
    oracle: OracleServer, ground: Ground
) -> None:
    before, state = ground.contents(), ground.state()
    ground.erp_url = address(oracle, "present")
    oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH, Reset()))
    result = load(ground)
    assert result.exit_code == 4
    assert_told(result.err, "Reading the ERP failed (DPY-", "hat-etl load demo --resume")
    assert ground.state() == state
    ground.load("--resume")
    assert ground.contents() == before
    ground.assert_clean()


@pytest.mark.parametrize("fault", [OracleError(604), OracleError(3113)], ids=told)
def test_a_read_only_transaction_that_is_refused_ends_the_run_with_its_code(
    fault: OracleError, oracle: OracleServer, ground: Ground
) -> None:
    """The driver's error was told as unexpected, as its type and a traceback without its code."""
    ground.erp_url, state = address(oracle, "present"), ground.state()
    oracle.faults.plant(Fault("SET TRANSACTION READ ONLY", 0, fault))
    result = ground.run("load", ground.name)
    assert result.exit_code == 4, result.err
    assert_told(result.err, "demo", f"Reading the ERP failed ({told(fault)})", "hat-etl load demo --resume")
    assert ground.state() == state
    ground.assert_nobody_left()


def test_a_session_that_breaks_while_it_is_set_up_is_told_with_its_code(oracle: OracleServer, ground: Ground) -> None:
    oracle.faults.plant(Fault("ALTER SESSION SET TIME_ZONE", 0, OracleError(604)))
    result = ground.run("plan", ground.name)
    assert result.exit_code == 4, result.err
    assert_told(result.err, "demo", "cannot be reached", "(ORA-00604)", "hat-etl doctor demo")
    oracle.faults.plant(Fault("ALTER SESSION SET TIME_ZONE", 0, OracleError(28)))
    result = ground.run("plan", ground.name)
    assert result.exit_code == 4, result.err
    assert_told(result.err, "demo", "cannot be reached", "(ORA-00028)", "hat-etl doctor demo")


def test_an_internal_error_of_the_server_is_told_as_what_it_is(oracle: OracleServer, ground: Ground) -> None:
    """The driver says that the connection was closed (DPY-4011), and only behind that what the server said of it."""
    oracle.faults.plant(Fault(BENEFICIARIES, 0, OracleError(600, "kkqtnlo"), times=50))
    result = load(ground, "--only", "beneficiaries")
    assert result.exit_code == 4
    assert_told(result.err, "demo / beneficiaries", "Reading the ERP failed (ORA-00600)", "hat-etl load demo --resume")


@pytest.mark.parametrize("code", [1555, 8180])
def test_a_load_whose_moment_expires_shows_one_later_moment_in_all_tables(
    code: int, server: Server, start_oracle: Callable[..., OracleServer], ground: Ground
) -> None:
    ground.pls = server.copy(PLS)
    oracle = start_oracle(ground.pls)
    ground.erp_url = address(oracle)
    hold = Hold()
    for fault in (hold, OracleError(code)):
        oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH, fault))
    running = ground.start("load", ground.name, "--json", prepare=small_batches)
    assert hold.reached.wait(DEADLINE)
    with ground.in_erp() as erp:
        changes.some(erp, seed=7)
    hold.go_on.set()
    result = running.wait()
    assert result.exit_code == 0, result.err
    shown = Shown.by(ground)
    read = [scn for sql, scn in oracle.statements if " AS C3" in sql]
    assert len(set(read)) == 2
    assert read == sorted(read, key=lambda scn: scn or 0)
    ground.load("--restart")
    assert Shown.by(ground) == shown
    ground.assert_clean()


def test_a_sync_whose_moment_expires_shows_one_later_moment_in_all_tables(
    server: Server, start_oracle: Callable[..., OracleServer], ground: Ground
) -> None:
    ground.pls = server.copy(PLS)
    oracle = start_oracle(ground.pls)
    ground.erp_url = address(oracle)
    with ground.in_erp() as erp:
        changes.some(erp, seed=7)
    hold = Hold()
    for fault in (hold, OracleError(1555)):
        oracle.faults.plant(Fault(BENEFICIARIES, 1, fault))
    sync = ground.start("sync", ground.name, "--json")
    assert hold.reached.wait(DEADLINE)
    with ground.in_erp() as erp:
        changes.some(erp, seed=8)
    hold.go_on.set()
    result = sync.wait()
    assert result.exit_code == 0, result.err
    shown = Shown.by(ground)
    ground.load()
    assert Shown.by(ground) == shown


def reconciled(ground: Ground) -> dict[str, dict[str, Any]]:
    return compared(ground.run("reconcile", ground.name, "--json"))


def compared(result: Result) -> dict[str, dict[str, Any]]:
    """What a reconciliation has found, by table, without the time that it took."""
    return {table["table"]: {**table, "seconds": None} for table in result.document["tables"]}


@pytest.mark.parametrize("code", [1555, 8180])
def test_a_reconciliation_whose_moment_expires_compares_all_tables_at_one_later_moment(
    code: int, server: Server, start_oracle: Callable[..., OracleServer], ground: Ground
) -> None:
    ground.pls = server.copy(PLS)
    oracle = start_oracle(ground.pls)
    ground.erp_url = address(oracle)
    hold = Hold()
    for fault in (hold, OracleError(code)):
        oracle.faults.plant(Fault(BENEFICIARIES, 1, fault))
    running = ground.start("reconcile", ground.name, "--json")
    assert hold.reached.wait(DEADLINE)
    with ground.in_erp() as erp:
        changes.some(erp, seed=7)
    hold.go_on.set()
    found = compared(running.wait())
    _, second, *_ = dict.fromkeys(scn for sql, scn in oracle.statements if " AS C3" in sql)
    assert {sql for sql, scn in oracle.statements if scn == second and " AS C3" in sql} >= {
        sql for sql, _ in oracle.statements if "BETWEEN :low AND :high" in sql and " AS C3" in sql
    }
    assert found == reconciled(ground)
    assert found["beneficiaries"]["extra"]
    assert found["persons"]["in_flight"]
    ground.assert_nobody_left()


def test_a_second_look_whose_moment_expires_begins_anew_and_counts_nothing_twice(
    oracle: OracleServer, ground: Ground
) -> None:
    with ground.in_hat() as hat:
        hat.execute("SET session_replication_role = replica")
        for table in ("families", "persons", "beneficiaries"):
            hat.execute(f"DELETE FROM hat.{table} WHERE source_recno % 100 = 0")
        hat.execute("UPDATE hat.persons SET name = 'ESTRANHA' WHERE source_recno % 100 = 1")
    undisturbed = reconciled(ground)
    assert all(undisturbed[table]["missing"] > 3 for table in ("families", "persons", "beneficiaries"))
    assert undisturbed["persons"]["differing"] > 3
    ground.connections = 1  # one table after the other
    listed = 'HAT_BA1_BENEFICIARIO" AS OF SCN :scn WHERE "RECNO" IN ('
    oracle.faults.plant(Fault(listed, 3, OracleError(1555)))
    before = len(oracle.statements)
    assert reconciled(ground) == undisturbed
    assert len({scn for sql, scn in oracle.statements[before:] if listed in sql}) == 2


def test_a_moment_that_never_lasts_ends_the_run(oracle: OracleServer, ground: Ground) -> None:
    before = ground.state()
    oracle.faults.plant(Fault(BENEFICIARIES, 0, OracleError(1555), times=50))
    result = ground.run("load", ground.name, "--only", "beneficiaries")
    assert result.exit_code == 4
    assert_told(result.err, "ORA-01555", "undo was overwritten", "UNDO_RETENTION")
    assert ground.state() == before


def test_rows_that_the_server_leaves_out_are_missed(oracle: OracleServer, ground: Ground) -> None:
    before = ground.state()
    oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH, EndEarly()))
    result = load(ground, "--only", "beneficiaries")
    assert result.exit_code == 4
    assert_told(result.err, "demo / beneficiaries", "2,000 arrived", "hat-etl load demo --resume")
    assert ground.state() == before


def test_a_table_that_is_redefined_during_a_load_stops_it(
    server: Server, start_oracle: Callable[..., OracleServer], ground: Ground
) -> None:
    before = ground.state()
    ground.pls, ground.connections = server.copy(PLS), 1
    oracle = start_oracle(ground.pls)
    ground.erp_url = address(oracle)
    hold = Hold()
    oracle.faults.plant(Fault(" AS C3", 0, hold))
    running = ground.start("load", ground.name)
    assert hold.reached.wait(DEADLINE)
    with ground.in_erp() as erp:
        erp.execute("ALTER TABLE protheus.bih010 ADD COLUMN bih_novo char(3)")
    hold.go_on.set()
    result = running.wait()
    assert result.exit_code == 4
    assert_told(result.err, "demo / user_types", "HAT_BIH_TipoUsuario", "redefined", "ORA-01466", "--resume")
    assert ground.state() == before
    ground.load("--resume")
    ground.assert_clean()


def test_a_server_that_falls_silent_is_given_up(oracle: OracleServer, ground: Ground) -> None:
    before = ground.state()
    oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH, Silence(), times=50))
    result = ground.start("load", ground.name, "--only", "beneficiaries", prepare=impatient).wait()
    assert result.exit_code == 4
    assert_told(result.err, "demo / beneficiaries", "Reading the ERP failed (DPY-40")
    assert ground.state() == before


def impatient() -> None:
    oracle_session.CALL_MILLISECONDS = 1_500


# Logging in ----------------------------------------------------------------------------------------------------------

REFUSED = {
    "wrong password": ("hat_reader/errada@{place}", ("user or password is wrong", "ORA-01017")),
    "nobody": ("nobody/{password}@{place}", ("user or password is wrong", "ORA-01017")),
    "locked": ("locked/{password}@{place}", ("LOCKED is locked", "ORA-28000", "ALTER USER LOCKED ACCOUNT UNLOCK")),
    "expired": ("expired/{password}@{place}", ("password of EXPIRED has expired", "ORA-28001", "IDENTIFIED BY")),
    "unknown service": ("hat_reader/{password}@{host}/NOWHERE", ("no such service", "DPY-6001", "lsnrctl")),
    "nobody listens": ("hat_reader/{password}@127.0.0.1:1/X", ("nothing answers at 127.0.0.1:1/X", "lsnrctl status")),
    "no such host": ("hat_reader/{password}@nowhere.invalid/X", ("nothing answers at nowhere.invalid/X",)),
    "unknown alias": ("hat_reader/{password}@NOALIAS", ("no folder of tnsnames.ora", "TNS_ADMIN")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_login_names_cause_and_mend_and_no_secret(case: str, oracle: OracleServer, ground: Ground) -> None:
    url, words = REFUSED[case]
    ground.erp_url = url.format(password=PASSWORD, place=oracle.address, host=oracle.address.partition("/")[0])
    result = ground.run("doctor", ground.name, "--json")
    assert result.exit_code == 4
    for word in words:
        assert word in result.out
    for secret in (PASSWORD, "errada"):
        assert secret not in result.out + result.err


def test_a_load_that_may_not_log_in_changes_nothing(oracle: OracleServer, ground: Ground) -> None:
    ground.erp_url, before = address(oracle, password="errada"), ground.state()
    result = ground.run("load", ground.name)
    assert result.exit_code == 4
    assert_told(result.err, "The ERP database cannot be reached", "ORA-01017", "hat-etl doctor demo")
    assert ground.state() == before


def test_a_login_may_be_given_as_a_url(oracle: OracleServer, ground: Ground) -> None:
    ground.erp_url = f"oracle://hat_reader:s3nha%2Fc%40rta@{oracle.address}"
    assert ground.run("plan", ground.name).exit_code == 0


# Rights --------------------------------------------------------------------------------------------------------------


def test_plan_and_doctor_say_that_nothing_is_read_in_parallel_without_the_right_to_look_back(
    oracle: OracleServer, ground: Ground
) -> None:
    ground.erp_url = address(oracle, "present")
    for command in ("plan", "doctor"):
        result = ground.run(command, ground.name, "--json")
        assert result.exit_code == 0, result.err
        assert_told(result.out, "one session in a read-only transaction", "nothing is read in parallel")
    ground.erp_url = address(oracle)
    assert "read-only transaction" not in ground.run("plan", ground.name, "--json").out


def opened(ground: Ground) -> OracleSource:
    """A reader of the tenant's ERP in this process."""
    ground.write()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HAT_ETL_TENANTS", str(ground.folder))
        source = open_source(store.load(ground.name), "hat-etl load")
    assert isinstance(source, OracleSource)
    return source


@pytest.mark.parametrize(("user", "exact"), [("hat_reader", True), ("simple", False)])
def test_the_horizon_is_the_clock_only_where_the_scn_is_exact(
    user: str, exact: bool, oracle: OracleServer, ground: Ground
) -> None:
    ground.erp_url = address(oracle, user)
    with closing(opened(ground)) as source, source.snapshot() as snapshot:
        assert snapshot.scn is not None
        assert (snapshot.horizon == snapshot.clock) is exact


def test_an_open_transaction_holds_the_horizon_back(ground: Ground) -> None:
    with closing(opened(ground)) as source, ground.in_erp() as erp, erp.transaction(force_rollback=True):
        ((begun,),) = erp.execute("SELECT now()").fetchall()
        erp.execute("UPDATE protheus.bih010 SET bih_descri = bih_descri WHERE r_e_c_n_o_ = 1")
        with source.snapshot() as snapshot:
            assert snapshot.horizon <= begun <= snapshot.clock


# Values --------------------------------------------------------------------------------------------------------------


def place_of(table: str, column: str) -> int:
    """Where a column stands in the statement that reads whole rows."""
    return 3 + [known.name for known in BY_TABLE[table].columns].index(column)


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        (b"12345678901234.56", Decimal("12345678901234.56")),
        (b"0.1", Decimal("0.10")),
        (b"99999999999999999999999999999999999999", None),
        (b"0.00000000000000000000000000000000000001", Decimal("0.00")),
        (b"1e125", None),
        (b"-1e125", None),
    ],
)
def test_a_number_is_kept_to_the_last_digit_or_reported(
    written: bytes, stored: Decimal | None, oracle: OracleServer, ground: Ground
) -> None:
    table, column = "beneficiary_copayment_rules", "copart_value"
    oracle.faults.plant(Fault(" AS C3", 0, Overwrite(place_of(table, column), written), times=3))
    before = ground.contents()
    ground.load("--only", table)
    with ground.in_hat() as hat:
        ((recno, found),) = hat.execute(
            f"SELECT source_recno, {column} FROM hat.{table} ORDER BY source_recno LIMIT 1"
        ).fetchall()
    assert found == stored
    rejected = [entry for entry in ground.reported() if entry[:2] == (table, recno) and entry[3] == column]
    assert bool(rejected) is (stored is None)
    assert {name: value for name, value in ground.contents().items() if name != table} == {
        name: value for name, value in before.items() if name != table
    }


def test_a_number_of_any_size_is_read_as_it_is(
    server: Server, start_oracle: Callable[..., OracleServer], ground: Ground
) -> None:
    """The driver handed on other numbers, and no error, for those from 5.8E38 on: 1.2E39 came as 4.2E37."""
    numbers = [
        f"{sign}{number}"
        for sign in ("", "-")
        for number in ("99999999999999999999999999999999999999", "1E38", "5.9E38", "1.2E39", "1E40", "1E60", "9.9E125")
    ]
    view = "hat.hat_bvm_copartbeneficiario"
    ground.pls = server.copy(PLS)
    with ground.in_erp() as erp:
        shown = [str(column.name) for column in erp.execute(f"SELECT * FROM {view} LIMIT 0".encode()).description or ()]
        value = BY_TABLE["beneficiary_copayment_rules"]["copart_value"].alias.lower()
        listed = ", ".join(
            f"('{{{','.join(numbers)}}}'::numeric[])[recno] AS {value}" if name == value else name for name in shown
        )
        erp.execute(f"ALTER VIEW {view} RENAME TO before".encode())
        erp.execute(f"CREATE VIEW {view} AS SELECT {listed} FROM hat.before".encode())
        erp.execute(f"GRANT SELECT ON {view} TO hat_reader".encode())
    ground.erp_url = address(start_oracle(ground.pls))
    with closing(opened(ground)) as source, source.snapshot() as snapshot:
        shape = source.describe(BY_TABLE["beneficiary_copayment_rules"])
        for recno, number in enumerate(numbers, 1):
            (batch,) = snapshot.rows(shape, np.array([recno]))
            assert Decimal(batch.column("copart_value")[0].as_py()) == Decimal(number)
        assert sum(batch.num_rows for batch in snapshot.stream(shape, Range(1, len(numbers)))) == len(numbers)


@pytest.mark.parametrize("year", ["0001", "2999"])
def test_a_stamp_of_any_year_is_read_as_it_is_whatever_the_precision_of_the_view(
    year: str, oracle: OracleServer, ground: Ground
) -> None:
    """A Carimbo of TIMESTAMP(9), which Oracle makes of many an expression, came as 1829 from 2999."""
    with closing(opened(ground)) as source, source.snapshot() as snapshot:
        shape = source.describe(BY_TABLE["user_types"])
        fine = [replace(c, type_name="TIMESTAMP(9)") if c.name == "CARIMBO" else c for c in shape.columns]
        oracle.faults.plant(Fault(" AS C3", 0, Overwrite(2, f"{year}-01-01 00:00:00.123456".encode())))
        (batch,) = snapshot.rows(replace(shape, columns=tuple(fine)), np.array([1]))
    (stamp,) = batch.column("source_stamp").cast(pa.timestamp("us"), safe=False).to_pylist()
    assert f"{stamp:%Y-%m-%d %H:%M:%S.%f}".rjust(26, "0") == f"{year}-01-01 00:00:00.123456"


def test_a_nul_byte_is_reported_and_becomes_a_blank(oracle: OracleServer, ground: Ground) -> None:
    oracle.faults.plant(Fault(" AS C3", 0, Overwrite(place_of("user_types", "description"), b"TIT\x00ULAR"), times=3))
    ground.load("--only", "user_types")
    with ground.in_hat() as hat:
        assert hat.execute("SELECT count(*) FROM hat.user_types WHERE description = 'TIT ULAR'").fetchone() == (1,)
    assert [entry[4] for entry in ground.reported() if entry[0] == "user_types" and entry[3] == "description"] == [
        "control_character"
    ]


@pytest.mark.parametrize("written", [b"TITUL\xc3O", "TITULÃO".encode()])
def test_bytes_that_are_no_utf8_are_read_as_cp1252(written: bytes, oracle: OracleServer, ground: Ground) -> None:
    """A load ended with SQLSTATE 22021, which told nobody what to do."""
    oracle.faults.plant(Fault(" AS C3", 0, Overwrite(place_of("user_types", "description"), written), times=3))
    ground.load("--only", "user_types")
    with ground.in_hat() as hat:
        assert hat.execute("SELECT count(*) FROM hat.user_types WHERE description = 'TITULÃO'").fetchone() == (1,)


def test_a_view_whose_text_is_no_utf8_is_read_and_another_text_is_noticed(oracle: OracleServer, ground: Ground) -> None:
    """A comment that a client with the wrong NLS_LANG had put into a view ended every load and sync in a traceback."""

    def strategy(command: str, text: bytes) -> str:
        oracle.faults.clear()
        oracle.faults.plant(Fault("FROM ALL_VIEWS", 0, Overwrite(2, text), times=9))
        answer = ground.run(command, ground.name, "--only", "user_types", "--json")
        assert answer.exit_code == 0, answer.err
        return str(json.loads(answer.out)["tables"][0]["strategy"])

    assert strategy("load", b"SELECT * FROM DUAL -- situa\xe7\xe3o") == "initial"
    assert strategy("sync", b"SELECT * FROM DUAL -- situa\xe7\xe3o") == "window"
    assert strategy("sync", b"SELECT * FROM DUAL -- situa\xe7\xe2o") == "full"


def test_a_stamp_with_a_time_zone_is_taken_in_utc_and_synchronised_by(
    server: Server, start_oracle: Callable[..., OracleServer], ground: Ground
) -> None:
    ground.pls = server.copy(PLS)
    with ground.in_erp() as erp:
        ((text,),) = erp.execute("SELECT pg_get_viewdef('hat.hat_bih_tipousuario')").fetchall()
        erp.execute("DROP VIEW hat.hat_bih_tipousuario")
        zoned = str(text).replace("s_t_a_m_p_ AS carimbo", "s_t_a_m_p_ AT TIME ZONE 'UTC' AS carimbo")
        assert zoned != text
        erp.execute(f"CREATE VIEW hat.hat_bih_tipousuario AS {zoned}".encode())
        erp.execute("GRANT SELECT ON hat.hat_bih_tipousuario TO hat_reader")
    ground.erp_url = address(start_oracle(ground.pls))
    before = ground.contents()
    ground.load("--only", "user_types")
    assert ground.contents() == before
    with ground.in_erp() as erp:
        erp.execute("UPDATE protheus.bih010 SET bih_descri = 'OUTRO NOME' WHERE r_e_c_n_o_ = 1")
    (table,) = synced(ground, "--only", "user_types")["tables"]
    assert (table["strategy"], table["updated"]) == ("window", 1)


def _physical_rows(ground: Ground) -> int:
    with ground.in_erp() as erp:
        ((rows,),) = erp.execute("SELECT count(*) FROM protheus.ba1010").fetchall()
    return int(rows)
