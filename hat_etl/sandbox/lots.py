"""Synthetic lots of guides in TISS, as a provider's system or HAT writes them: valid, with the right hash.

Valid from version 4.00 on. Everything in them is invented. They are written as text, apart from the code that reads
them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import unescape
from xml.sax.saxutils import escape

_TEXT = re.compile(r"<([\w:-]+)[^<>]*>([^<>]+)</\1>")
_HASH = re.compile(r"(<(?:\w+:)?hash>)[^<]*(</)")


@dataclass(frozen=True)
class Procedure:
    """One line of an SP/SADT guide; amounts in reais."""

    code: str = "40304361"
    quantity: int = 1
    unit_price: Decimal = Decimal("150.00")

    @property
    def total(self) -> Decimal:
        """Quantity x unit price."""
        return self.quantity * self.unit_price


@dataclass(frozen=True)
class Guide:
    """One SP/SADT guide."""

    number: str
    card: str = "00000000000000001"
    procedures: Sequence[Procedure] = (Procedure(),)


def sadt_lot(
    number: str,
    guides: Sequence[Guide],
    *,
    registry: str = "412345",
    provider: str = "PREST0001",
    version: str = "4.03.00",
    encoding: str = "iso-8859-1",
) -> bytes:
    """A lot of SP/SADT guides as a file."""
    return sealed(sadt_lot_text(number, guides, registry=registry, provider=provider, version=version), encoding)


def sadt_lot_text(number: str, guides: Sequence[Guide], *, registry: str, provider: str, version: str) -> str:
    """The same as text without declaration, its hash still open."""
    exams = "05" if version < "4.01" else "23"
    body = "".join(_sadt_guide(guide, registry, provider, exams) for guide in guides)
    return _message(number, body, registry, provider, version)


def consultation_lot_text(number: str, guides: Sequence[str], *, registry: str, provider: str, version: str) -> str:
    """A lot of consultations by the numbers of their guides, its hash still open."""
    body = "".join(_consultation(guide, registry, provider) for guide in guides)
    return _message(number, body, registry, provider, version)


def sealed(text: str, encoding: str = "iso-8859-1", hash_encoding: str = "iso-8859-1") -> bytes:
    """The bytes of a message with its declaration and its hash filled in.

    The hash is over the texts in the order of the document, joined, without the hash itself.
    """
    content = unescape("".join(found for _, found in _TEXT.findall(_HASH.sub(r"\1\2", text))))
    digest = hashlib.md5(content.encode(hash_encoding), usedforsecurity=False).hexdigest()
    whole = f'<?xml version="1.0" encoding="{encoding.upper()}"?>\n' + _HASH.sub(rf"\g<1>{digest}\2", text)
    return whole.encode(encoding)


def _message(number: str, guides: str, registry: str, provider: str, version: str) -> str:
    return f"""\
<ans:mensagemTISS xmlns:ans="http://www.ans.gov.br/padroes/tiss/schemas">
<ans:cabecalho>
<ans:identificacaoTransacao>
<ans:tipoTransacao>ENVIO_LOTE_GUIAS</ans:tipoTransacao>
<ans:sequencialTransacao>{number}</ans:sequencialTransacao>
<ans:dataRegistroTransacao>2026-10-21</ans:dataRegistroTransacao>
<ans:horaRegistroTransacao>10:00:00</ans:horaRegistroTransacao>
</ans:identificacaoTransacao>
<ans:origem>
<ans:identificacaoPrestador>
<ans:codigoPrestadorNaOperadora>{escape(provider)}</ans:codigoPrestadorNaOperadora>
</ans:identificacaoPrestador>
</ans:origem>
<ans:destino>
<ans:registroANS>{registry}</ans:registroANS>
</ans:destino>
<ans:Padrao>{version}</ans:Padrao>
</ans:cabecalho>
<ans:prestadorParaOperadora>
<ans:loteGuias>
<ans:numeroLote>{number}</ans:numeroLote>
<ans:guiasTISS>
{guides}</ans:guiasTISS>
</ans:loteGuias>
</ans:prestadorParaOperadora>
<ans:epilogo>
<ans:hash></ans:hash>
</ans:epilogo>
</ans:mensagemTISS>
"""


_PROFESSIONAL = """\
<ans:nomeProfissional>PROFISSIONAL SINTÉTICO</ans:nomeProfissional>
<ans:conselhoProfissional>06</ans:conselhoProfissional>
<ans:numeroConselhoProfissional>00000</ans:numeroConselhoProfissional>
<ans:UF>35</ans:UF>
<ans:CBOS>225125</ans:CBOS>
"""


def _sadt_guide(guide: Guide, registry: str, provider: str, attendance: str) -> str:
    total = sum((line.total for line in guide.procedures), Decimal(0))
    lines = "".join(_procedure(number, line) for number, line in enumerate(guide.procedures, 1))
    return f"""\
