"""Calls whose outcome nobody can tell: HAT gets the ERP's present version, and is asked no more than it answers."""

from __future__ import annotations

from collections import Counter

import pytest
from starlette.responses import HTMLResponse, JSONResponse, Response

from hat_etl_tests.by_api.conftest import World
from hat_etl_tests.conformance.site import TENANT

LOST, NO_GET = Response(status_code=503), Response(status_code=405)


def test_a_row_that_goes_back_while_hat_cannot_be_asked_goes_back_in_hat_too(world: World) -> None:
    """The call was taken for one that HAT had not got, so the row was never sent again and HAT kept the other one."""
    world.stands_before("POST /healthProviders", LOST, acted=True)
    world.stands_before("GET /healthProviders", NO_GET)
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    world.fails(9)
    assert world.names_in_hat() == ["CLINICA X"]
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA 1")
    world.nothing_stands_before()
    world.stands_before("GET /healthProviders", NO_GET)
    world.sync()
    assert world.names_in_hat() == ["CLINICA 1"]
    assert world.is_shown()
    assert world.calls() == {"settled": 2}
    before = world.sent()
    world.sync("--full")
    assert world.sent() == before


def test_a_call_in_doubt_that_hat_never_had_is_made_again(world: World) -> None:
    world.stands_before("(POST|GET) /healthProviders", LOST)
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    world.fails(9)
    world.nothing_stands_before()
    world.stands_before("GET /healthProviders", NO_GET)
    world.sync()
    assert world.names_in_hat() == ["CLINICA X"]
    assert world.is_shown()


def test_of_a_row_that_hat_spells_otherwise_the_present_version_is_sent(world: World) -> None:
    """HAT's own spelling of the value was taken for the proof that it had not got the call."""
    world.stands_before("POST /healthProviders", LOST, acted=True)
    world.stands_before("GET /healthProviders", NO_GET)
    world.clinic.change("BAU", 1, BAU_NOME="Clínica X")
    world.fails(9)
    world.nothing_stands_before()
    world.state.keep("/healthProviders", '["000001"]', {"healthProviderCode": "000001", "name": "CLÍNICA X "})
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA 1")
    world.sync()
    assert world.names_in_hat() == ["CLINICA 1"]
    assert world.is_shown()


def test_a_doubt_stays_until_the_present_version_can_be_sent(world: World) -> None:
    world.stands_before("POST /healthProviders", LOST, acted=True)
    world.stands_before("GET /healthProviders", NO_GET)
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    world.fails(9)
    world.nothing_stands_before()
    world.stands_before("GET /healthProviders", NO_GET)
    world.state.refuse("/healthProviders", "name", "CLINICA 1", "Fora do ar")
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA 1")
    world.sync()
    assert world.names_in_hat() == ["CLINICA X"]
    assert world.reasons()["health_providers", 1][0] == "reject"
    world.state.refuse_no_more()
    world.sync()
    assert world.names_in_hat() == ["CLINICA 1"]
    assert world.is_shown()
    assert world.reasons() == {}


def test_an_included_row_in_doubt_that_leaves_the_erp_is_excluded(world: World) -> None:
    """HAT kept the professional for good, for neither the ERP nor the tables knew it any more."""
    world.stands_before("POST /professionals", LOST, acted=True)
    world.stands_before("GET /professionals/.*", NO_GET)
    world.clinic.professional(2)
    world.fails(9)
    assert world.names_in_hat("/professionals") == ["MEDICO 1", "MEDICO 2"]
    world.clinic.delete("BB0", 2)
    world.sync()
    assert world.names_in_hat("/professionals") == ["MEDICO 1"]
    assert world.is_shown()
    assert set(world.calls()) == {"settled"}


def test_an_included_row_in_doubt_that_leaves_the_erp_and_that_hat_does_not_exclude_is_let_rest(world: World) -> None:
    world.stands_before("(POST|GET) /healthProviders", LOST)
    world.clinic.provider(2)
    world.fails(9)
    world.clinic.delete("BAU", 2)
    world.nothing_stands_before()
    world.sync()
    assert world.is_shown()
    assert set(world.calls()) == {"settled"}
    assert world.clinic.site.run("sync", TENANT, "--via", "database").code == 0


def test_an_included_row_in_doubt_that_gets_another_key_is_excluded_under_the_old_one(world: World) -> None:
    """HAT kept the professional under the old key for good, beside the new one."""
    world.stands_before("POST /professionals", LOST, acted=True)
    world.stands_before("GET /professionals/.*", NO_GET)
    world.clinic.professional(2)
    world.fails(9)
    world.nothing_stands_before()
    world.stands_before("GET /professionals/.*", NO_GET)
    world.clinic.change("BB0", 2, BB0_CODIGO="000003")
    world.sync()
    assert [row["idOnHealthInsurer"] for row in world.state.kept("/professionals")] == ["000001", "000003"]
    assert set(world.calls()) == {"settled"}


