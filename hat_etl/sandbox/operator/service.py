"""What the sandbox's operator does with a request: checks it, acts, and answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from lxml import etree

from hat_etl.sandbox.operator.answers import Answer, envelope, fault
from hat_etl.sandbox.operator.ledger import Ledger, Lot
from hat_etl.sandbox.operator.reading import guides
from hat_etl.tiss import document
from hat_etl.tiss.check import check_document
from hat_etl.tiss.document import find, find_all, local, text
from hat_etl.tiss.findings import HashEncoding, Report
from hat_etl.tiss.schemas import Schemas

OPERATIONS = {
    "tissLoteGuias": "loteGuiasWS",
    "tissSolicitacaoStatusProtocolo": "solicitacaoStatusProtocoloWS",
    "tissSolicitacaoDemonstrativoRetorno": "solicitacaoDemonstrativoRetornoWS",
}
"""The operations it has, and the message that each takes."""


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int
    content: bytes
    kind: str = "text/xml; charset=utf-8"


@dataclass
class Service:
    """The operator."""

    registry: str
    ledger: Ledger
    schemas: Schemas = field(default_factory=Schemas)
    hashes: frozenset[HashEncoding] = frozenset({"iso-8859-1", "utf-8", "both"})
    """The encodings of the hash that it takes."""
    passwords: dict[str, str] | None = None
    """By login, as they come over the wire; None: nobody has to log in."""

    def soap(self, version: str, operation: str, content: bytes) -> Reply:
        """Answer a request to the address of one operation in one version."""
        read = document.read(content)
        message = read.message
        if message is None or local(message) != OPERATIONS[operation]:
            return _fault("SchemaInvalido")
        report = check_document(read, schemas=self.schemas)
        wrong = self._wrong(message, version, report)
        if wrong:
            return _fault(wrong)
        answer = Answer(self.registry, _provider(message), version)
        if operation == "tissLoteGuias":
            return Reply(200, envelope(self._lot(answer, message, content, report)))
        if operation == "tissSolicitacaoStatusProtocolo":
            return Reply(200, envelope(self._status(answer, message)))
        return Reply(200, envelope(self._statement(answer, message)))

    def _wrong(self, message: etree._Element, version: str, report: Report) -> str | None:
        """The fault that a request earns, if any."""
        if report.version != version:
            return "VersaoInvalida"
        if text(message, "cabecalho/destino/registroANS") != self.registry:
            return "DestinatarioInvalido"
        if self.passwords is not None:
            login = text(message, "cabecalho/loginSenhaPrestador/loginPrestador") or ""
            password = text(message, "cabecalho/loginSenhaPrestador/senhaPrestador")
            if password is None or self.passwords.get(login) != password:
                return "LoginInvalido"
        if report.hash not in self.hashes:
            return "HashInvalido"
        return None if report.xsd_valid else "SchemaInvalido"

    def _lot(self, answer: Answer, message: etree._Element, content: bytes, report: Report) -> etree._Element:
        if not report.accepted:
            first = next(finding for finding in report.findings if finding.severity == "error")
            return _no_receipt(answer, first.ans or "5007", first.message)
        lot = find(message, "loteGuias")
        assert lot is not None
        taken, new = self._take(answer.provider, text(lot, "numeroLote") or "", content, lot)
        if new:
            return answer.receipt(taken)
        return _no_receipt(answer, "5053", f"LOTE JÁ RECEBIDO COM O PROTOCOLO {taken.protocol}")

    def _take(self, provider: str, number: str, content: bytes, lot: etree._Element) -> tuple[Lot, bool]:
        dental = bool(find_all(lot, "guiasTISS/guiaOdonto"))
        return self.ledger.take(provider, number, hashlib.sha256(content).hexdigest(), dental, guides(lot))

    def _status(self, answer: Answer, message: etree._Element) -> etree._Element:
        lot = self.ledger.by_protocol(
            answer.provider, text(message, "solicitacaoStatusProtocolo/numeroProtocolo") or ""
        )
        if lot is None:
            return answer.rejection("situacaoProtocoloWS", "situacaoProtocolo", "SITUACAO_PROTOCOLO", *_NOT_FOUND)
        return answer.status(lot)

    def _statement(self, answer: Answer, message: etree._Element) -> etree._Element:
        kind = ("demonstrativoRetornoWS", "demonstrativoRetorno", "DEMONSTRATIVO_ANALISE_CONTA")
        asked = find_all(message, "solicitacaoDemonstrativoRetorno/demonstrativoAnalise/protocolos/numeroProtocolo")
        found = [self.ledger.by_protocol(answer.provider, (one.text or "").strip()) for one in asked]
        lots = [lot for lot in found if lot is not None]
        if not lots or len(lots) < len(found):
            return answer.rejection(*kind, *_NOT_FOUND)
        waiting = [lot for lot in lots if lot.step < 2]
        return answer.not_ready(waiting[0]) if waiting else answer.statement(lots)

    def upload(self, provider: str, number: str, content: bytes) -> dict[str, object]:
        """Take a lot file as PLS's ``xmlManager`` does."""
        read = document.read(content)
        report = check_document(read, schemas=self.schemas, registry=self.registry, lot_only=True)
        lot = find(read.message, "prestadorParaOperadora/loteGuias") if read.message is not None else None
        if not report.accepted or lot is None:
            return {"message": "Arquivo fora do padrão TISS", "success": False}
        taken, new = self._take(provider, text(lot, "numeroLote") or number, content, lot)
        if not new:
            return {"message": "Arquivo ja submetido", "success": False}
        return {"message": "Protocolo criado com sucesso", "success": True, "protocolo": taken.protocol}

    def protocols(self, provider: str, number: str) -> dict[str, object]:
        """What PLS's ``protocols`` says of a provider's lot."""
        lot = self.ledger.by_number(provider, number)
        return {"items": [] if lot is None else [portal(lot)], "hasNext": False}


def portal(lot: Lot) -> dict[str, object]:
    """A lot as a list on the operator's portal shows it."""
    return {
        "healthProvider": lot.provider,
        "batchNumber": lot.number,
        "protocol": lot.protocol,
        "status": lot.status,
        "value": float(lot.total),
        "glossedValue": float(sum(denial.value for denial in lot.denials)),
    }


_NOT_FOUND = ("5054", "PROTOCOLO NÃO ENCONTRADO")


def _no_receipt(answer: Answer, code: str, description: str) -> etree._Element:
    return answer.rejection("protocoloRecebimentoWS", "recebimentoLote", "PROTOCOLO_RECEBIMENTO", code, description)


def _fault(code: str) -> Reply:
    return Reply(500, envelope(fault(code)))


def _provider(message: etree._Element) -> str:
    """The provider's number in the header, whatever its kind; the schema wants one of at most 14 characters."""
    who = find(message, "cabecalho/origem/identificacaoPrestador")
    return (who[0].text or "").strip()[:14] if who is not None and len(who) else "?"
