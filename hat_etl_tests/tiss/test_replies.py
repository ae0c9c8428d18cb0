"""Replies are read whatever their dress: missing parts, unknown codes, other prefixes, faults, pages of proxies."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hat_etl.tiss import replies
from hat_etl.tiss.document import NS
from hat_etl.tiss.replies import (
    Denial,
    Fault,
    NotReady,
    ProtocolStatus,
    Receipt,
    Rejection,
    Statements,
    Unreadable,
)

RECEIPT = f"""<ans:protocoloRecebimentoWS xmlns:ans="{NS}"><ans:cabecalho/><ans:recebimentoLote>
<ans:protocoloRecebimento><ans:registroANS>412345</ans:registroANS><ans:numeroLote>7</ans:numeroLote>
<ans:dataEnvioLote>2026-10-21</ans:dataEnvioLote>
<ans:detalheProtocolo><ans:numeroProtocolo> 00012345 </ans:numeroProtocolo>
<ans:valorTotalProtocolo>150.00</ans:valorTotalProtocolo><ans:glosaProtocolo><ans:motivosGlosa><ans:motivoGlosa>
<ans:codigoGlosa>5042</ans:codigoGlosa><ans:descricaoGlosa>SOMA</ans:descricaoGlosa></ans:motivoGlosa></ans:motivosGlosa>
<ans:vlGlosaProtocolo>3.50</ans:vlGlosaProtocolo></ans:glosaProtocolo><ans:dadosGuiasProtocolo><ans:dadosGuias>
<ans:numeroGuiaPrestador>S1</ans:numeroGuiaPrestador><ans:glosaGuia><ans:motivoGlosa><ans:codigoGlosa>X-1</ans:codigoGlosa>
</ans:motivoGlosa></ans:glosaGuia><ans:procedimentosRealizados><ans:procedimentoRealizado>
<ans:sequencialItem>2</ans:sequencialItem><ans:procedimento><ans:codigoProcedimento>40304361</ans:codigoProcedimento>
</ans:procedimento><ans:glosasProcedimento><ans:motivoGlosa><ans:codigoGlosa>1705</ans:codigoGlosa></ans:motivoGlosa>
<ans:valorGlosaProcedimento>2,25</ans:valorGlosaProcedimento></ans:glosasProcedimento></ans:procedimentoRealizado>
</ans:procedimentosRealizados></ans:dadosGuias></ans:dadosGuiasProtocolo></ans:detalheProtocolo>
</ans:protocoloRecebimento></ans:recebimentoLote></ans:protocoloRecebimentoWS>"""

STATUS = f"""<a:situacaoProtocoloWS xmlns:a="{NS}"><a:situacaoProtocolo><a:situacaoDoProtocolo><a:lote><a:detalheLote>
<a:statusProtocolo>42</a:statusProtocolo><a:numeroProtocolo>1</a:numeroProtocolo><a:numeroLote>7</a:numeroLote>
<a:dataEnvioLote>ontem</a:dataEnvioLote><a:valorTotalLote><a:valorProcessado>150.00</a:valorProcessado>
<a:valorGlosa>muito</a:valorGlosa></a:valorTotalLote></a:detalheLote></a:lote></a:situacaoDoProtocolo>
</a:situacaoProtocolo></a:situacaoProtocoloWS>"""

STATEMENT = f"""<demonstrativoRetornoWS xmlns="{NS}"><demonstrativoRetorno><demonstrativoAnaliseConta><dadosConta>
<dadosProtocolo><numeroLotePrestador>7</numeroLotePrestador><numeroProtocolo>1</numeroProtocolo>
<GlosaProtocolo><codigoGlosa>1323</codigoGlosa></GlosaProtocolo><situacaoProtocolo>5</situacaoProtocolo>
<relacaoGuias><numeroGuiaPrestador>S1</numeroGuiaPrestador><motivoGlosaGuia><codigoGlosa>1001</codigoGlosa></motivoGlosaGuia>
<motivoGlosaGuia><codigoGlosa>1002</codigoGlosa></motivoGlosaGuia><situacaoGuia>5</situacaoGuia><detalhesGuia>
<sequencialItem>1</sequencialItem><procedimento><codigoProcedimento>4</codigoProcedimento></procedimento>
<relacaoGlosa><valorGlosa>50.00</valorGlosa><tipoGlosa>1705</tipoGlosa></relacaoGlosa>
<relacaoGlosa><valorGlosa>1.00</valorGlosa><tipoGlosa>9999</tipoGlosa></relacaoGlosa></detalhesGuia>
<valorInformadoGuia>150.00</valorInformadoGuia><valorLiberadoGuia>99.00</valorLiberadoGuia></relacaoGuias>
<valorInformadoProtocolo>150.00</valorInformadoProtocolo><valorLiberadoProtocolo>99.00</valorLiberadoProtocolo>
</dadosProtocolo></dadosConta></demonstrativoAnaliseConta><demonstrativoAnaliseConta><dadosConta><dadosProtocolo>
<numeroProtocolo>2</numeroProtocolo></dadosProtocolo></dadosConta></demonstrativoAnaliseConta></demonstrativoRetorno>
</demonstrativoRetornoWS>"""


def error(root: str, body: str) -> str:
    inner = "<mensagemErro><codigoGlosa>5014</codigoGlosa><descricaoGlosa>não confere</descricaoGlosa></mensagemErro>"
    return f'<{root} xmlns="{NS}"><{body}>{inner}</{body}></{root}>'


def fault(inner: str) -> str:
    told = f"<faultcode>s:Client</faultcode><faultstring>t</faultstring>{inner}"
    return f'<s:Fault xmlns:s="http://schemas.xmlsoap.org/soap/envelope/">{told}</s:Fault>'


def in_envelope(message: str, namespace: str = "http://schemas.xmlsoap.org/soap/envelope/") -> str:
    return f'<e:Envelope xmlns:e="{namespace}"><e:Header/><e:Body>{message}</e:Body></e:Envelope>'


def test_a_receipt_tells_protocol_and_first_denials() -> None:
    assert replies.parse(RECEIPT.encode()) == Receipt(
        protocol="00012345",
        lot="7",
        registry="412345",
        sent_on=date(2026, 10, 21),
        total=Decimal("150.00"),
        denials=(
            Denial("protocol", "5042", "SOMA", Decimal("3.50")),
            Denial("guide", "X-1", None, None, "S1"),
            Denial("item", "1705", None, Decimal("2.25"), "S1", "2", "40304361"),
        ),
    )


def test_unknown_codes_are_kept_and_what_cannot_be_read_is_none() -> None:
    expected = ProtocolStatus("42", "1", "7", None, Decimal("150.00"), None, None, ())
    assert replies.parse(STATUS.encode()) == expected


@pytest.mark.parametrize(
    ("told", "amount"),
    [("150", "150"), ("150.00", "150.00"), ("2,25", "2.25"), ("1.234,56", "1234.56"), ("1,234.56", "1234.56"),
     ("-1.234.567,8", "-1234567.8"), ("1234.567", "1234.567"), ("1.234", None), ("1,234", None), ("1.23.4", None),
     ("1.2345,6", None), ("R$ 1", None)],
)  # fmt: skip
def test_an_amount_is_read_only_where_it_can_mean_one_thing(told: str, amount: str | None) -> None:
    """1.234 was read as a real and some cents, 1.234,56 as nothing."""
    reply = replies.parse(STATUS.replace(">150.00<", f">{told}<").encode())
    assert isinstance(reply, ProtocolStatus)
    assert reply.processed == (None if amount is None else Decimal(amount))


def test_a_statement_tells_every_denial_of_every_protocol() -> None:
    parsed = replies.parse(STATEMENT.encode())
    assert isinstance(parsed, Statements)
    first, second = parsed.statements
    assert [(one.level, one.code, one.value) for one in first.denials] == [
        ("protocol", "1323", None),
        ("guide", "1001", None),
        ("guide", "1002", None),
        ("item", "1705", Decimal("50.00")),
        ("item", "9999", Decimal("1.00")),
    ]
    assert (first.protocol, first.lot, first.status, first.released) == ("1", "7", "5", Decimal("99.00"))
    assert [(one.guide, one.status, one.released) for one in first.guides] == [("S1", "5", Decimal("99.00"))]
    assert (second.protocol, second.status) == ("2", None)


def test_a_statement_that_is_not_ready_is_no_rejection() -> None:
    text = f"""<demonstrativoRetornoWS xmlns="{NS}"><demonstrativoRetorno><situacaoDemonstrativoRetorno>
    <numeroProtocolo>1</numeroProtocolo><situacaoDemonstrativo>2</situacaoDemonstrativo>
    </situacaoDemonstrativoRetorno></demonstrativoRetorno></demonstrativoRetornoWS>"""
    assert replies.parse(text.encode()) == NotReady("1", "2")


@pytest.mark.parametrize(
    ("root", "body"),
    [
        ("protocoloRecebimentoWS", "recebimentoLote"),
        ("situacaoProtocoloWS", "situacaoProtocolo"),
        ("situacaoProtocoloWS", "lote"),
        ("demonstrativoRetornoWS", "demonstrativoRetorno"),
    ],
)
def test_an_error_message_is_a_rejection_at_any_level(root: str, body: str) -> None:
    assert replies.parse(error(root, body).encode()) == Rejection("5014", "não confere")


DRESSES = {
    "as it is": RECEIPT.encode(),
    "in an envelope": in_envelope(RECEIPT).encode(),
    "in an envelope of SOAP 1.2": in_envelope(RECEIPT, "http://www.w3.org/2003/05/soap-envelope").encode(),
    "without namespace": RECEIPT.replace("ans:", "").replace("xmlns:ans", "x").encode(),
    "of another namespace": RECEIPT.replace("padroes/tiss/schemas", "tiss/v4").encode(),
    "other capitals": RECEIPT.replace("detalheProtocolo", "DetalheProtocolo").encode(),
    "Latin-1": ('<?xml version="1.0" encoding="ISO-8859-1"?>' + RECEIPT).encode("iso-8859-1"),
    "with a BOM": b"\xef\xbb\xbf" + RECEIPT.encode(),
    "after a line break": b"\r\n <?xml version='1.0'?>" + RECEIPT.encode(),
    "after a BOM and a line break": b"\xef\xbb\xbf\n<?xml version='1.0' encoding='UTF-8'?>" + RECEIPT.encode(),
    "as a file": RECEIPT.replace("protocoloRecebimentoWS", "mensagemTISS").encode(),
}


@pytest.mark.parametrize("dress", DRESSES)
def test_a_receipt_is_read_in_any_dress(dress: str) -> None:
    assert replies.parse(DRESSES[dress]) == replies.parse(RECEIPT.encode())
    assert isinstance(replies.parse(DRESSES[dress]), Receipt)


@pytest.mark.parametrize("declared", ["UTF-8", "ISO-8859-1", "windows-1252"])
@pytest.mark.parametrize("real", ["utf-8", "iso-8859-1"])
def test_texts_are_read_in_the_encoding_they_have(declared: str, real: str) -> None:
    text = f'<?xml version="1.0" encoding="{declared}"?>' + error("protocoloRecebimentoWS", "recebimentoLote")
    assert replies.parse(text.encode(real)) == Rejection("5014", "não confere")


FAULTS = {
    "as the standard has it": (
        f'<detail><t:tissFaultWS xmlns:t="{NS}"><t:tissFault>HashInvalido</t:tissFault></t:tissFaultWS></detail>',
        "HashInvalido",
        True,
    ),
    "one deeper": ("<detail><tissFault><codigo>LoginInvalido</codigo></tissFault></detail>", "LoginInvalido", True),
    "of SOAP alone": ("", "Client", False),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_tells_its_code(name: str) -> None:
    inner, code, of_tiss = FAULTS[name]
    assert replies.parse(in_envelope(fault(inner)).encode()) == Fault(code, of_tiss, "t")


def test_a_fault_without_an_envelope_is_a_fault() -> None:
    text = f'<tissFaultWS xmlns="{NS}"><tissFault>SchemaInvalido</tissFault></tissFaultWS>'
    assert replies.parse(text.encode()) == Fault("SchemaInvalido", True, None)


@pytest.mark.parametrize(
    "content", [b"", b"OK", b"<html><body>Bad Gateway</body></html>", RECEIPT.encode()[:-30], b"{}"]
)
def test_what_is_no_reply_is_unreadable(content: bytes) -> None:
    assert isinstance(replies.parse(content), Unreadable)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_as_something(content: bytes) -> None:
    replies.parse(content)


@given(st.integers(0, len(STATEMENT)), st.integers(0, 60), st.text(max_size=5))
def test_any_damage_is_read_as_something(at: int, gone: int, instead: str) -> None:
    replies.parse((STATEMENT[:at] + instead + STATEMENT[at + gone :]).encode())


def test_guides_and_texts_of_the_operator_do_not_show() -> None:
    shown = repr([replies.parse(text.encode()) for text in (RECEIPT, STATEMENT, error("a", "b"))])
    assert "S1" not in shown
    assert "SOMA" not in shown
    assert "confere" not in shown
    assert "40304361" not in shown
