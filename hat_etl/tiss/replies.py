"""The replies of an operator, read tolerantly into values: what is missing is None, unknown codes are kept as they are.

Elements are found by their names alone, without regard to namespace or capitals: operators differ in both.
Numbers of guides and texts of an operator do not show in the values' reprs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from lxml import etree

from hat_etl.tiss import document
from hat_etl.tiss.document import SOAP_NAMESPACES
from hat_etl.tiss.findings import Finding

_NUMBER = re.compile(r"(-?(?:\d{1,15}|\d{1,3}(?:\.\d{3})+(?=,)|\d{1,3}(?:,\d{3})+(?=\.)))(?:[.,](\d{1,6}))?", re.ASCII)
"""Whole part, with separators of thousands where a separator of decimals follows, and decimals."""
_EITHER = re.compile(r"-?\d{1,3}[.,]\d{3}", re.ASCII)
"""Thousands, or three decimals, which no amount of the standard has."""


@dataclass(frozen=True)
class Denial:
    """A glosa: something that the operator will not pay."""

    level: Literal["protocol", "guide", "item"]
    code: str | None
    """Of terminology table 38, or of the operator's own."""
    description: str | None = field(default=None, repr=False)
    value: Decimal | None = None
    """In reais."""
    guide: str | None = field(default=None, repr=False)
    """The provider's number of the guide."""
    item: str | None = None
    """``sequencialItem`` within the guide."""
    procedure: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class GuideStatus:
    """How far one guide is; amounts in reais."""

    guide: str | None = field(repr=False)
    status: str | None
    informed: Decimal | None
    processed: Decimal | None
    released: Decimal | None
    denied: Decimal | None


@dataclass(frozen=True)
class Rejection:
    """``mensagemErro``: the operator did not take the request. Technical, and no glosa."""

    code: str | None
    description: str | None = field(repr=False)


@dataclass(frozen=True)
class Receipt:
    """``protocoloRecebimento``: the lot has arrived. Denials may come already here."""

    protocol: str | None
    lot: str | None
    registry: str | None
    sent_on: date | None
    total: Decimal | None
    denials: tuple[Denial, ...]


@dataclass(frozen=True)
class ProtocolStatus:
    """``situacaoDoProtocolo``: how far a lot is; amounts in reais."""

    status: str | None
    """Of terminology table 45."""
    protocol: str | None
    lot: str | None
    sent_on: date | None
    processed: Decimal | None
    denied: Decimal | None
    released: Decimal | None
    denials: tuple[Denial, ...]


@dataclass(frozen=True)
class Statement:
    """One protocol of a ``demonstrativoAnaliseConta``: what is paid of it and what is not; amounts in reais."""

    protocol: str | None
    lot: str | None
    status: str | None
    informed: Decimal | None
    processed: Decimal | None
    released: Decimal | None
    denied: Decimal | None
    guides: tuple[GuideStatus, ...]
    denials: tuple[Denial, ...]


@dataclass(frozen=True)
class Statements:
    """The statements of a ``demonstrativoRetornoWS``."""

    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class NotReady:
    """``situacaoDemonstrativoRetorno``: the statement is not there yet."""

    protocol: str | None
    status: str | None


@dataclass(frozen=True)
class Fault:
    """A SOAP fault. ``code`` is that of ``tissFault`` when there is one, else the fault code of SOAP."""

    code: str | None
    from_tiss: bool
    text: str | None = field(repr=False)


@dataclass(frozen=True)
class Unreadable:
    """Nothing of the standard: a page of a proxy, cut XML, an unknown message."""

    findings: tuple[Finding, ...]


Reply = Rejection | Receipt | ProtocolStatus | Statements | NotReady | Fault | Unreadable


def parse(content: bytes) -> Reply:
    """Read the bytes of a reply, in its SOAP envelope or without. Never raises for what they hold."""
    read = document.read(content, lenient=True)
    if read.message is None:
        return Unreadable(read.findings)
    return _parse(read.message, read.findings)


