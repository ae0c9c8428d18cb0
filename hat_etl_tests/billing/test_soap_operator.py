"""The operator's web service as the loop asks it, with answers as operators give them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hat_etl.billing.operators.base import Denials, Letter, NoAnswer, Rejected, Taken
from hat_etl.billing.operators.soap import SoapOperator
from hat_etl.errors import ConfigurationError
from hat_etl.sandbox.hat.lots import Recipe, make
from hat_etl.sandbox.lots import Guide, sadt_lot, sealed
from hat_etl.sandbox.web import serving
from hat_etl.tenants.config import Tenant
from hat_etl.tiss.document import NS
from hat_etl_tests.tiss.texts import SADT

from .conftest import PROVIDER, REGISTRY, World

LETTER = Letter(
    1, "1", "PREST0001", "7", "codigoPrestadorNaOperadora", "PREST0001", None, "4.03.00", "00012345",
    content=sadt_lot("7", [Guide("S1")]),
)  # fmt: skip


def tenant(folder: Path, url: str, **soap: str) -> Tenant:
    places = {f"{kind}_url": url for kind in ("lot", "status", "statement")}
    document = {
        "name": "acme", "ans_registry": "412345", "hat": {"url": "env:NOT_SET"},
        "erp": {"dialect": "postgresql", "url": "env:NOT_SET", "company": "01"},
        "billing": {"deliver": "soap", "soap": {**places, **soap}},
    }  # fmt: skip
    return Tenant.model_validate(document, context={"folder": folder, "tenant": "acme"}, by_name=False)


@dataclass
class Service:
    """A web service that gives the same answer to everything."""

    operator: SoapOperator
    answer: str = ""


@contextmanager
def operator(made: Tenant) -> Iterator[SoapOperator]:
    settings = made.billing.soap
    assert settings is not None
    opened = SoapOperator(made, settings)
    yield opened
    opened.close()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    async def answer(_: Request) -> Response:
        return Response(made.answer, media_type="text/xml")

    with (
        serving(Starlette(routes=[Route("/ws", answer, methods=["POST"])])) as url,
        operator(tenant(tmp_path, f"{url}/ws")) as opened,
    ):
        made = Service(opened)
        yield made


def part(protocol: str, guide: str, code: str, processed: str = "100.00", denied: str = "50.00") -> str:
    return f"""<demonstrativoAnaliseConta><dadosConta><dadosProtocolo><numeroProtocolo>{protocol}</numeroProtocolo>
<relacaoGuias><numeroGuiaPrestador>{guide}</numeroGuiaPrestador><motivoGlosaGuia><codigoGlosa>{code}</codigoGlosa>
</motivoGlosaGuia></relacaoGuias><valorProcessadoProtocolo>{processed}</valorProcessadoProtocolo>
<valorGlosaProtocolo>{denied}</valorGlosaProtocolo></dadosProtocolo></dadosConta></demonstrativoAnaliseConta>"""


def statement(*parts: str) -> str:
    inner = f"<demonstrativoRetorno>{''.join(parts)}</demonstrativoRetorno>"
    return f'<demonstrativoRetornoWS xmlns="{NS}">{inner}</demonstrativoRetornoWS>'


def told(denials: Denials) -> tuple[list[str], Decimal | None, Decimal | None]:
    return [cause.code for cause in denials.causes], denials.processed, denials.denied


def test_a_protocol_in_several_statements_has_the_denials_of_all(service: Service) -> None:
    """The last one took the place of the others, whose denials never reached the provider."""
    one, other = part("00012345", "S1", "1705"), part("00012345", "S2", "1801", "30.00", "20.00")
    service.answer = statement(one, other, one)
    found = service.operator.statement([LETTER])
    assert not isinstance(found, NoAnswer)
    assert told(found[1]) == (["1705", "1801"], Decimal("130.00"), Decimal("70.00"))


def test_a_statement_finds_its_lot_without_leading_zeros(service: Service) -> None:
    """It was dropped silently, and its denials with it."""
    service.answer = statement(part("12345", "S1", "1705"))
    found = service.operator.statement([LETTER])
    assert not isinstance(found, NoAnswer)
    assert told(found[1])[0] == ["1705"]
    found = service.operator.statement([LETTER, replace(LETTER, lot=2, protocol="12345")])
    assert not isinstance(found, NoAnswer)
    assert list(found) == [2], "what another lot has to the letter is that lot's"
    found = service.operator.statement([LETTER, replace(LETTER, lot=2, protocol="012345")])
    assert found == {}, "it may be of either"


def test_a_status_that_is_no_number_is_no_answer(service: Service) -> None:
    """A superscript two ended the poll of all lots."""
    for status in ("²", "x", "3²"):
        service.answer = f"""<situacaoProtocoloWS xmlns="{NS}"><situacaoProtocolo><situacaoDoProtocolo><lote>
