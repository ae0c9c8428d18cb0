"""TISS lots as providers make them: valid ones of two guide types, and ones with a known fault. All names are invented.

The same recipe gives the same bytes, so that a server need not keep them.
"""

from __future__ import annotations

import hashlib
import html
import random
import re
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict

Kind = Literal[
    "consulta", "sadt", "wrong_hash", "too_many", "other_operator", "repeated_guide", "broken_xml", "doctype",
]  # fmt: skip
GOOD: tuple[Kind, ...] = ("consulta", "sadt")

_MOST_GUIDES = 100
"""More are refused by the standard."""
_FIRST_DAY = date(2026, 10, 1)
_SEEN = ("CONTROLE", "AVALIAÇÃO", "RETORNO", "DOR LOMBAR & CERVICAL", "EXAME DE ROTINA")
_TAG = re.compile(r"<[^>]+>")


class Recipe(BaseModel):
    """What a lot is made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    registry: str
    provider: str
    number: str
    """numeroLote: at most 12 digits, the provider's own."""
    guides: int = 2
    kind: Kind = "consulta"
    version: str = "4.03.00"
    seed: int = 0


def make(recipe: Recipe) -> bytes:
    """The file, in ISO-8859-1."""
    dice = random.Random(f"{recipe.seed} {recipe.provider} {recipe.number}")
    count = _MOST_GUIDES + 1 if recipe.kind == "too_many" else recipe.guides
    make_guide = _sadt if recipe.kind == "sadt" else _consulta
    registry = "999999" if recipe.kind == "other_operator" else recipe.registry
    numbers = [f"{recipe.number.zfill(8)}{i:04d}" for i in range(1, count + 1)]
    if recipe.kind == "repeated_guide":
        numbers[-1] = numbers[0]
    guides = "".join(make_guide(recipe.provider, registry, number, dice) for number in numbers)
    body = _head(recipe, registry) + (
        f"<ans:prestadorParaOperadora><ans:loteGuias><ans:numeroLote>{recipe.number}</ans:numeroLote>"
        f"<ans:guiasTISS>{guides}</ans:guiasTISS></ans:loteGuias></ans:prestadorParaOperadora>"
    )
    digest = hash_of(body) if recipe.kind != "wrong_hash" else "0" * 32
    doctype = '<!DOCTYPE a [<!ENTITY b "c">]>' if recipe.kind == "doctype" else ""
    text = (
        f'<?xml version="1.0" encoding="ISO-8859-1"?>{doctype}'
        f'<ans:mensagemTISS xmlns:ans="http://www.ans.gov.br/padroes/tiss/schemas">{body}'
        f"<ans:epilogo><ans:hash>{digest}</ans:hash></ans:epilogo></ans:mensagemTISS>"
    )
    content = text.encode("iso-8859-1")
    return content[: len(content) * 2 // 3] if recipe.kind == "broken_xml" else content


def hash_of(body: str) -> str:
    """MD5 over the texts of the elements, one after the other, in ISO-8859-1."""
    texts = html.unescape(_TAG.sub("", body))
    return hashlib.md5(texts.encode("iso-8859-1"), usedforsecurity=False).hexdigest()


def _leaf(name: str, value: object) -> str:
    return f"<ans:{name}>{html.escape(str(value), quote=False)}</ans:{name}>"


def _head(recipe: Recipe, registry: str) -> str:
    return (
        "<ans:cabecalho><ans:identificacaoTransacao>"
        + _leaf("tipoTransacao", "ENVIO_LOTE_GUIAS")
        + _leaf("sequencialTransacao", recipe.number)
        + _leaf("dataRegistroTransacao", "2026-11-03")
        + _leaf("horaRegistroTransacao", "08:30:00")
        + "</ans:identificacaoTransacao><ans:origem><ans:identificacaoPrestador>"
        + _leaf("codigoPrestadorNaOperadora", recipe.provider)
        + "</ans:identificacaoPrestador></ans:origem><ans:destino>"
        + _leaf("registroANS", registry)
        + "</ans:destino>"
        + _leaf("Padrao", recipe.version)
        + "</ans:cabecalho>"
    )


def _beneficiary(dice: random.Random) -> str:
    return (
        "<ans:dadosBeneficiario>"
        + _leaf("numeroCarteira", f"{dice.randrange(10**17):017d}")
        + _leaf("atendimentoRN", "N")
        + "</ans:dadosBeneficiario>"
    )


_PROFESSIONAL = (
    _leaf("conselhoProfissional", "06")
    + _leaf("numeroConselhoProfissional", "12345")
    + _leaf("UF", "35")
    + _leaf("CBOS", "225125")
)


def _consulta(provider: str, registry: str, number: str, dice: random.Random) -> str:
    return (
        "<ans:guiaConsulta><ans:cabecalhoConsulta>"
        + _leaf("registroANS", registry)
        + _leaf("numeroGuiaPrestador", number)
        + "</ans:cabecalhoConsulta>"
        + _beneficiary(dice)
        + "<ans:contratadoExecutante>"
        + _leaf("codigoPrestadorNaOperadora", provider)
        + _leaf("CNES", "9999999")
        + "</ans:contratadoExecutante><ans:profissionalExecutante>"
        + _PROFESSIONAL
        + "</ans:profissionalExecutante>"
        + _leaf("indicacaoAcidente", 9)
        + "<ans:dadosAtendimento>"
        + _leaf("regimeAtendimento", "01")
        + _leaf("dataAtendimento", _FIRST_DAY + timedelta(days=dice.randrange(30)))
        + _leaf("tipoConsulta", 1)
        + "<ans:procedimento>"
        + _leaf("codigoTabela", 22)
        + _leaf("codigoProcedimento", "10101012")
        + _leaf("valorProcedimento", f"{dice.randrange(8000, 30000) / 100:.2f}")
        + "</ans:procedimento></ans:dadosAtendimento>"
        + _leaf("observacao", dice.choice(_SEEN))
        + "</ans:guiaConsulta>"
    )


def _sadt(provider: str, registry: str, number: str, dice: random.Random) -> str:
    unit, quantity = Decimal(dice.randrange(1000, 20000)) / 100, dice.randrange(1, 4)
    total = unit * quantity
    day = _FIRST_DAY + timedelta(days=dice.randrange(30))
    contracted = _leaf("codigoPrestadorNaOperadora", provider)
    return (
        "<ans:guiaSP-SADT><ans:cabecalhoGuia>"
        + _leaf("registroANS", registry)
        + _leaf("numeroGuiaPrestador", number)
        + "</ans:cabecalhoGuia>"
        + _beneficiary(dice)
        + f"<ans:dadosSolicitante><ans:contratadoSolicitante>{contracted}</ans:contratadoSolicitante>"
        + _leaf("nomeContratadoSolicitante", "CLÍNICA DO EXEMPLO")
        + f"<ans:profissionalSolicitante>{_PROFESSIONAL}</ans:profissionalSolicitante></ans:dadosSolicitante>"
        + "<ans:dadosSolicitacao>"
        + _leaf("dataSolicitacao", day)
        + _leaf("caraterAtendimento", 1)
        + _leaf("indicacaoClinica", dice.choice(_SEEN))
        + f"</ans:dadosSolicitacao><ans:dadosExecutante><ans:contratadoExecutante>{contracted}"
        + "</ans:contratadoExecutante>"
        + _leaf("CNES", "9999999")
        + "</ans:dadosExecutante><ans:dadosAtendimento>"
        + _leaf("tipoAtendimento", "23")
        + _leaf("indicacaoAcidente", 9)
        + _leaf("regimeAtendimento", "01")
        + "</ans:dadosAtendimento><ans:procedimentosExecutados><ans:procedimentoExecutado>"
        + _leaf("sequencialItem", 1)
        + _leaf("dataExecucao", day)
        + "<ans:procedimento>"
        + _leaf("codigoTabela", 22)
        + _leaf("codigoProcedimento", "40304361")
        + _leaf("descricaoProcedimento", "HEMOGRAMA COM CONTAGEM DE PLAQUETAS")
        + "</ans:procedimento>"
        + _leaf("quantidadeExecutada", quantity)
        + _leaf("reducaoAcrescimo", "1.00")
        + _leaf("valorUnitario", f"{unit:.2f}")
        + _leaf("valorTotal", f"{total:.2f}")
        + "</ans:procedimentoExecutado></ans:procedimentosExecutados><ans:valorTotal>"
        + _leaf("valorProcedimentos", f"{total:.2f}")
        + _leaf("valorTotalGeral", f"{total:.2f}")
        + "</ans:valorTotal></ans:guiaSP-SADT>"
    )
