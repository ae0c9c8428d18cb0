"""What commands answer to somebody who asks amiss, or about a tenant that is not as usual."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import pytest

from hat_etl.entities import BY_TABLE
from hat_etl.sandbox.server import HAT, PLS
from hat_etl.source import view_live
from hat_etl.tenants import store

from . import changes
from .commands import Command, without_reader, without_room
from .ground import Ground, Server
from .phases import Phase
from .syncing import assert_told, last_run, synced

MAKE_GROUND = Callable[..., Ground]


@pytest.fixture
def part(make_ground: MAKE_GROUND, server: Server) -> Ground:
    """A tenant of which one table is loaded."""
    ground = make_ground(hat=server.copy(HAT))
    ground.load("--only", "persons")
    return ground


@pytest.mark.parametrize(
    "question",
    [
        ("sync", "--only", "families"),
        ("sync", "--only", "persons", "--only", "families"),
        ("reconcile", "--table", "families"),
        ("plan", "--sync", "--only", "families"),
        ("rejects", "--table", "families"),
    ],
    ids=" ".join,
)
def test_a_table_that_was_never_loaded(question: tuple[str, ...], part: Ground) -> None:
    """A sync broke with an error that nobody foresaw, and a reconciliation of nothing found no mismatch."""
    command, *options = question
    result = part.run(command, part.name, *options)
    assert result.exit_code == 7, result.err
    assert_told(result.err, "demo", "Not loaded yet: families", "hat-etl load demo --only families")


@pytest.mark.parametrize("question", ["sync", "reconcile", "rejects", "plan --sync"])
def test_a_tenant_that_was_never_loaded(question: str, make_ground: MAKE_GROUND, server: Server) -> None:
    """An empty list of rejects went to the operator as if all were well."""
    ground = make_ground(hat=server.copy(HAT))
    command, *options = question.split()
    result = ground.run(command, ground.name, *options)
    assert result.exit_code == 7, result.err
    assert_told(result.err, "demo", "Nothing is loaded yet", "hat-etl load demo")


def test_a_table_that_there_is_not(ground: Ground, tmp_path: Path) -> None:
    file = tmp_path / "rejects.xlsx"
    result = ground.run("rejects", ground.name, "--table", "beneficiarios", "--xlsx", str(file))
    assert result.exit_code == 3, result.err
    assert_told(result.err, "No such HAT table: beneficiarios", "Perhaps beneficiaries? The tables are:")
    assert not file.exists()


@pytest.mark.parametrize(
    "question",
    ["load --only nada", "sync --only nada", "plan --only nada", "plan --sync --only nada", "rejects --table nada",
     "reconcile --table nada", "explain nada 1", "explain companies 1"],
)  # fmt: skip
def test_an_error_about_a_table_names_its_tenant(ground: Ground, question: str) -> None:
    """Of a name that is no table's, none was named, and ``plan --sync`` told to load it, as though it were one."""
    command, *options = question.split()
    arguments = [*options, ground.name] if command != "explain" else [ground.name, *options]
    result = ground.run(command, *arguments, "--json")
    assert result.exit_code == 3, result.err
    assert "hat-etl load" not in result.err
    assert result.document["tenant"] == result.document["error"]["tenant"] == ground.name


@pytest.mark.parametrize(
    ("command", "words"),
    [("load", "NAME --only user_types kinships --json"), ("sync", "--only user_types kinships NAME --json"),
     ("plan", "NAME --sync --only user_types --only kinships --json"),
     ("plan", "--only user_types NAME --json --only=kinships"), ("plan", "NAME --json --only=user_types kinships")],
)  # fmt: skip
def test_several_tables_may_follow_the_option(make_ground: MAKE_GROUND, command: str, words: str) -> None:
    """Only the first was taken for a table, and the second for a word that nobody expects."""
    ground = make_ground()
    result = ground.run(command, *words.replace("NAME", ground.name).split())
    assert result.exit_code == 0, result.err
    document = result.document
    tables = document if command == "plan" else document["tables"]
    assert [table["table"] for table in tables] == ["user_types", "kinships"]


