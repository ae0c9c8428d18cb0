"""Syncs by HAT's API, over HTTP: what HAT has taken is what the tables show, and nothing reaches it twice."""

from __future__ import annotations

import random
import signal
from collections import Counter

import pytest
from starlette.responses import HTMLResponse, JSONResponse, Response

from hat_etl_tests.by_api.conftest import World
from hat_etl_tests.conformance.site import TENANT

MESSAGE = "Município não cadastrado"


def test_includes_changes_and_exclusions_go_to_hat_and_then_to_the_tables(world: World) -> None:
    clinic = world.clinic
    clinic.professional(2)
    clinic.provider(2)
    clinic.change("BAU", 1, BAU_NOME="CLINICA NOVA")
    clinic.change("BB0", 1, BB0_NOME="MEDICA UM")
    clinic.insurer(2)
    report = world.sync()
    assert Counter(world.paths()) == {"/professionals": 1, "PUT /professionals/000001": 1, "/healthProviders": 2}
    assert world.is_shown()
    assert len(clinic.site.rows()["health_insurers"]) == 2, "no API: straight into the table"
    assert world.table(report, "health_providers")["strategy"].endswith(", by API")
    assert not world.table(report, "health_insurers")["strategy"].endswith(", by API")
    clinic.delete("BB0", 2)
    world.sync()
    assert world.paths()[-1] == "DELETE /professionals/000002"
    assert world.is_shown()
    ledger = world.ask("SELECT action, code, token IS NOT NULL, contents FROM hat_etl.api_calls WHERE code <> ''")
    assert sorted(ledger) == [("change", "0004", True, None), ("include", "0003", True, None)]
    assert world.calls() == {"settled": 5}


def test_a_sync_without_changes_sends_nothing(world: World) -> None:
    world.sync("--full")
    assert world.sent() == []


def test_a_change_of_a_professional_that_hat_does_not_have_includes_it(world: World) -> None:
    world.state.forget("/professionals", '["000001"]')
    world.clinic.change("BB0", 1, BB0_NOME="MEDICA UM")
    world.sync()
    assert world.paths() == ["PUT /professionals/000001", "/professionals"]
    assert world.is_shown()


def test_parents_go_before_their_children(world: World) -> None:
    world.clinic.location(2, provider=2)
    world.clinic.staff(2, provider=2, professional=2)
    world.clinic.provider(2)
    world.clinic.professional(2)
    world.sync()
    assert world.paths() == ["/professionals", "/healthProviders", "/attendanceLocations", "/clinicalStaff"]


def test_a_refused_row_waits_with_hats_words_and_its_children_with_it_until_hat_takes_it(world: World) -> None:
    world.state.refuse("/healthProviders", "name", "CLINICA 2", MESSAGE)
    world.clinic.provider(2)
    world.clinic.location(2, provider=2)
    report = world.sync()
    assert world.table(report, "health_providers")["rejected"] == 1
    assert world.table(report, "attendance_locations")["held"] == 1
    severity, reason = world.reasons()["health_providers", 2]
    assert (severity, MESSAGE in reason) == ("reject", True)
    assert world.paths() == ["/healthProviders"], "the location has no provider in HAT"
    assert ("000002",) not in world.clinic.site.rows()["health_providers"]
    assert world.agrees()
    world.state.refuse_no_more()
    world.sync()
    assert world.is_shown()
    assert world.reasons() == {}


def test_of_a_refused_change_hat_and_the_tables_keep_the_version_before(world: World) -> None:
    world.state.refuse("/healthProviders", "name", "CLINICA X", MESSAGE)
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    for _ in range(2):
        world.sync()
        assert world.clinic.site.rows()["health_providers"]["000001",].values["name"] == "CLINICA 1"
        assert world.reasons()["health_providers", 1][0] == "reject"
        assert world.ask("SELECT key, recno FROM hat_etl.backing") == [(["000001"], None)]
        assert world.agrees()
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA Y")
    world.sync()
    assert world.is_shown()
    assert world.reasons() == {}
    assert world.ask("SELECT * FROM hat_etl.backing") == []