def _parse(message: etree._Element, findings: tuple[Finding, ...]) -> Reply:
    name = etree.QName(message)
    if name.localname == "Fault" and name.namespace in SOAP_NAMESPACES:
        return _fault(message)
    if name.localname == "tissFaultWS":
        return Fault(_text(message, "tissFault"), True, None)
    for found, read in (
        ("protocoloRecebimento", _receipt),
        ("detalheLote", _status),
        ("demonstrativoAnaliseConta", _statements),
        ("situacaoDemonstrativoRetorno", _not_ready),
        ("mensagemErro", _rejection),
    ):
        part = next(_all(message, found), None)
        if part is not None:
            return read(part if found != "demonstrativoAnaliseConta" else message)
    return Unreadable(
        (*findings, Finding("raiz.desconhecida", document.locate(message), "A resposta não é do padrão."))
    )


def _named(element: etree._Element, name: str) -> bool:
    return document.local(element).lower() == name.lower()


def _all(element: etree._Element, name: str) -> Iterator[etree._Element]:
    """The elements of a name below an element, at any depth, in the order of the document."""
    return (node for node in element.iter(etree.Element) if node is not element and _named(node, name))


def _child(element: etree._Element, *names: str) -> etree._Element | None:
    """The element at a path of names."""
    node: etree._Element | None = element
    for name in names:
        node = next((child for child in node if _named(child, name)), None) if node is not None else None
    return node


def _text(element: etree._Element, *names: str) -> str | None:
    found = _child(element, *names)
    return (found.text or "").strip() or None if found is not None else None


def _amount(element: etree._Element, *names: str) -> Decimal | None:
    """An amount; None where there is none, or it may mean two."""
    told = _text(element, *names) or ""
    found = _NUMBER.fullmatch(told)
    if found is None or _EITHER.fullmatch(told):
        return None
    return Decimal(re.sub("[.,]", "", found[1]) + (f".{found[2]}" if found[2] else ""))


def _date(element: etree._Element, *names: str) -> date | None:
    try:
        return date.fromisoformat((_text(element, *names) or "")[:10])
    except ValueError:
        return None


def _fault(fault: etree._Element) -> Fault:
    tiss = next(_all(fault, "tissFault"), None)
    reason = _text(fault, "faultstring") or _text(fault, "Reason", "Text")
    if tiss is not None:
        # Some put the code into tissFault itself, some one element deeper.
        inner = (tiss.text or "").strip() or next((text.strip() for text in tiss.itertext() if text.strip()), "")
        return Fault(inner or None, True, reason)
    code = _text(fault, "faultcode") or _text(fault, "Code", "Value")
    return Fault(code.rpartition(":")[2] if code else None, False, reason)


def _rejection(part: etree._Element) -> Rejection:
    return Rejection(_text(part, "codigoGlosa"), _text(part, "descricaoGlosa"))


def _receipt(part: etree._Element) -> Receipt:
    detail = _child(part, "detalheProtocolo")
    inside = part if detail is None else detail
    return Receipt(
        protocol=_text(inside, "numeroProtocolo"),
        lot=_text(part, "numeroLote"),
        registry=_text(part, "registroANS"),
        sent_on=_date(part, "dataEnvioLote"),
        total=_amount(inside, "valorTotalProtocolo"),
        denials=(*_protocol_denials(inside), *_guide_denials(inside)),
    )


def _status(part: etree._Element) -> ProtocolStatus:
    return ProtocolStatus(
        status=_text(part, "statusProtocolo"),
        protocol=_text(part, "numeroProtocolo"),
        lot=_text(part, "numeroLote"),
        sent_on=_date(part, "dataEnvioLote"),
        processed=_amount(part, "valorTotalLote", "valorProcessado"),
        denied=_amount(part, "valorTotalLote", "valorGlosa"),
        released=_amount(part, "valorTotalLote", "valorLiberado"),
        denials=tuple(_guide_denials(part)),
    )