@pytest.mark.parametrize(("words", "code"), [(("nada", "kinships"), 3), (("kinships", "nada"), 2)])
def test_a_word_among_several_tables_that_is_none_is_refused(ground: Ground, words: Sequence[str], code: int) -> None:
    result = ground.run("load", ground.name, "--only", *words)
    assert result.exit_code == code, result.err
    assert_told(result.err, "nada")


def test_a_file_that_cannot_be_written(ground: Ground) -> None:
    result = ground.run("rejects", ground.name, "--xlsx", "/nowhere/rejects.xlsx")
    assert result.exit_code == 2, result.err
    assert_told(result.err, "/nowhere/rejects.xlsx cannot be written", "directory", "Name another file")
    for options in ((), ("--table", "persons")):
        result = ground.run("rejects", ground.name, *options, "--xlsx", "/dev/full")
        assert result.exit_code == 11, result.err
        command = " ".join(("hat-etl rejects demo", *options, "--xlsx /dev/full"))
        assert_told(result.err, "/dev/full could not be written (No space left", command)
        assert "Traceback" not in result.err


@pytest.mark.parametrize("lost", [without_room, without_reader])
@pytest.mark.parametrize("command", ["load", "sync"])
def test_a_run_does_not_depend_on_whether_its_progress_can_be_told(
    command: str, lost: Callable[..., None], ground: Ground
) -> None:
    """A full log disk, or the end of who read along, broke off loads and syncs of healthy databases."""
    result = ground.start(command, ground.name, prepare=partial(lost, 2)).wait()
    assert result.exit_code == 0
    assert "succeeded" in result.out
    number, mode, state, error = last_run(ground)
    assert (number, mode.split()[0], state, error) == (2, "load" if command == "load" else mode, "succeeded", None)


@pytest.mark.parametrize("lost", [without_room, without_reader])
@pytest.mark.parametrize(
    "question", ["load demo", "load demo --json", "sync demo", "sync demo --json", "reconcile demo"]
)
def test_a_run_whose_report_cannot_be_written_is_told_to_be_over(
    question: str, lost: Callable[..., None], ground: Ground
) -> None:
    """After the commit one read that something unexpected had happened."""
    result = ground.start(*question.split(), prepare=partial(lost, 1)).wait()
    assert result.exit_code == 11, result.err
    assert_told(result.err, "demo", "is over", "could not be written", "hat-etl status demo")
    assert "Unexpected" not in result.err
    assert last_run(ground)[2] in ("succeeded", "clean")


@pytest.mark.parametrize("lost", [without_room, without_reader])
def test_a_tenant_whose_making_cannot_be_told_is_said_to_be_made(lost: Callable[..., None], ground: Ground) -> None:
    """One read to run the command again, which refused, for the file was there."""
    result = ground.start("tenant", "new", "novo", "--ans-registry", "412345", prepare=partial(lost, 1)).wait()
    assert result.exit_code == 11, result.err
    assert_told(result.err, "novo.toml is written", "hat-etl tenant list")
    assert ground.run("tenant", "list").exit_code == 0


def ctrl_c() -> None:
    """In the process of a command: Ctrl-C comes when it looks for the tenant's file."""
    store.load = lambda name: signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("load --only companies acme", ("all old or all new rows (hat-etl status acme says which)", "--resume")),
        ("undo --yes acme 3", ("all old or all new rows (hat-etl status acme says which)",)),
        ("billing run acme", ("goes on with the same command: hat-etl billing run acme",)),
        (
            "billing release acme 3 --protocol 77",
            ("goes on with the same command: hat-etl billing release acme 3 --protocol 77",),
        ),
        ("views install acme", ()),
    ],
)
def test_what_is_told_after_ctrl_c_is_true_of_the_command(command: str, words: tuple[str, ...]) -> None:
    """It spoke of HAT's rows whatever the command was, and took its second word for the tenant."""
    result = Command(tuple(command.split()), os.environ, ctrl_c).wait()
    assert result.exit_code == 130
    assert_told(result.err, "Broken off.", *words)
    assert ("all old or all new" in result.err) is ("all old or all new" in " ".join(words))
    assert ("--resume" in result.err) is command.startswith("load")
    assert ("hat-etl" in result.err) is bool(words)