def test_long_numbers_in_hats_words_are_not_kept(world: World) -> None:
    world.state.refuse("/healthProviders", "name", "CLINICA 2", "CPF 12345678909 inválido")
    world.clinic.provider(2)
    world.sync()
    assert "12345678909" not in world.reasons()["health_providers", 2][1]
    assert not world.ask("SELECT FROM hat_etl.api_calls WHERE answer LIKE '%12345678909%'")


def test_personal_values_in_hats_words_are_not_kept(world: World) -> None:
    """A CPF, a telephone and a birth date with their dots and dashes stayed in quarantine, and the row's own name."""
    said = "CPF 123.456.789-09 de Clínica João, tel (11) 98765-4321, nasc. 12/03/1980, inválido: código 0053"
    world.state.refuse("/healthProviders", "name", "CLINICA JOAO", said)
    world.clinic.provider(2, BAU_NOME="CLINICA JOAO")
    world.sync()
    (answer,) = world.ask("SELECT answer FROM hat_etl.api_calls")[0]
    for text in (world.reasons()["health_providers", 2][1], answer):
        assert "CPF (…) de (…) (…), tel (…), nasc. (…), inválido: código 0053" in text


def test_a_professional_that_hat_has_already_is_changed_there(world: World) -> None:
    """It stayed in quarantine for good: every sync included it anew, and HAT refused that as often."""
    world.state.keep("/professionals", '["000002"]', {"idOnHealthInsurer": "000002", "name": "OUTRO NOME"})
    world.stands_before("POST /professionals", JSONResponse({"code": "400", "message": "Já cadastrado"}, 400))
    world.clinic.professional(2)
    world.sync()
    assert world.paths() == ["PUT /professionals/000002"]
    assert world.is_shown()
    assert world.reasons() == {}
    assert world.ask("SELECT action, state FROM hat_etl.api_calls ORDER BY id") == [
        ("include", "refused"),
        ("change", "settled"),
    ]


@pytest.mark.parametrize("get", [None, Response(status_code=405), HTMLResponse("<html>manutenção</html>")])
def test_a_professional_that_hat_refuses_and_does_not_show_is_not_changed_there(
    get: Response | None, world: World
) -> None:
    if get is not None:
        world.stands_before("GET /professionals/.*", get)
    world.state.refuse("/professionals", "name", "MEDICO 2", MESSAGE)
    world.clinic.professional(2)
    world.sync()
    assert world.paths() == ["/professionals"]
    assert MESSAGE in world.reasons()["professionals", 2][1]


def test_an_answer_that_cannot_be_unpacked_is_a_lost_reply(world: World) -> None:
    """It ended the run as an unexpected error."""
    world.stands_before("POST /healthProviders", Response(b"no gzip", 502, headers={"Content-Encoding": "gzip"}))
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    assert "DecodingError" in world.fails(9)


def test_a_page_in_the_place_of_an_answer_is_a_lost_reply(world: World) -> None:
    """It ended the run, though HAT could be asked for the row."""
    world.stands_before("POST /healthProviders", HTMLResponse("<html>Em manutenção</html>"), acted=True)
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    world.sync()
    assert world.paths() == ["/healthProviders"]
    assert world.is_shown()


def test_a_row_that_hat_does_not_let_go_stays_with_a_warning_until_it_does(world: World) -> None:
    world.clinic.professional(2)
    world.sync()
    world.state.refuse("DELETE /professionals", "idOnHealthInsurer", "000002", "Há guias em aberto")
    world.clinic.delete("BB0", 2)
    for _ in range(2):
        world.sync()
        assert ("000002",) in world.clinic.site.rows()["professionals"]
        severity, reason = world.reasons()["professionals", 2]
        assert (severity, "guias em aberto" in reason) == ("warning", True)
        assert world.agrees()
    world.state.refuse_no_more()
    world.sync()
    assert ("000002",) not in world.clinic.site.rows()["professionals"]
    assert world.reasons() == {}