def test_an_included_row_in_doubt_that_gets_another_key_and_that_hat_does_not_exclude_is_let_rest(world: World) -> None:
    """Its call stayed open for ever, and no sync into the database was let through."""
    world.stands_before("(POST|GET) /healthProviders", LOST)
    world.clinic.provider(2)
    world.fails(9)
    world.nothing_stands_before()
    world.clinic.change("BAU", 2, BAU_CODIGO="000003")
    world.sync()
    assert world.is_shown()
    assert set(world.calls()) == {"settled"}
    assert world.clinic.site.run("sync", TENANT, "--via", "database").code == 0


def test_a_row_that_comes_back_while_its_exclusion_is_in_doubt_is_sent(world: World) -> None:
    world.stands_before("DELETE /professionals/.*", LOST, acted=True)
    world.stands_before("GET /professionals/.*", NO_GET)
    world.clinic.delete("BB0", 1)
    world.fails(9)
    assert world.names_in_hat("/professionals") == []
    world.clinic.change("BB0", 1, D_E_L_E_T_=" ")
    world.sync()
    assert world.names_in_hat("/professionals") == ["MEDICO 1"]
    assert world.is_shown()


@pytest.mark.parametrize(
    "answer",
    [NO_GET, HTMLResponse("<html>manutenção</html>"), Response(status_code=302, headers={"Location": "/login"}),
     HTMLResponse("<h1>default backend - 404</h1>", 404), JSONResponse({"message": "no Route matched"}, 404)],
    ids=["405", "html", "302", "404 of a gateway", "JSON 404 of a gateway"],
)  # fmt: skip
def test_an_exclusion_whose_reply_is_lost_is_done_only_when_hat_says_that_nothing_is_there(
    answer: Response, world: World
) -> None:
    """A HAT that could not be asked was taken for one that has excluded the row."""
    world.clinic.professional(2)
    world.sync()
    world.stands_before("DELETE /professionals/.*", LOST)
    world.stands_before("GET /professionals/.*", answer)
    world.clinic.delete("BB0", 2)
    world.fails(9)
    assert ("000002",) in world.clinic.site.rows()["professionals"]
    world.nothing_stands_before()
    world.sync()
    assert world.names_in_hat("/professionals") == ["MEDICO 1"]
    assert world.is_shown()


@pytest.mark.parametrize(
    "answer", [HTMLResponse("<h1>default backend - 404</h1>", 404), JSONResponse({"message": "no Route matched"}, 404)]
)
def test_an_exclusion_that_something_else_answers_with_404_is_not_done(answer: Response, world: World) -> None:
    """A gateway's own 404 was taken for HAT's word that the professional is gone."""
    world.clinic.professional(2)
    world.sync()
    world.stands_before("DELETE /professionals/.*", answer)
    world.clinic.delete("BB0", 2)
    assert "HTTP 404" in world.fails(9)
    assert ("000002",) in world.clinic.site.rows()["professionals"]
    world.nothing_stands_before()
    world.sync()
    assert world.is_shown()


_ODD = {
    "500": JSONResponse({"code": "500", "message": "x"}, 500),
    "204": Response(status_code=204),
    "list": JSONResponse([{"code": "200"}]),
}


@pytest.mark.parametrize("answer", _ODD.values(), ids=_ODD)
def test_a_token_that_hat_cannot_answer_holds_its_row_and_no_other(answer: Response, world: World) -> None:
    """One such token ended every sync of the tenant, by API and into the database."""
    world.server.cadastral.looks = 0
    world.stands_before("GET /integration/.*", answer)
    world.stands_before("GET /healthProviders", NO_GET)
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    world.sync()
    assert world.reasons()["health_providers", 1][0] == "held"
    world.nothing_stands_before()
    token = world.ask("SELECT token FROM hat_etl.api_calls")[0][0]
    world.stands_before(f"GET /integration/{token}", answer)
    world.stands_before("GET /healthProviders", NO_GET)
    world.clinic.professional(3)
    report = world.sync()
    assert "MEDICO 3" in world.names_in_hat("/professionals")
    assert world.reasons()["health_providers", 1][0] == "held"
    assert any("1 row of health_providers" in remark for remark in report["remarks"])
    world.nothing_stands_before()
    world.sync()
    assert world.is_shown()
    assert world.reasons() == {}


