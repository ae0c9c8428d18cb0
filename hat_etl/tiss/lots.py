"""A lot of guides: its identity, its guides, and the sums that the schemas do not check."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from lxml import etree

from hat_etl.tiss.document import find, find_all, local, locate, text, texts
from hat_etl.tiss.findings import Draft, Lot

MAX_GUIDES = 100
GUIDE_TYPES = ("guiaSP-SADT", "guiaResumoInternacao", "guiaHonorarios", "guiaConsulta", "guiaOdonto")

CENT = Decimal("0.01")
_NUMBER = re.compile(r"[+-]?(\d{1,20}(\.\d{0,10})?|\.\d{1,10})")

_EXPENSES = {
    "01": "valorGasesMedicinais",
    "02": "valorMedicamentos",
    "03": "valorMateriais",
    "05": "valorDiarias",
    "07": "valorTaxasAlugueis",
    "08": "valorOPME",
}
"""codigoDespesa (terminology table 25) and the part of the guide's total that it goes into."""
_PARTS = ("valorProcedimentos", *_EXPENSES.values())


@dataclass(frozen=True)
class _Item:
    """A line of a guide that has a value."""

    element: etree._Element
    sequence: str | None
    quantity: Decimal | None
    factor: Decimal
    unit_price: Decimal | None
    total: Decimal | None
    part: str


def facts(message: etree._Element, lot: etree._Element) -> Lot:
    """What a lot message says of itself."""
    origin = find(message, "cabecalho/origem/identificacaoPrestador")
    provider = origin[0] if origin is not None and len(origin) else None
    kind = local(provider) if provider is not None else None
    guides = guides_of(lot)
    types = {local(guide) for guide in guides}
    return Lot(
        number=text(lot, "numeroLote"),
        registry=text(message, "cabecalho/destino/registroANS"),
        provider_kind=kind if kind in ("CNPJ", "CPF", "codigoPrestadorNaOperadora") else None,  # type: ignore[arg-type]
        provider=(provider.text or "").strip() or None if provider is not None else None,
        guide_type=types.pop() if len(types) == 1 else None,
        guides=len(guides),
        total=sum((stated_total(guide) or Decimal(0) for guide in guides), Decimal(0)),
    )


def guides_of(lot: etree._Element) -> list[etree._Element]:
    """The guides of a ``loteGuias``."""
    box = find(lot, "guiasTISS")
    return [] if box is None else [guide for guide in box if local(guide) in GUIDE_TYPES]


def check(message: etree._Element, lot: etree._Element) -> Iterator[Draft]:
    """Findings about a lot and each of its guides."""
    if text(lot, "numeroLote") is None:
        yield _at("lote.sem_numero", lot, "O lote não tem número.")
    guides = guides_of(lot)
    if not guides:
        yield _at("lote.sem_guias", lot, "O lote não tem guias.")
    types = sorted({local(guide) for guide in guides})
    if len(types) > 1:
        yield _at("lote.tipos_misturados", lot, f"O lote mistura guias de tipos diferentes: {', '.join(types)}.")
    if len(guides) > MAX_GUIDES:
        yield _at("lote.excesso_de_guias", lot, f"O lote tem {len(guides)} guias; o máximo é {MAX_GUIDES}.")
    destination = text(message, "cabecalho/destino/registroANS")
    numbers: dict[str, int] = {}
    for position, guide in enumerate(guides, 1):
        yield from _identity(guide, position, destination, numbers)
        yield from _values(guide)


def _at(code: str, element: etree._Element, message: str) -> Draft:
    return Draft(code, partial(locate, element), message)


def _header(guide: etree._Element) -> etree._Element:
    """Where a guide has its registry and number; a dental guide has them itself."""
    for name in ("cabecalhoGuia", "cabecalhoConsulta"):
        found = find(guide, name)
        if found is not None:
            return found
    return guide


def _identity(
    guide: etree._Element, position: int, destination: str | None, numbers: dict[str, int]
) -> Iterator[Draft]:
    header = _header(guide)
    registry = text(header, "registroANS")
    if registry is not None and destination is not None and registry != destination:
        message = "O registro ANS da guia não é o do destino da mensagem."
        yield _at("guia.outra_operadora", guide, message)
    number = text(header, "numeroGuiaPrestador")
    if number is None:
        return
    first = numbers.setdefault(number, position)
    if first != position:
        message = f"O numeroGuiaPrestador desta guia (a {position}ª) já está na {first}ª guia do lote."
        yield _at("lote.guia_duplicada", guide, message)


def _values(guide: etree._Element) -> Iterator[Draft]:
    kind = local(guide)
    if kind == "guiaConsulta":
        return
    items = list(_items(guide, kind))
    if not items:
        yield _at("guia.sem_itens", guide, "A guia não tem procedimentos nem despesas.")
    yield from _repeated(items)
    for item in items:
        yield from _product(item)
    if kind in ("guiaSP-SADT", "guiaResumoInternacao"):
        yield from _parts(guide, items)
    else:
        yield from _plain_total(guide, items)


