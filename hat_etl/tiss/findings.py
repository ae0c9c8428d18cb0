"""What a check says of a TISS message: findings with stable codes, and the report that holds them.

A message names places and amounts, and never repeats what a personal field holds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

Severity = Literal["error", "warning"]
HashEncoding = Literal["iso-8859-1", "utf-8", "both", "none"]
"""In which encoding of the texts the hash of a message is right."""

PER_CODE = 50
"""Findings of one code that a report holds; the rest are counted in one more."""


@dataclass(frozen=True)
class Rule:
    """What lies behind a code: how grave it is, and the message of ANS's Tabela 38 that says it, if any."""

    severity: Severity
    ans: str | None
    title: str
    """Short, in pt-BR."""


RULES: dict[str, Rule] = {
    "xml.vazio": Rule("error", "5002", "Arquivo vazio"),
    "xml.tamanho": Rule("error", "5002", "Arquivo grande demais"),
    "xml.bomba": Rule("error", "5002", "Elementos ou atributos demais"),
    "xml.doctype": Rule("error", "5001", "DOCTYPE não permitido"),
    "xml.entidade": Rule("error", "5002", "Entidade não declarada"),
    "xml.truncado": Rule("error", "5010", "Arquivo truncado"),
    "xml.malformado": Rule("error", "5002", "XML malformado"),
    "encoding.nao_suportado": Rule("error", "5001", "Codificação não suportada"),
    "encoding.bytes_invalidos": Rule("error", "5001", "Bytes que não são da codificação declarada"),
    "encoding.utf8_como_iso": Rule("error", "5001", "UTF-8 declarado como outra codificação"),
    "encoding.cp1252": Rule("error", "5001", "Caracteres do Windows-1252 declarados como ISO-8859-1"),
    "encoding.bom_contraditorio": Rule("error", "5001", "BOM de UTF-8 contradiz a codificação declarada"),
    "encoding.bom": Rule("warning", None, "Arquivo começa com BOM"),
    "encoding.incomum": Rule("warning", None, "Codificação incomum"),
    "raiz.desconhecida": Rule("error", "5001", "Elemento raiz não é do padrão TISS"),
    "raiz.envelope_soap": Rule("warning", None, "Mensagem dentro de envelope SOAP"),
    "raiz.nao_e_lote": Rule("error", "5007", "A mensagem não é um lote de guias"),
    "prefixo.incomum": Rule("warning", None, "Prefixo de namespace incomum"),
    "versao.ausente": Rule("error", "5028", "Versão do padrão não informada"),
    "versao.invalida": Rule("error", "5028", "Versão do padrão inválida"),
    "versao.sem_esquema": Rule("error", "5028", "Esquema desta versão não instalado"),
    "xsd.elemento": Rule("error", "5001", "Elemento inesperado ou ausente"),
    "xsd.dominio": Rule("error", "5001", "Valor fora do domínio"),
    "xsd.formato": Rule("error", "5001", "Valor fora do formato"),
    "xsd.tamanho": Rule("error", "5001", "Tamanho inválido"),
    "xsd.tipo": Rule("error", "5001", "Tipo de dado inválido"),
    "xsd.atributo": Rule("error", "5001", "Atributo inválido"),
    "xsd.outro": Rule("error", "5001", "O esquema recusa"),
    "transacao.tipo_desconhecido": Rule("error", "5007", "Tipo de transação desconhecido"),
    "transacao.corpo_divergente": Rule("error", "5007", "Corpo não é o do tipo de transação"),
    "transacao.direcao": Rule("error", "5007", "Sentido da mensagem não é o do tipo de transação"),
    "corpo.vazio": Rule("error", "5007", "Mensagem sem corpo"),
    "origem.invalida": Rule("error", "5005", "Origem não é a que o sentido da mensagem pede"),
    "destino.invalido": Rule("error", "5006", "Destino não é o que o sentido da mensagem pede"),
    "destino.outra_operadora": Rule("error", "5027", "Destinada a outra operadora"),
    "lote.sem_numero": Rule("error", "5047", "Lote sem número"),
    "lote.sem_guias": Rule("error", "5007", "Lote sem guias"),
    "lote.tipos_misturados": Rule("error", "5007", "Guias de tipos diferentes no mesmo lote"),
    "lote.excesso_de_guias": Rule("error", "5015", "Mais de 100 guias"),
    "lote.guia_duplicada": Rule("error", "5053", "Número de guia repetido no lote"),
    "guia.outra_operadora": Rule("error", "5027", "Guia de outra operadora"),
    "guia.sem_itens": Rule("warning", None, "Guia sem procedimentos nem despesas"),
    "guia.total_divergente": Rule("error", "5042", "Total da guia não confere"),
    "guia.parcela_divergente": Rule("error", "5042", "Parcela do total da guia não confere"),
    "item.valor_divergente": Rule("error", "5050", "Total do item não confere"),
    "item.sequencial_duplicado": Rule("error", "5053", "Sequencial de item repetido na guia"),
    "hash.ausente": Rule("error", "5014", "Hash ausente"),
    "hash.divergente": Rule("error", "5014", "Hash não confere"),
    "hash.utf8": Rule("warning", None, "Hash calculado sobre UTF-8"),
    "achados.omitidos": Rule("warning", None, "Mais achados do mesmo código"),
}
"""Every code there is. Codes are stable: other programs and HAT's rejection causes refer to them."""

