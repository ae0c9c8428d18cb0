"""The bytes of lots in a store beside the tenant database: a folder of fsspec's, and a server that speaks S3."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hat_etl.billing.contents import OutOfReach
from hat_etl.billing.doctor import examine
from hat_etl.cli.main import main
from hat_etl.errors import DataError
from hat_etl.sandbox.hat.lots import Recipe, make
from hat_etl_tests.failures.ground import eventually

from .conftest import PROVIDER, REGISTRY, World
from .s3 import S3, SECRET


def keep_in_s3(world: World, s3: S3) -> None:
    world.write_tenant(more=f'store = "s3://lots/acme"\n{s3.options("billing.store_options")}')


def keep_in_folder(world: World) -> Path:
    folder = world.folder / "store"
    world.write_tenant(more=f'store = "file://{folder}"')
    return folder


def bytes_of(number: str) -> bytes:
    return make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=1))


def test_bytes_go_to_s3_before_hat_knows_and_from_there_to_the_operator(world: World, s3: S3) -> None:
    keep_in_s3(world, s3)
    number = world.add()
    world.loop(rounds=4)
    digest = hashlib.sha256(bytes_of(number)).hexdigest()
    path = f"lots/acme/{PROVIDER}_{number}_{digest}.xml"
    assert s3.objects() == {path: bytes_of(number)}
    rows = world.rows("SELECT sha256, content, place, bytes FROM hat_etl.billing_contents")
    assert rows == [(digest, None, f"s3://{path}", len(bytes_of(number)))]
    assert world.states() == {number: "final"}
    assert world.at_operator() == {number: 1}
    told = CliRunner().invoke(main, ["billing", "show", "acme", number])
    assert f"lie at s3://{path}" in told.stdout


def test_what_s3_loses_or_cannot_be_reached_stays_in_hats_list(world: World, s3: S3) -> None:
    keep_in_s3(world, s3)
    number = world.add()
    s3.losing = True
    with pytest.raises(OutOfReach, match=f"lot {number} of provider {PROVIDER}.*not there.*doctor acme"):
        world.pull()
    assert (world.states(), world.in_hat(number).tracking) == ({}, 0)
    s3.losing = False
    world.write_tenant(
        more=f'store = "s3://lots/acme"\n{s3.options("billing.store_options").replace(s3.url, "http://127.0.0.1:1")}'
    )
    result = CliRunner().invoke(main, ["billing", "pull", "acme"])
    assert result.exit_code == 5
    assert "s3://lots/acme: Could not connect" in result.stderr
    assert (world.states(), world.in_hat(number).tracking) == ({}, 0)
    keep_in_s3(world, s3)
    world.pull()
    assert world.states() == {number: "validated"}


def test_what_reads_back_otherwise_is_not_taken(world: World, s3: S3) -> None:
    keep_in_s3(world, s3)
    number = world.add()
    s3.spoiling = True
    with pytest.raises(OutOfReach, match="reads back otherwise"):
        world.pull()
    assert (world.states(), world.in_hat(number).tracking) == ({}, 0)


def test_a_tenant_that_changes_its_store_reads_what_lies_in_the_other(world: World, s3: S3) -> None:
    lots = {"000123": world.add("000123")}
    world.pull()
    keep_in_s3(world, s3)
    lots["000456"] = world.add("000456")
    world.pull()
    keep_in_folder(world)
    file = world.folder / "acme.toml"
    lots["000789"] = world.add("000789")
    world.pull()
    file.write_text(
        file.read_text().replace(f'store = "file://{world.folder}/store"', s3.options("billing.store_options"))
    )
    places = [
        str(row[0]).partition(":")[0] for row in world.rows("SELECT place FROM hat_etl.billing_contents ORDER BY lot")
    ]
    assert places == ["None", "s3", "file"]
    assert world.send().problems == []
    assert world.at_operator() == dict.fromkeys(lots.values(), 1)


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_bytes_that_are_gone_or_changed_stop_their_lot_alone(how: str, world: World) -> None:
    folder = keep_in_folder(world)
    spoilt, other = world.add("000123"), world.add("000456")
    world.pull()
    (file,) = folder.glob("000123_*")
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(b"x")
    (problem,) = world.send().problems
    assert isinstance(problem, DataError)
    assert problem.tenant == "acme"
    assert f"lot {spoilt}" in problem.cause
    assert str(file) in str(problem)
    assert world.at_operator() == {other: 1}
    assert world.states()[spoilt] == "queued"


def test_a_store_out_of_reach_keeps_no_lot_of_the_database_from_the_operator(world: World, s3: S3) -> None:
    near = world.add("000456")
    world.pull()
    keep_in_s3(world, s3)
    far = world.add("000123")
    world.pull()
    text = (world.folder / "acme.toml").read_text()
    (world.folder / "acme.toml").write_text(text.replace(s3.url, "http://127.0.0.1:1"))
    (problem,) = world.send().problems
    assert isinstance(problem, OutOfReach)
    assert f"lot {far}" in problem.cause
    assert world.at_operator() == {near: 1}
    (world.folder / "acme.toml").write_text(text)
    world.send()
    assert world.at_operator() == {near: 1, far: 1}


def test_a_lot_that_could_not_be_read_for_its_check_is_not_passed_by_a_later_one(world: World) -> None:
    folder = keep_in_folder(world)
    first, second = world.add(), world.add()
    world.pull()
    world.rows("UPDATE hat_etl.billing_lots SET state = 'pulled' RETURNING 1")
    (file,) = folder.glob(f"{PROVIDER}_{first}_*")
    kept = file.rename(folder / "kept")
    assert world.pull().counts == {"validated": 1}
    world.send()
    assert world.states() == {first: "pulled", second: "validated"}
    kept.rename(file)
    world.loop()
    assert list(world.at_operator()) == [first, second]


def test_a_lot_whose_pull_is_killed_between_object_and_commit_is_pulled_once(world: World) -> None:
    folder = keep_in_folder(world)
    world.pull()
    number = world.add()
    with world.server.connect(world.database, autocommit=False) as blocker:
        blocker.execute("LOCK TABLE hat_etl.billing_contents IN SHARE MODE")
        process = subprocess.Popen([Path(sys.executable).with_name("hat-etl"), "billing", "pull", "acme"])
        waits = "SELECT FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
        eventually(lambda: bool(world.rows(waits, (world.database,))), "the pull waits for the row")
        process.send_signal(signal.SIGKILL)
        process.wait()
        blocker.rollback()
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert list(before.values()) == [bytes_of(number)]
    assert (world.states(), world.in_hat(number).tracking) == ({}, 0)
    assert world.pull().counts == {"pulled": 1, "validated": 1}
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    world.loop()
    assert world.at_operator() == {number: 1}


def test_tables_of_an_earlier_version_are_brought_up_to_date(world: World) -> None:
    number = world.add()
    world.pull()
    with world.server.connect(world.database) as connection:
        connection.execute(
            "ALTER TABLE hat_etl.billing_contents DROP COLUMN place, DROP COLUMN bytes,"
            " ALTER COLUMN content SET NOT NULL"
        )
        for table in ("checkpoints", "shapes"):
            connection.execute(f"ALTER TABLE hat_etl.{table} DROP COLUMN definition".encode())
        connection.execute("UPDATE hat_etl.schema_version SET version_num = '0001'")
    shown = CliRunner().invoke(main, ["billing", "show", "acme", number])
    assert (shown.exit_code, "After an upgrade" in shown.output) == (5, True)
    keep_in_folder(world)
    later = world.add()
    world.loop()
    assert world.at_operator() == {number: 1, later: 1}
    assert CliRunner().invoke(main, ["billing", "show", "acme", number]).exit_code == 0


def test_the_doctor_tries_the_store_and_leaves_nothing_there(world: World, s3: S3) -> None:
    keep_in_s3(world, s3)
    found = {check.subject: check for check in examine(world.tenant)}["billing: store"]
    assert found.state == "ok"
    assert "PUT" in s3.calls
    assert s3.objects() == {}
    s3.losing = True
    found = {check.subject: check for check in examine(world.tenant)}["billing: store"]
    assert (found.state, found.exit_code) == ("failed", 5)
    assert "not there" in found.detail


def test_secrets_of_a_store_are_references_and_show_nowhere(
    world: World, s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_in_s3(world, s3)
    monkeypatch.setenv("S3_SECRET", "wrong-KNRY")
    world.add()
    outputs = [CliRunner().invoke(main, [*command, "acme"]).output for command in (("billing", "pull"), ("doctor",))]
    assert "KNRY" not in "".join(outputs) + repr(world.tenant)
    assert "env:S3_SECRET" in repr(world.tenant)
    text = (world.folder / "acme.toml").read_text()
    (world.folder / "acme.toml").write_text(text.replace("env:S3_SECRET", SECRET))
    result = CliRunner().invoke(main, ["billing", "pull", "acme"])
    assert result.exit_code == 3
    assert "must be a reference" in result.output
    assert SECRET not in result.output


@pytest.mark.parametrize(
    "store",
    [
        "memory://lots",
        "lots",
        "s3:lots",
        "s3://",
        "s3://u:p@lots",
        "filecache://x::s3://lots",
        "file://lots",
        "nope://lots",
    ],
)
def test_a_store_that_would_not_keep_is_refused(store: str, world: World) -> None:
    world.write_tenant(more=f'store = "{store}"')
    world.add()
    assert CliRunner().invoke(main, ["billing", "pull", "acme"]).exit_code == 3