def test_lost_replies_and_failures_bring_each_row_to_hat_once(world: World) -> None:
    world.faults(fail=0.2, lose=0.3, seed=7)
    for number in range(2, 12):
        world.clinic.professional(number)
        world.clinic.provider(number)
        world.clinic.location(number, provider=number)
    world.clinic.change("BB0", 1, BB0_NOME="MEDICA UM")
    world.sync()
    assert world.is_shown()
    assert max(Counter(world.sent()).values()) == 1
    assert world.reasons() == {}


def test_what_hat_took_before_a_kill_is_not_sent_again(world: World) -> None:
    world.clinic.professional(2)
    world.clinic.provider(2)
    world.clinic.location(2, provider=2)
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA NOVA")
    world.killed_at("committing")
    before = world.sent()
    assert len(before) == 4
    assert world.calls() == {"accepted": 4}
    assert ("000002",) not in world.clinic.site.rows()["professionals"]
    world.sync()
    assert world.sent() == before
    assert world.is_shown()
    assert world.calls() == {"settled": 4}


def test_a_row_that_goes_back_after_a_kill_goes_back_in_hat_too(world: World) -> None:
    """The tables have never shown the version that HAT took: it must be changed back all the same."""
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    world.clinic.provider(2)
    world.clinic.professional(2)
    world.killed_at("committing")
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA 1")
    world.clinic.change("BAU", 2, BAU_NOME="CLINICA DOIS")
    world.clinic.delete("BB0", 2)
    world.sync()
    assert world.is_shown()
    assert Counter(world.paths()) == {"/healthProviders": 4, "/professionals": 1, "DELETE /professionals/000002": 1}


def test_an_exclusion_that_hat_took_before_a_kill_is_carried_out_with_the_rows_that_hang_on_it(world: World) -> None:
    world.clinic.professional(2)
    world.clinic.staff(2, provider=1, professional=2)
    world.sync()
    world.clinic.delete("BB0", 2)
    world.killed_at("committing")
    before = world.sent()
    assert before[-1].startswith("DELETE /professionals/000002")
    world.sync()
    assert world.sent() == before
    assert ("000002",) not in world.clinic.site.rows()["professionals"]
    assert world.reasons()["clinical_staff", 2][0] == "held"


def test_a_row_that_comes_back_after_its_exclusion_was_taken_is_included_anew(world: World) -> None:
    world.clinic.delete("BB0", 1)
    world.killed_at("committing")
    world.clinic.change("BB0", 1, D_E_L_E_T_=" ")
    world.sync()
    assert world.paths() == ["DELETE /professionals/000001", "/professionals"]
    assert world.is_shown()
    assert world.reasons() == {}


def test_what_is_told_after_ctrl_c_is_that_the_calls_are_gone_on_with(world: World) -> None:
    """HAT was said to hold all old or all new rows while calls were on their way."""
    world.clinic.provider(2)
    told = world.killed_at("sending", signal.SIGINT)
    assert f"goes on with the same command: hat-etl sync {TENANT} --via api" in told
    assert "all old or all new" not in told
    world.sync()
    assert world.is_shown()


def test_a_kill_before_anything_is_sent_sends_it_once_later(world: World) -> None:
    world.clinic.provider(2)
    world.killed_at("sending")
    assert world.sent() == []
    world.sync()
    assert world.paths() == ["/healthProviders"]
    assert world.is_shown()