def _protocol_denials(detail: etree._Element) -> Iterator[Denial]:
    whole = _child(detail, "glosaProtocolo")
    if whole is None:
        return
    value = _amount(whole, "vlGlosaProtocolo")
    for reason in _reasons(whole):
        yield Denial("protocol", _text(reason, "codigoGlosa"), _text(reason, "descricaoGlosa"), value)


def _reasons(element: etree._Element) -> list[etree._Element]:
    """The elements that hold a reason, or the element itself where it is one."""
    return list(_all(element, "motivoGlosa")) or [element]


def _guide_denials(element: etree._Element) -> Iterator[Denial]:
    """Denials in the guides of a receipt or of a status."""
    for guide in element.iter(etree.Element):
        number = _text(guide, "numeroGuiaPrestador")
        if number is None:
            continue
        whole = _child(guide, "glosaGuia")
        if whole is not None:
            for reason in _reasons(whole):
                yield Denial("guide", _text(reason, "codigoGlosa"), _text(reason, "descricaoGlosa"), None, number)
        for item in _all(guide, "procedimentoRealizado"):
            denied = _child(item, "glosasProcedimento")
            if denied is None:
                continue
            value = _amount(denied, "valorGlosaProcedimento")
            for reason in _reasons(denied):
                yield Denial(
                    "item",
                    _text(reason, "codigoGlosa"),
                    _text(reason, "descricaoGlosa"),
                    value,
                    number,
                    _text(item, "sequencialItem"),
                    _text(item, "procedimento", "codigoProcedimento"),
                )


def _statements(message: etree._Element) -> Statements:
    return Statements(
        tuple(
            _statement(protocol)
            for analysis in _all(message, "demonstrativoAnaliseConta")
            for protocol in _all(analysis, "dadosProtocolo")
        )
    )


def _statement(part: etree._Element) -> Statement:
    guides = [child for child in part if _named(child, "relacaoGuias")]
    return Statement(
        protocol=_text(part, "numeroProtocolo"),
        lot=_text(part, "numeroLotePrestador"),
        status=_text(part, "situacaoProtocolo"),
        informed=_amount(part, "valorInformadoProtocolo"),
        processed=_amount(part, "valorProcessadoProtocolo"),
        released=_amount(part, "valorLiberadoProtocolo"),
        denied=_amount(part, "valorGlosaProtocolo"),
        guides=tuple(_guide(guide) for guide in guides),
        denials=(*_protocol_denials(part), *(denial for guide in guides for denial in _statement_denials(guide))),
    )


def _guide(guide: etree._Element) -> GuideStatus:
    return GuideStatus(
        guide=_text(guide, "numeroGuiaPrestador"),
        status=_text(guide, "situacaoGuia"),
        informed=_amount(guide, "valorInformadoGuia"),
        processed=_amount(guide, "valorProcessadoGuia"),
        released=_amount(guide, "valorLiberadoGuia"),
        denied=_amount(guide, "valorGlosaGuia"),
    )


def _statement_denials(guide: etree._Element) -> Iterator[Denial]:
    number = _text(guide, "numeroGuiaPrestador")
    for reason in guide:
        if _named(reason, "motivoGlosaGuia"):
            yield Denial("guide", _text(reason, "codigoGlosa"), _text(reason, "descricaoGlosa"), None, number)
    for item in _all(guide, "detalhesGuia"):
        for denied in item:
            if _named(denied, "relacaoGlosa"):
                yield Denial(
                    "item",
                    _text(denied, "tipoGlosa"),
                    None,
                    _amount(denied, "valorGlosa"),
                    number,
                    _text(item, "sequencialItem"),
                    _text(item, "procedimento", "codigoProcedimento"),
                )


def _not_ready(part: etree._Element) -> NotReady:
    return NotReady(_text(part, "numeroProtocolo"), _text(part, "situacaoDemonstrativo"))