WHOLE = "arquivo"
"""Where a finding is that concerns the message as a whole."""


@dataclass(frozen=True)
class Finding:
    """One finding. ``where`` is a path of element names with the line, or ``arquivo``; ``message`` is in pt-BR."""

    code: str
    where: str
    message: str

    @property
    def severity(self) -> Severity:
        """``error`` refuses the message, ``warning`` does not."""
        return RULES[self.code].severity

    @property
    def ans(self) -> str | None:
        """The code of Tabela 38 that says the same to a provider."""
        return RULES[self.code].ans

    def as_dict(self) -> dict[str, str]:
        """The finding as it stands in ``--json`` output."""
        return {"code": self.code, "severity": self.severity, "where": self.where, "message": self.message}


@dataclass(frozen=True)
class Lot:
    """What a lot message says of itself, as far as it could be read."""

    number: str | None
    registry: str | None
    """The operator's registration with ANS, 6 digits."""
    provider_kind: Literal["CNPJ", "CPF", "codigoPrestadorNaOperadora"] | None
    provider: str | None = field(repr=False)
    """A person's CPF it may be: not shown."""
    guide_type: str | None
    """Element name of the guides; None when there is none or more than one type."""
    guides: int
    total: Decimal
    """Sum of the totals of the guides, in reais."""


@dataclass(frozen=True)
class Report:
    """The verdict on one message."""

    version: str | None
    """``Padrao`` as written, e.g. ``4.03.00``; None when absent or not of that shape."""
    xsd_valid: bool | None
    """None when the schema of the version is not installed, so that nobody can say."""
    hash: HashEncoding
    findings: tuple[Finding, ...]
    lot: Lot | None = None

    @property
    def accepted(self) -> bool:
        """Whether nothing speaks against handing the message on."""
        return self.xsd_valid is True and not any(finding.severity == "error" for finding in self.findings)

    def as_dict(self) -> dict[str, object]:
        """The report as it stands in ``--json`` output, without the name of the file."""
        return {
            "version": self.version,
            "accepted": self.accepted,
            "xsd_valid": self.xsd_valid,
            "hash": self.hash,
            "findings": [finding.as_dict() for finding in self.findings],
        }


@dataclass(frozen=True)
class Draft:
    """A finding whose place is still to be told: that costs, and only the first ones of a code are told."""

    code: str
    place: Callable[[], str]
    message: str

    def told(self) -> Finding:
        """The finding with its place."""
        return Finding(self.code, self.place(), self.message)


def limited(findings: Iterable[Finding | Draft]) -> tuple[Finding, ...]:
    """The findings, at most ``PER_CODE`` of a code; what is left out is counted in a finding of its own."""
    seen: Counter[str] = Counter()
    kept: list[Finding] = []
    for finding in findings:
        seen[finding.code] += 1
        if seen[finding.code] <= PER_CODE:
            kept.append(finding.told() if isinstance(finding, Draft) else finding)
    kept += [
        Finding("achados.omitidos", WHOLE, f"Há pelo menos mais {number - PER_CODE} achados do código {code}.")
        for code, number in seen.items()
        if number > PER_CODE
    ]
    return tuple(kept)
