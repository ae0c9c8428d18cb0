"""Requests: valid by the schema of their version, with the operator's login and hash, the file's values untouched."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from html import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from hat_etl.errors import DataError
from hat_etl.sandbox.lots import sealed
from hat_etl.tiss import hashing, messages
from hat_etl.tiss.check import check
from hat_etl.tiss.hashing import Encoding
from hat_etl.tiss.messages import Login, Provider, ProviderKind, Sender
from hat_etl.tiss.schemas import Schemas, packaged_versions
from hat_etl_tests.tiss.texts import PROVIDER, REGISTRY, SADT, VERSION, changed

SCHEMAS = Schemas()
MOMENT = datetime(2026, 10, 21, 7, 8, 9)
LOGIN = Login("usuario", "Segredo-Canario-1", "plain")


def leaves(message: etree._Element, path: str) -> list[str]:
    part = message.find(path.replace("/", "/{*}").join(["{*}", ""]))
    assert part is not None
    return [node.text or "" for node in part.iter() if len(node) == 0]


def sender(version: str = VERSION, kind: ProviderKind = "codigoPrestadorNaOperadora", **more: object) -> Sender:
    code = {"CNPJ": "00000000000000", "CPF": "00000000000"}.get(kind, PROVIDER)
    return Sender(Provider(kind, code), REGISTRY, version, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-8"])
@pytest.mark.parametrize("login", [None, LOGIN, Login("usuario", "x")])
@pytest.mark.parametrize("version", packaged_versions())
def test_a_lot_request_is_valid_and_hashed_as_the_operator_wants(
    version: str, login: Login | None, encoding: Encoding
) -> None:
    text = SADT.replace(f"Padrao>{VERSION}", f"Padrao>{version}")
    request = messages.lot(sealed(text), login=login, hash_encoding=encoding)
    report = check(request.content(), schemas=SCHEMAS)
    assert report.accepted
    assert (request.version, report.hash) == (version, encoding)


def test_header_and_lot_of_the_file_go_value_for_value() -> None:
    file = sealed(SADT)
    request = messages.lot(file, login=LOGIN)
    original = etree.fromstring(file)
    assert leaves(request.message, "loteGuias") == leaves(original, "prestadorParaOperadora/loteGuias")
    assert leaves(request.message, "cabecalho") == [*leaves(original, "cabecalho"), "usuario", "Segredo-Canario-1"]


@given(st.text(st.characters(codec="iso-8859-1", exclude_categories=["Cc"]), min_size=1, max_size=60))
def test_any_text_of_a_lot_arrives_as_it_is_under_a_right_hash(text: str) -> None:
    file = sealed(changed(SADT, "Avaliação &amp; controle", escape(text)))
    request = messages.lot(file, login=LOGIN)
    assert text in leaves(request.message, "loteGuias")
    assert hashing.right_in(etree.fromstring(request.content())) in ("iso-8859-1", "both")
    assert hashing.right_in(etree.fromstring(request.content("utf-8"))) in ("iso-8859-1", "both")


def test_a_login_in_the_file_gives_way_to_the_operators() -> None:
    old = """<ans:loginSenhaPrestador>
    <ans:loginPrestador>a</ans:loginPrestador><ans:senhaPrestador>b</ans:senhaPrestador>
    </ans:loginSenhaPrestador>"""
    file = sealed(changed(SADT, "</ans:cabecalho>", old + "</ans:cabecalho>"))
    assert leaves(messages.lot(file, login=LOGIN).message, "cabecalho")[-2:] == ["usuario", "Segredo-Canario-1"]
    assert b"loginSenhaPrestador" not in messages.lot(file).content()


def test_a_web_service_message_can_be_sent_on_with_another_login() -> None:
    file = sealed(SADT)
    again = messages.lot(messages.lot(file).content(), login=LOGIN)
    assert again.content() == messages.lot(file, login=LOGIN).content()


def test_the_password_goes_as_its_md5_when_the_operator_wants_that() -> None:
    request = messages.lot(sealed(SADT), login=Login("usuario", "Segredo", "md5"))
    assert leaves(request.message, "cabecalho")[-1] == hashlib.md5(b"Segredo", usedforsecurity=False).hexdigest()


def test_a_foreign_prefix_of_the_file_does_not_go_on_the_wire() -> None:
    file = sealed(SADT.replace("ans:", "tiss:").replace(":ans=", ":tiss="))
    content = messages.lot(file).content()
    assert b"tiss:" not in content
    assert check(content, schemas=SCHEMAS).findings == ()


def test_a_character_outside_latin_1_needs_an_operator_that_hashes_utf_8() -> None:
    file = sealed(changed(SADT, "CLÍNICA", "CLÍNICA €"), "utf-8", "utf-8")
    with pytest.raises(DataError, match="ISO-8859-1 lacks"):
        messages.lot(file)
    report = check(messages.lot(file, hash_encoding="utf-8").content(), schemas=SCHEMAS)
    assert (report.accepted, report.hash) == (True, "utf-8")


@pytest.mark.parametrize(
    "content", [b"", b"<a/>", sealed(SADT)[:500], sealed(SADT.replace("loteGuias>", "loteAnexos>"))]
)
def test_what_is_no_lot_makes_no_request(content: bytes) -> None:
    with pytest.raises(DataError, match="no lot"):
        messages.lot(content)


@pytest.mark.parametrize("kind", ["CNPJ", "CPF", "codigoPrestadorNaOperadora"])
@pytest.mark.parametrize("version", packaged_versions())
def test_questions_are_valid_whatever_identifies_the_provider(version: str, kind: ProviderKind) -> None:
    who = sender(version, kind, login=Login("usuario", "x"), hash_encoding="utf-8")
    for request in (
        messages.status(who, "123", "1", MOMENT),
        messages.statement(who, [str(number) for number in range(30)], "2", MOMENT, date(2026, 10, 21)),
    ):
        report = check(request.content(), schemas=SCHEMAS)
        assert report.accepted
        assert report.version == version


@pytest.mark.parametrize("number", [0, 31])
def test_statements_are_asked_for_1_to_30_protocols(number: int) -> None:
    with pytest.raises(ValueError, match="1 to 30"):
        messages.statement(sender(), ["1"] * number, "1", MOMENT, date(2026, 10, 21))


def test_secrets_and_persons_do_not_show() -> None:
    shown = repr([LOGIN, sender(kind="CPF", login=LOGIN), messages.lot(sealed(SADT), login=LOGIN)])
    assert "Canario" not in shown
    assert "00000000000" not in shown
    assert "SINT" not in shown