def test_an_output_that_cannot_be_written_is_told_once_and_in_words(ground: Ground) -> None:
    """What Python itself had to say about it at the end came on top, with an exit code of its own."""
    ground.write()
    environment = {**os.environ, "HAT_ETL_TENANTS": str(ground.folder), "PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "hat_etl.cli.main", "status", ground.name],
            env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert result.returncode == 11, result.stderr
        assert_told(result.stderr, "Error (output)", "could not be written", "No space left")
        assert "Exception ignored" not in result.stderr
        silent = subprocess.run(
            [sys.executable, "-m", "hat_etl.cli.main", "status", ground.name],
            env=environment, stdout=full, stderr=full, timeout=60, check=False,
        )  # fmt: skip
        assert silent.returncode == 11


def test_a_question_whose_reader_has_seen_enough_ends_without_a_word(ground: Ground) -> None:
    ground.write()
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-m", "hat_etl.cli.main", "status", ground.name],
        env={**os.environ, "HAT_ETL_TENANTS": str(ground.folder)},
        stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False,
    )  # fmt: skip
    os.close(writer)
    assert (result.returncode, result.stderr) == (128 + signal.SIGPIPE, b"")


def test_a_terminal_that_is_not_utf8_is_shown_its_own_letters(ground: Ground) -> None:
    """The lines of a table were none of them: after its commit a sync broke, and the other tenants had no turn."""
    ground.write()
    environment = {**os.environ, "HAT_ETL_TENANTS": str(ground.folder), "PYTHONIOENCODING": "iso-8859-1"}
    for question in ("sync --all", "status demo --json", "explain demo companies 0|\u2013"):
        result = subprocess.run(
            [sys.executable, "-m", "hat_etl.cli.main", *question.split()],
            env=environment, capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        assert b"Unexpected" not in result.stderr
    assert b"\\u2013" in result.stdout


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "utf-8"])
def test_a_document_is_json_in_every_encoding(encoding: str, ground: Ground) -> None:
    """Letters that the terminal lacks were spelled out in a way that no reader of JSON knows."""
    ground.write()
    key = "0|\u00e7\U0001f600"
    result = subprocess.run(
        [sys.executable, "-m", "hat_etl.cli.main", "explain", "demo", "companies", key, "--json"],
        env={**os.environ, "HAT_ETL_TENANTS": str(ground.folder), "PYTHONIOENCODING": encoding},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.decode(encoding))["key"] == key


def test_fewer_runs_than_none_are_not_to_be_had(ground: Ground) -> None:
    """The tenant database was said to have refused a statement."""
    result = ground.run("runs", ground.name, "--limit", "-1")
    assert result.exit_code == 2, result.err
    assert "--limit" in result.err


def test_as_many_runs_are_shown_as_there_are(ground: Ground) -> None:
    """A large number, and a ledger of more runs than a statement takes parameters, were refused by the database."""
    with ground.in_hat() as connection:
        connection.execute(
            "INSERT INTO hat_etl.runs (mode, state, reference_day, version)"
            " SELECT 'sync', 'failed', current_date, '0' FROM generate_series(1, 70000)"
        )
        ((runs,),) = connection.execute("SELECT count(*) FROM hat_etl.runs").fetchall()
    assert ground.run("runs", ground.name, "--limit", str(2**63)).exit_code == 2
    result = ground.run("runs", ground.name, "--limit", str(2**63 - 1), "--json")
    assert result.exit_code == 0, result.err
    assert len(result.document) == runs


