"""What the sandbox's operator keeps of a lot that it takes."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from lxml import etree

from hat_etl.sandbox.operator.course import Guide, Item

_ITEMS = ("procedimentoExecutado", "procedimentoRealizado", "servicosExecutados", "procedimentosExecutados")


def guides(lot: etree._Element) -> tuple[Guide, ...]:
    """The guides of a ``loteGuias`` that is valid."""
    return tuple(_guide(guide) for guide in lot.iterfind("{*}guiasTISS/{*}*"))


def _guide(guide: etree._Element) -> Guide:
    items = tuple(_items(guide))
    return Guide(
        number=_first(guide, "numeroGuiaPrestador"),
        card=_first(guide, "numeroCarteira"),
        newborn=_first(guide, "atendimentoRN") or "N",
        total=sum((item.total for item in items), Decimal(0)),
        items=items,
    )


def _items(guide: etree._Element) -> Iterator[Item]:
    single = _first(guide, "valorProcedimento")
    if single:
        yield _item(guide, "1", single)
        return
    for name in _ITEMS:
        for line in guide.iter(f"{{*}}{name}"):
            total = _child(line, "valorTotal") or _child(line, "valorProc")
            if total:
                parent = line.getparent()
                sequence = _child(line, "sequencialItem") or (
                    _child(parent, "sequencialItem") if parent is not None else ""
                )
                yield _item(line, sequence or "1", total)


def _item(line: etree._Element, sequence: str, total: str) -> Item:
    done_on = _first(line, "dataExecucao") or _first(line, "dataRealizacao") or _first(line, "dataAtendimento")
    return Item(sequence, _first(line, "codigoTabela"), _first(line, "codigoProcedimento"), done_on, _amount(total))


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Decimal(0)


def _first(element: etree._Element, name: str) -> str:
    return next(((found.text or "").strip() for found in element.iter(f"{{*}}{name}")), "")


def _child(element: etree._Element, name: str) -> str:
    return (element.findtext(f"{{*}}{name}") or "").strip()