<detalheLote><statusProtocolo>{status}</statusProtocolo><numeroProtocolo>00012345</numeroProtocolo></detalheLote></lote>
</situacaoDoProtocolo></situacaoProtocolo></situacaoProtocoloWS>"""
        assert isinstance(service.operator.status(LETTER), NoAnswer)


def test_why_a_lot_cannot_be_sent_is_told_in_portuguese(service: Service) -> None:
    """The provider was told in English, and of settings that are not the provider's."""
    curly = sealed(SADT.replace("EXAME", "“EXAME”"), "utf-8", "utf-8")
    for content, code, word in ((curly, "5014", "aspas"), (b"<lote/>", "5001", "lote")):
        outcome = service.operator.deliver(replace(LETTER, content=content))
        assert isinstance(outcome, Rejected)
        (cause,) = outcome.causes
        assert cause.code == code
        assert word in cause.detailed_description
        assert "The " not in cause.detailed_description


def refusal(text: str) -> str:
    return f"""<protocoloRecebimentoWS xmlns="{NS}"><recebimentoLote><mensagemErro><codigoGlosa>5053</codigoGlosa>
<descricaoGlosa>{text}</descricaoGlosa></mensagemErro></recebimentoLote></protocoloRecebimentoWS>"""


@pytest.mark.parametrize(
    ("text", "protocol"),
    [("LOTE JÁ RECEBIDO COM O PROTOCOLO 77", "77"), ("Lote de guias ja foi processado", None),
     ("Arquivo duplicado", None), ("LOTE JÁ ENVIADO (12 GUIAS)", None)],
)  # fmt: skip
def test_a_lot_whose_delivery_was_in_doubt_and_that_is_a_double_has_arrived(
    text: str, protocol: str | None, service: Service
) -> None:
    service.answer = refusal(text)
    assert service.operator.deliver(replace(LETTER, again=True)) == Taken(protocol)
    assert isinstance(service.operator.deliver(LETTER), Rejected)


@pytest.mark.parametrize(
    "text",
    ["GUIA 123 JÁ PROCESSADA NO PROTOCOLO 77", "Guia duplicada", "LOTE 7: GUIA 123 DUPLICADA",
     "Item 1 duplicado na guia", "Foi duplicada a guia 123 do lote", "PROCEDIMENTO JÁ ENVIADO"],
)  # fmt: skip
def test_a_lot_of_which_a_guide_or_an_item_is_a_double_has_not_arrived(text: str, service: Service) -> None:
    """It was booked as taken, without a protocol or with that of another lot, and its billing was lost."""
    service.answer = refusal(text)
    outcome = service.operator.deliver(replace(LETTER, again=True))
    assert isinstance(outcome, Rejected)
    assert outcome.causes[0].description == text


@pytest.mark.parametrize("key", ["certificate", "authorities"])
def test_a_certificate_that_is_not_there_is_told_by_its_key(key: str, tmp_path: Path) -> None:
    made = tenant(tmp_path, "https://operadora.example/ws", **{key: f"{tmp_path}/operadora.pem"})
    with pytest.raises(ConfigurationError, match=rf"acme: billing\.soap\.{key}: "), operator(made):
        pass


def test_a_lot_as_large_as_the_tenants_file_allows_is_delivered(world: World) -> None:
    """Above 32 MiB, max_lot_mib did nothing but have the provider refused."""
    world.write_tenant(more="max_lot_mib = 40")
    number = world.add()
    content = make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, guides=1))
    comment = b"<!--" + b"x" * (1 << 20) + b"-->"
    world.state.replace_file(number, content.replace(b"</ans:mensagemTISS>", comment * 33 + b"</ans:mensagemTISS>"))
    world.pull()
    world.send()
    assert world.states() == {number: "protocolled"}
    assert world.at_operator() == {number: 1}