def test_a_command_that_was_started_without_outputs_does_its_work(ground: Ground) -> None:
    ground.write()
    result = subprocess.run(
        ["bash", "-c", 'exec "$0" -m hat_etl.cli.main sync demo >&- 2>&-', sys.executable],
        env={**os.environ, "HAT_ETL_TENANTS": str(ground.folder)}, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0
    assert last_run(ground)[2] == "succeeded"


def test_keys_that_look_like_markup_are_shown_as_they_are(make_ground: MAKE_GROUND, server: Server) -> None:
    """One such key broke the whole list."""
    ground = make_ground(pls=server.copy(PLS))
    with ground.in_erp() as connection:
        for seed, key in enumerate(("[/a]", "[b]c")):
            (copied,) = changes.live(connection, random.Random(seed), "BG9", 1)
            changes.insert(connection, "BG9", [copied], codigo=key, codint="")
    synced(ground)
    result = ground.run("rejects", ground.name, "--table", "companies")
    assert result.exit_code == 0, result.err
    assert_told(result.out, "[/a]", "[b]c")


def test_the_status_tells_of_every_table_though_the_last_run_was_of_one(ground: Ground) -> None:
    """After a sync of one table, or a run that failed, nothing was told of the others."""
    synced(ground, "--only", "persons")
    out = ground.run("status", ground.name).out
    assert [table for table in BY_TABLE if f"{table} " not in out] == []


def test_the_status_does_not_call_a_run_running_that_was_killed(ground: Ground) -> None:
    phase = Phase("reading")
    sync = ground.start("sync", ground.name, prepare=phase)
    phase.await_reached()
    assert ground.run("status", ground.name, "--json").document["last_run"]["state"] == "running"
    sync.signal(signal.SIGKILL)
    sync.wait()
    ground.assert_nobody_left()
    assert ground.run("status", ground.name, "--json").document["last_run"]["state"] == "broken off"
    assert_told(ground.run("status", ground.name).out, "broken off")


@pytest.mark.parametrize(
    "options",
    [(), ("--full",), ("--only", "persons"), ("--only", "persons", "--only", "families", "--full")],
    ids=" ".join,
)
def test_the_brake_names_the_command_that_was_given(
    options: tuple[str, ...], make_ground: MAKE_GROUND, server: Server
) -> None:
    """What it named read less, or accepted the changes of every table."""
    ground = make_ground(pls=server.copy(PLS))
    with ground.in_erp() as connection:
        persons = changes.live(connection, random.Random(6), "BTS", 600, "bts_nomusr <> ''")
        changes.update(connection, "BTS", persons, nomusr="OUTRO NOME")
    result = ground.run("sync", ground.name, *options)
    assert result.exit_code == 7, result.err
    assert_told(result.err, " ".join(("hat-etl sync demo", *options, "--accept.")))


def impatient() -> None:
    """Called in the process of a command."""
    view_live._LOCK_TIMEOUT = "50ms"


def test_views_that_somebody_reads_are_not_waited_for_long(make_ground: MAKE_GROUND, server: Server) -> None:
    """All who come later would queue behind the install, and wait for that one reader, too."""
    ground = make_ground(pls=server.copy(PLS))
    install = ("views", "install", ground.name)
    with ground.in_erp() as reader:
        reader.execute("SET idle_in_transaction_session_timeout = '60s'")
        with reader.transaction():
            reader.execute(f"SELECT count(*) FROM hat.{BY_TABLE['persons'].view}".encode())
            result = ground.start(*install, prepare=impatient).wait()
    assert result.exit_code == 4, result.err
    assert_told(result.err, "demo / persons", "Somebody is reading the views")
    assert ground.run(*install).exit_code == 0


def test_a_lost_load_of_one_table_is_not_gone_on_with_as_one_of_all(make_ground: MAKE_GROUND, server: Server) -> None:
    ground = make_ground(hat=server.copy(HAT))
    ground.erp_url = f"postgresql://nobody@127.0.0.1:1/{ground.pls}"
    ground.run("load", ground.name, "--only", "persons")
    ground.erp_url = None
    phase = Phase("looking at the views", "load")
    load = ground.start("load", ground.name, "--only", "persons", prepare=phase)
    phase.await_reached()
    with server.admin() as admin:
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (ground.hat,))
    phase.go_on()
    result = load.wait()
    assert result.exit_code == 5, result.err
    assert_told(result.err, "hat-etl load demo --resume --only persons")
    ground.load("--only", "persons", "--resume")
    assert set(ground.state()) == {"persons"}


