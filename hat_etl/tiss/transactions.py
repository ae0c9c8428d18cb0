"""The transactions of the standard: which body and which direction each type of transaction has.

Read from the schemas (``tissV*.xsd`` for files, ``tissWebServicesV*.xsd`` for web services), which do not tie the
three together themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["prestadorParaOperadora", "operadoraParaPrestador"]

LOT = "ENVIO_LOTE_GUIAS"


@dataclass(frozen=True)
class Transaction:
    """One type: the body in a file, and the root of the web service message that carries the same."""

    direction: Direction
    body: str
    root: str


_TO_OPERATOR = {
    LOT: ("loteGuias", "loteGuiasWS"),
    "ENVIO_ANEXO": ("loteAnexos", "loteAnexoWS"),
    "SOLIC_DEMONSTRATIVO_RETORNO": ("solicitacaoDemonstrativoRetorno", "solicitacaoDemonstrativoRetornoWS"),
    "SOLIC_STATUS_PROTOCOLO": ("solicitacaoStatusProtocolo", "solicitacaoStatusProtocoloWS"),
    "SOLICITACAO_PROCEDIMENTOS": ("solicitacaoProcedimento", "solicitacaoProcedimentoWS"),
    "SOLICITA_STATUS_AUTORIZACAO": ("solicitaStatusAutorizacao", "solicitacaoStatusAutorizacaoWS"),
    "VERIFICA_ELEGIBILIDADE": ("verificaElegibilidade", "pedidoElegibilidadeWS"),
    "CANCELA_GUIA": ("cancelaGuia", "cancelaGuiaWS"),
    "COMUNICACAO_BENEFICIARIO": ("comunicacaoInternacao", "comunicacaoBeneficiarioWS"),
    "RECURSO_GLOSA": ("recursoGlosa", "loteRecursoGlosaWS"),
    "SOLIC_STATUS_RECURSO_GLOSA": ("solicitacaoStatusRecursoGlosa", "solicitacaoStatusRecursoGlosaWS"),
    "ENVIO_DOCUMENTO": ("envioDocumentos", "envioDocumentoWS"),
}
_TO_PROVIDER = {
    "PROTOCOLO_RECEBIMENTO": ("recebimentoLote", "protocoloRecebimentoWS"),
    "PROTOCOLO_RECEBIMENTO_ANEXO": ("recebimentoAnexo", "protocoloRecebimentoAnexoWS"),
    "RECEBIMENTO_RECURSO_GLOSA": ("recebimentoRecursoGlosa", "protocoloRecebimentoRecursoWS"),
    "DEMONSTRATIVO_ANALISE_CONTA": ("demonstrativosRetorno", "demonstrativoRetornoWS"),
    "DEMONSTRATIVO_PAGAMENTO": ("demonstrativosRetorno", "demonstrativoRetornoWS"),
    "DEMONSTRATIVO_ODONTOLOGIA": ("demonstrativosRetorno", "demonstrativoRetornoWS"),
    "SITUACAO_PROTOCOLO": ("situacaoProtocolo", "situacaoProtocoloWS"),
    "RESPOSTA_SOLICITACAO": ("autorizacaoServicos", "autorizacaoProcedimentoWS"),
    "AUTORIZACAO_ODONTOLOGIA": ("autorizacaoServicos", "autorizacaoProcedimentoWS"),
    "STATUS_AUTORIZACAO": ("situacaoAutorizacao", "situacaoAutorizacaoWS"),
    "SITUACAO_ELEGIBILIDADE": ("respostaElegibilidade", "respostaElegibilidadeWS"),
    "CANCELAMENTO_GUIA_RECIBO": ("reciboCancelaGuia", "reciboCancelaGuiaWS"),
    "RECIBO_COMUNICACAO": ("reciboComunicacao", "reciboComunicacaoWS"),
    "RESPOSTA_RECURSO_GLOSA": ("respostaRecursoGlosa", "situacaoProtocoloRecursoWS"),
    "RECEBIMENTO_DOCUMENTO": ("recebimentoDocumentos", "reciboDocumentosWS"),
}

TRANSACTIONS: dict[str, Transaction] = {
    **{kind: Transaction("prestadorParaOperadora", *names) for kind, names in _TO_OPERATOR.items()},
    **{kind: Transaction("operadoraParaPrestador", *names) for kind, names in _TO_PROVIDER.items()},
}

FILE_ROOT = "mensagemTISS"
FAULT_ROOT = "tissFaultWS"
"""Has neither header nor hash."""
WS_DIRECTIONS: dict[str, Direction] = {of.root: of.direction for of in TRANSACTIONS.values()}
"""The direction of each web service message."""
