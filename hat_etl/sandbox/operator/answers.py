"""The messages that the sandbox's operator answers with, valid by the schemas from version 4.00 on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from lxml import etree

from hat_etl.sandbox.operator.course import Denied, Guide, Item
from hat_etl.sandbox.operator.ledger import Lot

NS = "http://www.ans.gov.br/padroes/tiss/schemas"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"

NAME = "OPERADORA SINTÉTICA"


class Answer:
    """One reply to one provider."""

    def __init__(self, registry: str, provider: str, version: str) -> None:
        self.registry = registry
        self.provider = provider
        self.version = version
        self.now = datetime.now()

    def rejection(self, root: str, body: str, kind: str, code: str, description: str) -> etree._Element:
        """``mensagemErro`` in place of what was asked for."""
        message = self._message(root, kind)
        error = add(add(message, body), "mensagemErro")
        add(error, "codigoGlosa", code)
        add(error, "descricaoGlosa", description)
        return sealed(message)

    def receipt(self, lot: Lot) -> etree._Element:
        """``protocoloRecebimentoWS``: the lot was taken."""
        message = self._message("protocoloRecebimentoWS", "PROTOCOLO_RECEBIMENTO")
        receipt = add(add(message, "recebimentoLote"), "protocoloRecebimento")
        add(receipt, "registroANS", self.registry)
        self._provider(receipt)
        add(receipt, "numeroLote", lot.number)
        add(receipt, "dataEnvioLote", self._today)
        detail = add(receipt, "detalheProtocolo")
        add(detail, "numeroProtocolo", lot.protocol)
        add(detail, "valorTotalProtocolo", amount(lot.total))
        listed = add(detail, "dadosGuiasProtocolo")
        for guide in lot.guides:
            _guide(add(listed, "dadosGuiasOdonto" if lot.dental else "dadosGuias"), guide, lot.dental, ())
        return sealed(message)

    def status(self, lot: Lot) -> etree._Element:
        """``situacaoProtocoloWS``: how far the lot is."""
        message = self._message("situacaoProtocoloWS", "SITUACAO_PROTOCOLO")
        answer = add(add(message, "situacaoProtocolo"), "situacaoDoProtocolo")
        add(answer, "identificacaoOperadora", self.registry)
        self._provider(answer)
        detail = add(add(answer, "lote"), "detalheLote")
        add(detail, "statusProtocolo", lot.status)
        add(detail, "numeroProtocolo", lot.protocol)
        add(detail, "numeroLote", lot.number)
        add(detail, "dataEnvioLote", self._today)
        denied = sum((denial.value for denial in lot.denials), Decimal(0))
        _values(add(detail, "valorTotalLote"), lot.total, denied)
        listed = add(detail, "guiasTISS")
        for guide in lot.guides:
            inside = add(add(listed, "guiasOdonto" if lot.dental else "guiasMedicas"), "guias")
            _guide(inside, guide, lot.dental, [one for one in lot.denials if one.guide == guide.number])
        return sealed(message)

    def statement(self, lots: Sequence[Lot]) -> etree._Element:
        """``demonstrativoRetornoWS``: what is paid of each lot and what is not."""
        message = self._message("demonstrativoRetornoWS", "DEMONSTRATIVO_ANALISE_CONTA")
        answer = add(message, "demonstrativoRetorno")
        for lot in lots:
            analysis = add(answer, "demonstrativoAnaliseConta")
            head = add(analysis, "cabecalhoDemonstrativo")
            add(head, "registroANS", self.registry)
            add(head, "numeroDemonstrativo", str(lot.order))
            add(head, "nomeOperadora", NAME)
            add(head, "numeroCNPJ", "00000000000000")
            add(head, "dataEmissao", self._today)
            who = add(analysis, "dadosPrestador")
            add(add(who, "dadosContratado"), "codigoPrestadorNaOperadora", self.provider)
            add(who, "CNES", "9999999")
            self._analysed(add(add(analysis, "dadosConta"), "dadosProtocolo"), lot)
            _totals(analysis, "Geral", lot.total, sum((one.value for one in lot.denials), Decimal(0)))
        return sealed(message)

    def not_ready(self, lot: Lot) -> etree._Element:
        """``situacaoDemonstrativoRetorno``: there is no statement of the lot yet."""
        message = self._message("demonstrativoRetornoWS", "DEMONSTRATIVO_ANALISE_CONTA")
        answer = add(add(message, "demonstrativoRetorno"), "situacaoDemonstrativoRetorno")
        add(answer, "identificacaoOperadora", self.registry)
        self._provider(answer)
        add(answer, "numeroProtocolo", lot.protocol)
        add(answer, "protocoloSolicitacaoDemonstrativo", str(lot.order))
        add(answer, "tipoDemonstrativo", "1")
        add(answer, "dataSituacaoDemonstrativo", self._today)
        add(answer, "situacaoDemonstrativo", lot.status)
        return sealed(message)

    def _analysed(self, part: etree._Element, lot: Lot) -> None:
        add(part, "numeroLotePrestador", lot.number)
        add(part, "numeroProtocolo", lot.protocol)
        add(part, "dataProtocolo", self._today)
        add(part, "situacaoProtocolo", lot.status)
        for guide in lot.guides:
            denials = [one for one in lot.denials if one.guide == guide.number]
            listed = add(part, "relacaoGuias")
            add(listed, "numeroGuiaPrestador", guide.number)
            add(listed, "numeroCarteira", guide.card)
            add(listed, "dataInicioFat", guide.items[0].done_on)
            for denial in denials:
                if denial.item is None:
                    _reason(add(listed, "motivoGlosaGuia"), denial)
            add(listed, "situacaoGuia", lot.status)
            for item in guide.items:
                _analysed_item(add(listed, "detalhesGuia"), item, [one for one in denials if one.item == item.sequence])
            _totals(listed, "Guia", guide.total, sum((one.value for one in denials), Decimal(0)))
        _totals(part, "Protocolo", lot.total, sum((one.value for one in lot.denials), Decimal(0)))

    @property
    def _today(self) -> str:
        return self.now.date().isoformat()

    def _message(self, root: str, kind: str) -> etree._Element:
        message = etree.Element(f"{{{NS}}}{root}", nsmap={"ans": NS})
        header = add(message, "cabecalho")
        transaction = add(header, "identificacaoTransacao")
        add(transaction, "tipoTransacao", kind)
        add(transaction, "sequencialTransacao", self.now.strftime("%H%M%S%f")[:12])
        add(transaction, "dataRegistroTransacao", self._today)
        add(transaction, "horaRegistroTransacao", self.now.strftime("%H:%M:%S"))
        add(add(header, "origem"), "registroANS", self.registry)
        receiver = add(add(header, "destino"), "identificacaoPrestador")
        add(receiver, "codigoPrestadorNaOperadora", self.provider)
        add(header, "Padrao", self.version)
        return message

    def _provider(self, parent: etree._Element) -> None:
        add(add(parent, "dadosPrestador"), "codigoPrestadorNaOperadora", self.provider)


def add(parent: etree._Element, name: str, text: str | None = None) -> etree._Element:
    """A new last child."""
    element = etree.SubElement(parent, f"{{{NS}}}{name}")
    element.text = text
    return element


def amount(value: Decimal) -> str:
    """Reais as the standard writes them."""
    return f"{value:.2f}"


def sealed(message: etree._Element) -> etree._Element:
    """The message with the hash of its texts in ISO-8859-1."""
    content = "".join(str(text) for text in message.itertext())
    add(message, "hash", hashlib.md5(content.encode("iso-8859-1"), usedforsecurity=False).hexdigest())
    return message


def fault(code: str) -> etree._Element:
    """A SOAP fault with a ``tissFault`` inside."""
    root = etree.Element(f"{{{SOAP}}}Fault", nsmap={"soapenv": SOAP, "ans": NS})
    etree.SubElement(root, "faultcode").text = (
        "soapenv:Server" if code == "ErroInesperadoServidor" else "soapenv:Client"
    )
    etree.SubElement(root, "faultstring").text = code
    add(add(etree.SubElement(root, "detail"), "tissFaultWS"), "tissFault", code)
    return root


def envelope(message: etree._Element) -> bytes:
    """A message in its SOAP envelope."""
    root = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soapenv": SOAP})
    etree.SubElement(root, f"{{{SOAP}}}Body").append(message)
    return etree.tostring(root, encoding="utf-8", xml_declaration=True)


def _guide(element: etree._Element, guide: Guide, dental: bool, denials: Sequence[Denied]) -> None:
    """A guide in a receipt or in a status."""
    add(element, "numeroGuiaPrestador", guide.number)
    person = element if dental else add(element, "dadosBeneficiario")
    add(person, "numeroCarteira", guide.card)
    add(person, "atendimentoRN", guide.newborn)
    _values(add(element, "vlInformadoGuia"), guide.total, sum((one.value for one in denials), Decimal(0)))
    if denials:
        reasons = add(element, "glosaGuia")
        for denial in denials:
            _reason(add(reasons, "motivoGlosa"), denial)


def _values(element: etree._Element, total: Decimal, denied: Decimal) -> None:
    add(element, "valorProcessado", amount(total))
    add(element, "valorGlosa", amount(denied))
    add(element, "valorLiberado", amount(total - denied))


def _totals(element: etree._Element, of: str, total: Decimal, denied: Decimal) -> None:
    for name, value in (("Informado", total), ("Processado", total), ("Liberado", total - denied), ("Glosa", denied)):
        add(element, f"valor{name}{of}", amount(value))


def _reason(element: etree._Element, denial: Denied) -> None:
    add(element, "codigoGlosa", denial.code)
    add(element, "descricaoGlosa", denial.description)


def _analysed_item(element: etree._Element, item: Item, denials: Sequence[Denied]) -> None:
    add(element, "sequencialItem", item.sequence)
    add(element, "dataRealizacao", item.done_on)
    procedure = add(element, "procedimento")
    add(procedure, "codigoTabela", item.table)
    add(procedure, "codigoProcedimento", item.code)
    add(procedure, "descricaoProcedimento", "PROCEDIMENTO")
    denied = sum((one.value for one in denials), Decimal(0))
    add(element, "valorInformado", amount(item.total))
    add(element, "qtdExecutada", "1.0000")
    add(element, "valorProcessado", amount(item.total))
    add(element, "valorLiberado", amount(item.total - denied))
    for denial in denials:
        listed = add(element, "relacaoGlosa")
        add(listed, "valorGlosa", amount(denial.value))
        add(listed, "tipoGlosa", denial.code)
