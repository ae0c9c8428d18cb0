"""What the sandbox's operator keeps of a lot that it takes."""

from __future__ import annotations

from decimal import Decimal

from lxml import etree

from hat_etl.sandbox.operator.course import Guide, Item
from hat_etl.tiss.document import NS, local


def guides(lot: etree._Element) -> tuple[Guide, ...]:
    """The guides of a ``loteGuias`` that is valid."""
    return tuple(_guide(guide) for guide in lot.iterfind("{*}guiasTISS/{*}*"))


def _guide(guide: etree._Element) -> Guide:
    said = _said(guide)
    single = said.get("valorProcedimento")
    if single:
        items: tuple[Item, ...] = (_item(said, single),)
    else:
        lines = [_said(node.getparent()) for node in guide.iter(f"{{{NS}}}sequencialItem")]
        items = tuple(
            _item(line, total) for line in lines if (total := line.get("valorTotal") or line.get("valorProc"))
        )
    return Guide(
        number=said.get("numeroGuiaPrestador", ""),
        card=said.get("numeroCarteira", ""),
        newborn=said.get("atendimentoRN", "N"),
        total=sum((item.total for item in items), Decimal(0)),
        items=items,
    )


def _item(said: dict[str, str], total: str) -> Item:
    dates = (said.get(name) for name in ("dataExecucao", "dataRealizacao", "dataAtendimento"))
    return Item(
        sequence=said.get("sequencialItem", "1"),
        table=said.get("codigoTabela", ""),
        code=said.get("codigoProcedimento", ""),
        done_on=next(filter(None, dates), ""),
        total=Decimal(total),
    )


def _said(element: etree._Element | None) -> dict[str, str]:
    """The texts below an element by their local names, at any depth; the first of a name counts."""
    said: dict[str, str] = {}
    for node in element.iter(etree.Element) if element is not None else ():
        text = node.text.strip() if node.text else ""
        if text:
            said.setdefault(local(node), text)
    return said