def test_an_answer_that_does_not_come_is_asked_for_by_its_token_and_the_row_is_held(world: World) -> None:
    world.server.cadastral.looks = 1000
    world.clinic.provider(2)
    world.clinic.location(2, provider=2)
    report = world.sync()
    assert world.table(report, "health_providers")["held"] == 1
    assert world.reasons()["health_providers", 2][0] == "held"
    assert world.reasons()["attendance_locations", 2][0] == "held"
    world.sync()
    assert world.paths() == ["/healthProviders"], "while the answer is out nothing is sent again"
    world.state._do("UPDATE writes SET looks = 0")
    world.server.cadastral.looks = 1
    world.sync()
    assert world.paths() == ["/healthProviders", "/attendanceLocations"]
    assert world.is_shown()
    assert world.reasons() == {}


def test_a_hat_that_is_down_ends_the_run_and_the_next_one_goes_on(world: World) -> None:
    world.clinic.provider(2)
    world.faults(fail=1)
    said = world.fails(9)
    assert "HAT does not answer" in said
    assert ("000002",) not in world.clinic.site.rows()["health_providers"]
    world.faults()
    world.sync()
    assert world.paths() == ["/healthProviders"]
    assert world.is_shown()


def test_the_brake_stops_before_anything_is_sent(world: World) -> None:
    for number in range(2, 8):
        world.clinic.provider(number)
    world.sync()
    sent = len(world.sent())
    for number in range(1, 8):
        world.clinic.change("BAU", number, BAU_NOME="TODAS")
    with world.clinic.site.tenant_lines("brake_rows = 3\n"):
        assert "unusual part" in world.fails(7)
        assert len(world.sent()) == sent
        world.sync("--accept")
    assert len(world.sent()) == sent + 7
    assert world.is_shown()


def test_a_sync_into_the_database_waits_until_open_calls_are_settled(world: World) -> None:
    world.clinic.provider(2)
    world.killed_at("committing")
    answer = world.clinic.site.run("sync", TENANT)
    assert answer.code == 7
    assert f"hat-etl sync {TENANT} --via api" in answer.err
    world.sync()
    assert world.clinic.site.run("sync", TENANT).code == 0


def test_a_run_by_api_cannot_be_undone(world: World) -> None:
    world.clinic.provider(2)
    run = world.sync()["run"]
    assert "cannot be taken back" in world.clinic.refused(run)


def test_of_a_run_by_api_that_was_killed_it_is_not_said_that_it_has_changed_nothing(world: World) -> None:
    """HAT had taken its calls."""
    run = world.sync()["run"]
    world.clinic.provider(2)
    world.killed_at("committing")
    assert "cannot be taken back" in world.clinic.refused(run + 1)


def test_the_tenant_file_says_where_changes_go_and_the_plan_tells(world: World) -> None:
    site = world.clinic.site
    with site.tenant_lines('via = "api"\n'):
        plan = {table["table"]: table["remarks"] for table in site.run("plan", TENANT, "--sync", "--json").json}
        assert any(
            "to HAT's API /healthProviders; exclusions go straight" in remark for remark in plan["health_providers"]
        )
        assert "to HAT's API /professionals" in plan["professionals"]
        assert any("straight to the database" in remark for remark in plan["health_insurers"])
        world.clinic.provider(2)
        site.fill_tables(world.clinic.pls)
        assert site.run("sync", TENANT).code == 0
    assert world.paths() == ["/healthProviders"]


def test_whatever_breaks_and_changes_in_between_hat_and_the_tables_end_alike(world: World) -> None:
    dice = random.Random(11)
    for step in range(8):
        number = step + 2
        world.clinic.professional(number)
        world.clinic.provider(number)
        world.clinic.location(number, provider=number)
        world.clinic.change("BAU", dice.randrange(1, number + 1), BAU_NOME=f"NOME {step}")
        if step % 3 == 2:
            world.clinic.delete("BB0", number - 1)
        world.faults(fail=0.2, lose=0.2, slow=0.2, slow_seconds=0.01, seed=step)
        if step % 2:
            world.killed_at(dice.choice(["sending", "merged health_providers", "committing"]))
        else:
            world.sync()
    world.faults()
    world.sync()
    assert world.is_shown()
    assert world.reasons() == {}
    included = Counter(world.sent())
    assert max(included.values()) == 1