@pytest.mark.parametrize("question", ["explain demo companies 0001|\udce9", "billing show demo \udce9"])
def test_an_argument_that_is_no_text_is_told(question: str, ground: Ground) -> None:
    """A terminal that sends Latin-1 met with an error that nobody foresaw."""
    result = ground.run(*question.split())
    assert result.exit_code == 2, result.err
    assert_told(result.err, "not UTF-8")
    assert "Unexpected" not in result.err


def test_runs_can_be_read_on_a_narrow_terminal(ground: Ground) -> None:
    """Thirteen columns were cut into strips of a letter or two."""
    with ground.in_hat() as connection:
        connection.execute(
            "INSERT INTO hat_etl.runs (mode, state, finished_at, version, error, reference_day)"
            " SELECT 'sync', 'failed', now(), version, 'The disk is full.', reference_day FROM hat_etl.runs"
        )
    ground.environment = {"COLUMNS": "80", "FORCE_COLOR": "1", "TERM": "dumb", "NO_COLOR": "1"}
    result = ground.run("runs", ground.name)
    assert result.exit_code == 0, result.err
    assert max(map(len, result.out.splitlines())) <= 80
    assert_told(result.out, "succeeded", "failed", "loaded", "rejected", "Run 2: The disk is full.")


@pytest.mark.parametrize("question", ["status", "runs", "rejects", "plan --sync"])
def test_a_question_that_breaks_is_the_one_to_ask_again(question: str, ground: Ground) -> None:
    """The list of rejects asked for a plan, and before that all of them for a load."""
    with ground.in_hat() as connection:
        for name in ("runs", "watermarks"):
            connection.execute(f"ALTER TABLE hat_etl.{name} RENAME TO {name}_was")
            connection.execute(f"CREATE VIEW hat_etl.{name} AS SELECT * FROM hat_etl.{name}_was WHERE run / 0 = 1")
            connection.execute(f"GRANT SELECT ON hat_etl.{name} TO PUBLIC")
    command, *options = question.split()
    result = ground.run(command, ground.name, *options)
    assert result.exit_code == 5, result.err
    assert_told(result.err, "SQLSTATE 22012", " ".join(("go on with: hat-etl", command, "demo", *options)))


def test_questions_are_answered_where_an_older_version_keeps_the_ledger(ground: Ground) -> None:
    """A plan broke, for only what writes brings the ledger up."""
    with ground.in_hat() as connection:
        for table in ("shapes", "checkpoints"):
            connection.execute(f"ALTER TABLE hat_etl.{table} DROP COLUMN definition")
        connection.execute("UPDATE hat_etl.schema_version SET version_num = '0002'")
        ((key,),) = connection.execute("SELECT person_id FROM hat.persons LIMIT 1").fetchall()
    questions = (("status",), ("runs",), ("rejects",), ("plan",), ("plan", "--sync"), ("explain", "persons", key))
    for command, *options in questions:
        result = ground.run(command, ground.name, *options)
        assert result.exit_code == 0, (command, result.err)
    synced(ground)