<ans:guiaSP-SADT>
<ans:cabecalhoGuia>
<ans:registroANS>{registry}</ans:registroANS>
<ans:numeroGuiaPrestador>{escape(guide.number)}</ans:numeroGuiaPrestador>
</ans:cabecalhoGuia>
<ans:dadosBeneficiario>
<ans:numeroCarteira>{guide.card}</ans:numeroCarteira>
<ans:atendimentoRN>N</ans:atendimentoRN>
</ans:dadosBeneficiario>
<ans:dadosSolicitante>
<ans:contratadoSolicitante>
<ans:codigoPrestadorNaOperadora>{escape(provider)}</ans:codigoPrestadorNaOperadora>
</ans:contratadoSolicitante>
<ans:nomeContratadoSolicitante>CLÍNICA SINTÉTICA</ans:nomeContratadoSolicitante>
<ans:profissionalSolicitante>
{_PROFESSIONAL}</ans:profissionalSolicitante>
</ans:dadosSolicitante>
<ans:dadosSolicitacao>
<ans:dataSolicitacao>2026-10-01</ans:dataSolicitacao>
<ans:caraterAtendimento>1</ans:caraterAtendimento>
<ans:indicacaoClinica>Avaliação &amp; controle</ans:indicacaoClinica>
</ans:dadosSolicitacao>
<ans:dadosExecutante>
<ans:contratadoExecutante>
<ans:codigoPrestadorNaOperadora>{escape(provider)}</ans:codigoPrestadorNaOperadora>
</ans:contratadoExecutante>
<ans:CNES>9999999</ans:CNES>
</ans:dadosExecutante>
<ans:dadosAtendimento>
<ans:tipoAtendimento>{attendance}</ans:tipoAtendimento>
<ans:indicacaoAcidente>9</ans:indicacaoAcidente>
<ans:regimeAtendimento>01</ans:regimeAtendimento>
</ans:dadosAtendimento>
<ans:procedimentosExecutados>
{lines}</ans:procedimentosExecutados>
<ans:valorTotal>
<ans:valorProcedimentos>{total}</ans:valorProcedimentos>
<ans:valorTotalGeral>{total}</ans:valorTotalGeral>
</ans:valorTotal>
</ans:guiaSP-SADT>
"""


def _procedure(number: int, line: Procedure) -> str:
    return f"""\
<ans:procedimentoExecutado>
<ans:sequencialItem>{number}</ans:sequencialItem>
<ans:dataExecucao>2026-10-02</ans:dataExecucao>
<ans:procedimento>
<ans:codigoTabela>22</ans:codigoTabela>
<ans:codigoProcedimento>{line.code}</ans:codigoProcedimento>
<ans:descricaoProcedimento>EXAME SINTÉTICO</ans:descricaoProcedimento>
</ans:procedimento>
<ans:quantidadeExecutada>{line.quantity}</ans:quantidadeExecutada>
<ans:reducaoAcrescimo>1.00</ans:reducaoAcrescimo>
<ans:valorUnitario>{line.unit_price}</ans:valorUnitario>
<ans:valorTotal>{line.total}</ans:valorTotal>
</ans:procedimentoExecutado>
"""


def _consultation(number: str, registry: str, provider: str) -> str:
    return f"""\
<ans:guiaConsulta>
<ans:cabecalhoConsulta>
<ans:registroANS>{registry}</ans:registroANS>
<ans:numeroGuiaPrestador>{escape(number)}</ans:numeroGuiaPrestador>
</ans:cabecalhoConsulta>
<ans:dadosBeneficiario>
<ans:numeroCarteira>00000000000000001</ans:numeroCarteira>
<ans:atendimentoRN>N</ans:atendimentoRN>
</ans:dadosBeneficiario>
<ans:contratadoExecutante>
<ans:codigoPrestadorNaOperadora>{escape(provider)}</ans:codigoPrestadorNaOperadora>
<ans:CNES>9999999</ans:CNES>
</ans:contratadoExecutante>
<ans:profissionalExecutante>
{_PROFESSIONAL}</ans:profissionalExecutante>
<ans:indicacaoAcidente>9</ans:indicacaoAcidente>
<ans:dadosAtendimento>
<ans:regimeAtendimento>01</ans:regimeAtendimento>
<ans:dataAtendimento>2026-10-02</ans:dataAtendimento>
<ans:tipoConsulta>1</ans:tipoConsulta>
<ans:procedimento>
<ans:codigoTabela>22</ans:codigoTabela>
<ans:codigoProcedimento>10101012</ans:codigoProcedimento>
<ans:valorProcedimento>100.00</ans:valorProcedimento>
</ans:procedimento>
</ans:dadosAtendimento>
<ans:observacao>observação sintética</ans:observacao>
</ans:guiaConsulta>
"""