@pytest.mark.parametrize(
    "answer",
    [HTMLResponse("<h1>default backend - 404</h1>", 404), JSONResponse({"message": "no Route matched"}, 404),
     HTMLResponse("<h1>Gone</h1>", 410), HTMLResponse("<h1>Bad Request</h1>", 400)],
    ids=["404", "JSON 404", "410", "400"],
)  # fmt: skip
def test_what_a_gateway_says_of_a_token_is_not_hats_word(answer: Response, world: World) -> None:
    """Its 404 let the row be sent again and again; its 400 was a refusal, and HAT kept a row that had gone back."""
    world.server.cadastral.looks = 0
    world.stands_before("GET /integration/.*", answer)
    world.stands_before("GET /healthProviders", NO_GET)
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    for _ in range(2):
        world.sync()
        assert world.paths() == ["/healthProviders"]
        assert world.reasons()["health_providers", 1][0] == "held"
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA 1")
    world.nothing_stands_before()
    world.sync()
    assert world.names_in_hat() == ["CLINICA 1"]
    assert world.is_shown()


_TURNED_AWAY = [
    HTMLResponse("<h1>Request rejected</h1>", 400), JSONResponse({"message": "Bad request"}, 400),
    Response(status_code=409), HTMLResponse("<h1>Forbidden</h1>", 403),
]  # fmt: skip


@pytest.mark.parametrize("answer", _TURNED_AWAY, ids=["400", "JSON 400", "409", "403"])
def test_what_a_gateway_says_of_a_write_is_not_hats_word(answer: Response, world: World) -> None:
    """Its 400 was a refusal: whoever read of it was to mend the row in the ERP, and HAT could have it all the same."""
    world.stands_before("POST /healthProviders", answer, acted=True)
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    world.clinic.professional(2)
    world.sync()
    assert "MEDICO 2" in world.names_in_hat("/professionals")
    severity, reason = world.reasons()["health_providers", 1]
    assert severity == "held"
    assert f"HTTP {answer.status_code}" in reason
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA 1")
    world.nothing_stands_before()
    world.sync()
    assert world.names_in_hat() == ["CLINICA 1"]
    assert world.is_shown()
    assert world.reasons() == {}


def test_an_exclusion_that_a_gateway_turns_away_is_asked_for_again(world: World) -> None:
    world.clinic.professional(2)
    world.sync()
    world.stands_before("DELETE /professionals/.*", _TURNED_AWAY[0])
    world.clinic.delete("BB0", 2)
    world.sync()
    assert ("000002",) in world.clinic.site.rows()["professionals"]
    world.nothing_stands_before()
    world.sync()
    assert world.names_in_hat("/professionals") == ["MEDICO 1"]
    assert world.is_shown()
    assert world.reasons() == {}


def test_a_gateway_that_turns_every_write_away_ends_the_run(world: World) -> None:
    """All rows were refused, as it seemed, and the run went well."""
    asked = world.stands_before("POST /healthProviders", _TURNED_AWAY[0])
    for number in range(2, 42):
        world.clinic.provider(number)
    assert "HTTP 400" in world.fails(9)
    assert len(asked) < 20
    world.nothing_stands_before()
    world.sync()
    assert world.is_shown()
    assert max(Counter(world.sent()).values()) == 1


def test_of_a_token_that_hat_cannot_answer_the_row_itself_tells(world: World) -> None:
    world.stands_before("GET /integration/.*", _ODD["500"])
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    world.sync()
    world.sync()
    assert world.paths() == ["/healthProviders"]
    assert world.is_shown()
    assert world.reasons() == {}


def test_a_hat_that_answers_no_token_ends_the_run_and_is_not_asked_for_all_of_them(world: World) -> None:
    world.server.cadastral.looks = 1000
    for number in range(2, 22):
        world.clinic.provider(number)
    world.sync()
    world.stands_before("GET /healthProviders", NO_GET)
    asked = world.stands_before("GET /integration/.*", _ODD["list"])
    world.sync()
    assert len(asked) == 5
    for number in range(22, 42):
        world.clinic.provider(number)
    world.fails(9)
    world.nothing_stands_before()
    world.state._do("UPDATE writes SET looks = 0")
    world.server.cadastral.looks = 0
    world.sync()
    assert world.is_shown()
    assert max(Counter(world.sent()).values()) == 1


@pytest.mark.parametrize("status", [404, 410])
def test_a_token_that_hat_knows_no_more_gives_way_to_the_row(status: int, world: World) -> None:
    """410 ended every sync of the tenant."""
    world.stands_before("GET /integration/.*", JSONResponse({"code": str(status)}, status))
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    world.sync()
    assert world.paths() == ["/healthProviders"]
    assert world.is_shown()


def test_details_that_are_no_sentences_are_told_all_the_same(world: World) -> None:
    """A number among the details ended every sync of the tenant with AttributeError."""
    world.stands_before("GET /integration/.*", JSONResponse({"code": "400", "detailedMessage": [400, None, ["x"]]}))
    world.clinic.change("BAU", 1, BAU_NOME="CLINICA X")
    world.sync()
    assert "400" in world.reasons()["health_providers", 1][1]
