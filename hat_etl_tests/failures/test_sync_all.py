"""Forty tenants one after another: those that can be synchronised are, the others are told with their reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psycopg
import pytest

from hat_etl.protheus.dictionary import physical_name
from hat_etl.sandbox.server import HAT, READER
from hat_etl_tests.views import pls

from .commands import without_room
from .ground import Ground, Server
from .syncing import assert_told, last_run

TENANTS = 40
DOWN, DRIFTED = "t17", "t05"
"""A tenant whose ERP is down, and one with a view that has changed."""
LOADED = ("professionals", "persons")
"""HAT tables of these small tenants: all views are there, these have been loaded."""


@dataclass
class Many:
    """Forty tenants in one folder, each with an ERP and a HAT database of its own."""

    server: Server
    folder: Path
    grounds: dict[str, Ground] = field(default_factory=dict)

    def persons(self, name: str) -> list[tuple[str, str]]:
        with self.grounds[name].in_hat() as connection:
            return connection.execute("SELECT person_id, name FROM hat.persons ORDER BY 1").fetchall()


def add_person(connection: psycopg.Connection[tuple[object, ...]], code: str, name: str) -> None:
    table = f"protheus.{physical_name('BTS', '01')}"
    connection.execute(
        f"INSERT INTO {table} (bts_matvid, bts_nomusr, bts_datnas, r_e_c_n_o_, s_t_a_m_p_)"
        f" SELECT %s, %s, '19800101', coalesce(max(r_e_c_n_o_), 0) + 1, now() AT TIME ZONE 'utc' FROM {table}",
        (code, name),
    )


@pytest.fixture(scope="module")
def many(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Many]:
    """One tenant is made and loaded, the others are copies of its databases; then each gets a person of its own."""
    made = Many(server, tmp_path_factory.mktemp("many"))
    with server.admin() as admin:
        admin.execute(f"CREATE DATABASE small_pls OWNER {READER} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'")
    first = Ground(server, tmp_path_factory.mktemp("small"), pls="small_pls", hat=server.copy(HAT))
    with first.in_erp() as erp:
        pls.create(erp, "protheus")
        add_person(erp, "00000001", "DE TODOS")
        erp.execute(f"CREATE SCHEMA hat AUTHORIZATION {READER}; GRANT USAGE ON SCHEMA protheus TO {READER}")
        erp.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA protheus TO {READER}")
    installed = first.run("views", "install", first.name)
    assert installed.exit_code == 0, installed.err
    first.load(*(option for table in LOADED for option in ("--only", table)))
    for number in range(1, TENANTS + 1):
        name = f"t{number:02}"
        ground = Ground(
            server, made.folder, pls=server.copy("small_pls"), hat=server.copy(first.hat), name=name, connections=1,
            erp_reference=f"file:{name}.erp", hat_reference=f"file:{name}.hat",
        )  # fmt: skip
        made.grounds[name] = ground
        with ground.in_hat() as hat:
            hat.execute("UPDATE hat_etl.identity SET tenant = %s", (name,))
        with ground.in_erp() as erp:
            add_person(erp, "00000002", name.upper())
            if name == DRIFTED:
                erp.execute("DROP VIEW hat.hat_bb0_profissional")
        if name == DOWN:
            ground.erp_url = f"postgresql://{READER}@127.0.0.1:1/{ground.pls}"
        ground.write()
    yield made
    for ground in (first, *made.grounds.values()):
        server.drop(ground.pls)
        server.drop(ground.hat)


def test_all_tenants_one_after_another(many: Many) -> None:
    result = many.grounds["t01"].run("sync", "--all", "--json")
    outcomes = {outcome["tenant"]: outcome for outcome in result.document}
    assert list(outcomes) == list(many.grounds)
    for name, outcome in outcomes.items():
        if name == DOWN:
            assert outcome["state"] == "failed"
            assert outcome["error"]["exit_code"] == 4
            assert many.persons(name) == [("00000001", "DE TODOS")]
        else:
            assert outcome["state"] == ("partial" if name == DRIFTED else "succeeded")
            assert many.persons(name) == [("00000001", "DE TODOS"), ("00000002", name.upper())]
    # The first that failed: a view that is gone.
    assert result.exit_code == 6
    assert outcomes[DRIFTED]["problems"][0]["table"] == "professionals"
    assert_told(result.err, f"Error (source): {DOWN}", "ERP database cannot be reached", f"hat-etl doctor {DOWN}")


def test_the_failures_are_told_at_the_end(many: Many) -> None:
    few = many.folder.parent / "few"
    few.mkdir(exist_ok=True)
    for name in ("t16", DOWN, "t18"):
        for ending in ("toml", "erp", "hat"):
            (few / f"{name}.{ending}").write_text((many.folder / f"{name}.{ending}").read_text())
    (few / "t19.toml").write_text("name = 1")
    ground = many.grounds["t16"]
    ground.environment = {"HAT_ETL_TENANTS": str(few)}
    result = ground.run("sync", "--all")
    assert result.exit_code == 4, result.err
    assert_told(result.out, "of t16: succeeded", "of t18: succeeded", "2 of 4 tenants are synchronised")
    _, _, end = result.err.partition("Error (source)")
    assert_told(end, DOWN, "ERP database cannot be reached", "Error (configuration): t19")


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["plain", "json"])
def test_a_report_that_cannot_be_written_keeps_no_tenant_waiting(
    options: tuple[str, ...], many: Many, tmp_path: Path
) -> None:
    """With a full log disk the first tenant was synchronised, and none after it."""
    few = tmp_path / "few"
    few.mkdir()
    names = ("t30", "t31", "t32")
    for name in names:
        for ending in ("toml", "erp", "hat"):
            (few / f"{name}.{ending}").write_text((many.folder / f"{name}.{ending}").read_text())
    before = {name: last_run(many.grounds[name])[0] for name in names}
    ground = many.grounds["t30"]
    ground.environment = {"HAT_ETL_TENANTS": str(few)}
    result = ground.start("sync", "--all", *options, prepare=partial(without_room, 1)).wait()
    assert result.exit_code == 11, result.err
    assert {name: last_run(many.grounds[name])[0] for name in names} == {name: before[name] + 1 for name in names}
    assert_told(result.err, "could not be written")
    if not options:
        assert_told(result.err, *(f"hat-etl status {name}" for name in names))
    assert ground.start("sync", "--all", *options, prepare=partial(without_room, 1, 2)).wait().exit_code == 11
    (few / "t33.toml").write_text("name = 1")
    result = ground.start("sync", "--all", *options, prepare=partial(without_room, 1)).wait()
    assert result.exit_code == 3, result.err
    assert_told(result.err, "Error (configuration): t33")


def test_the_status_of_the_others_is_shown_when_a_tenant_cannot_be_asked(many: Many) -> None:
    """The first tenant whose database was down was once all that one saw of the folder."""
    some = many.folder.parent / "some"
    some.mkdir(exist_ok=True)
    for name in ("t20", "t21", "t22"):
        for ending in ("toml", "erp", "hat"):
            (some / f"{name}.{ending}").write_text((many.folder / f"{name}.{ending}").read_text())
    (some / "t21.hat").write_text("postgresql://hat_loader@127.0.0.1:1/hat")
    (some / "t23.toml").write_text("name = 1")
    ground = many.grounds["t20"]
    ground.environment = {"HAT_ETL_TENANTS": str(some)}
    shown = ground.run("status")
    assert shown.exit_code == 5, shown.err
    assert_told(shown.out, "t20", "t21", "not known", "t22", "t23", "succeeded")
    assert_told(shown.err, "Error (target): t21", "Error (configuration): t23", "hat-etl doctor t21")
    asked = ground.run("status", "--json")
    assert asked.exit_code == 5
    assert [entry["tenant"] for entry in asked.document] == ["t20", "t21", "t22", "t23"]
    assert [entry["error"]["kind"] for entry in asked.document if "error" in entry] == ["target", "configuration"]
    assert all(entry["last_run"] for entry in asked.document if "error" not in entry)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--all", "--accept"), "--accept answers a question about one tenant"),
        (("--all", "t01"), "either a TENANT or --all"),
        ((), "either a TENANT or --all"),
    ],
)
def test_what_all_does_not_take(arguments: tuple[str, ...], words: str, ground: Ground) -> None:
    result = ground.run("sync", *arguments)
    assert result.exit_code == 2
    assert words in result.err


def test_no_tenant_at_all(ground: Ground, tmp_path: Path) -> None:
    ground.environment = {"HAT_ETL_TENANTS": str(tmp_path / "nowhere")}
    result = ground.run("sync", "--all")
    assert result.exit_code == 3
    assert_told(
        result.err, "There is no tenant file in", "HAT_ETL_TENANTS", "hat-etl tenant new NAME --ans-registry NUMBER"
    )