def _items(guide: etree._Element, kind: str) -> Iterator[_Item]:
    if kind == "guiaOdonto":
        for line in find_all(guide, "procedimentosExecutados"):
            said = texts(line)
            quantity, total = _number(said.get("qtdProc")), _number(said.get("valorProc"))
            yield _Item(line, said.get("sequencialItem"), quantity, Decimal(1), None, total, "")
        return
    honorary = kind == "guiaHonorarios"
    path = (
        "procedimentosRealizados/procedimentoRealizado" if honorary else "procedimentosExecutados/procedimentoExecutado"
    )
    for line in find_all(guide, path):
        yield _item(line, line, "valorProcedimentos")
    for line in find_all(guide, "outrasDespesas/despesa"):
        service = find(line, "servicosExecutados")
        part = _EXPENSES.get(text(line, "codigoDespesa") or "", "")
        yield _item(line, line if service is None else service, part)


def _item(line: etree._Element, values: etree._Element, part: str) -> _Item:
    said = texts(values)
    factor = _number(said.get("reducaoAcrescimo"))
    return _Item(
        element=line,
        sequence=said.get("sequencialItem") if values is line else text(line, "sequencialItem"),
        quantity=_number(said.get("quantidadeExecutada")),
        factor=Decimal(1) if factor is None else factor,
        unit_price=_number(said.get("valorUnitario")),
        total=_number(said.get("valorTotal")),
        part=part,
    )


def _number(text: str | None) -> Decimal | None:
    """A number; None when absent, or not a number, which the schema reports."""
    return Decimal(text) if text is not None and _NUMBER.fullmatch(text) else None


def _repeated(items: list[_Item]) -> Iterator[Draft]:
    """Sequence numbers that come twice; procedures and other expenses are numbered each for themselves."""
    seen: set[tuple[str, str]] = set()
    for item in items:
        if item.sequence is None:
            continue
        key = (local(item.element), item.sequence.lstrip("0"))
        if key in seen:
            yield _at("item.sequencial_duplicado", item.element, "O sequencialItem já foi usado nesta guia.")
        seen.add(key)


def _product(item: _Item) -> Iterator[Draft]:
    """Quantity x unit price, with or without the factor, which some senders have put into the unit price already.

    A cent of difference comes from rounding and is not reported.
    """
    if item.quantity is None or item.unit_price is None or item.total is None:
        return
    plain = item.quantity * item.unit_price
    if min(abs(plain * item.factor - item.total), abs(plain - item.total)) > CENT:
        yield _at(
            "item.valor_divergente",
            item.element,
            f"O valorTotal do item é {item.total}, mas quantidade x valor unitário x fator dá"
            f" {(plain * item.factor).quantize(CENT)}.",
        )


def _parts(guide: etree._Element, items: list[_Item]) -> Iterator[Draft]:
    """The parts of the total against the items, and the grand total against items and parts. Parts may be left out."""
    total = find(guide, "valorTotal")
    if total is None:
        return
    told = {name: _number(said) for name, said in texts(total).items()}
    parts = {name: told[name] or Decimal(0) for name in _PARTS if name in told}
    grand = told.get("valorTotalGeral")
    whole = all(item.total is not None for item in items)
    if whole and all(item.part for item in items):
        for part, said in parts.items():
            summed = _sum(item for item in items if item.part == part)
            if said != summed:
                message = f"{part} é {said}, mas a soma dos itens dá {summed}."
                yield _at("guia.parcela_divergente", total, message)
    if grand is None:
        return
    if whole and grand != _sum(items):
        message = f"valorTotalGeral é {grand}, mas a soma dos itens dá {_sum(items)}."
        yield _at("guia.total_divergente", total, message)
    elif parts and grand != sum(parts.values()):
        message = f"valorTotalGeral é {grand}, mas a soma das parcelas dá {sum(parts.values())}."
        yield _at("guia.total_divergente", total, message)


def _sum(items: Iterable[_Item]) -> Decimal:
    return sum((item.total for item in items if item.total is not None), Decimal(0))


_PLAIN_TOTALS = {"guiaHonorarios": "valorTotalHonorarios", "guiaOdonto": "valorTotalProc"}


def _plain_total(guide: etree._Element, items: list[_Item]) -> Iterator[Draft]:
    """One total over all items. A dental value may be that of one procedure or of all: either is taken."""
    name = _PLAIN_TOTALS[local(guide)]
    said = _number(text(guide, name))
    if said is None or any(item.total is None for item in items):
        return
    summed = _sum(items)
    multiplied = sum((item.total * (item.quantity or 1) for item in items if item.total is not None), Decimal(0))
    if said != summed and not (local(guide) == "guiaOdonto" and said == multiplied):
        message = f"{name} é {said}, mas a soma dos itens dá {summed}."
        yield _at("guia.total_divergente", guide, message)


def stated_total(guide: etree._Element) -> Decimal | None:
    """The total that a guide states, in reais."""
    paths = {
        "guiaConsulta": "dadosAtendimento/procedimento/valorProcedimento",
        "guiaHonorarios": "valorTotalHonorarios",
        "guiaOdonto": "valorTotalProc",
    }
    return _number(text(guide, paths.get(local(guide), "valorTotal/valorTotalGeral")))
