"""The check of one TISS message: everything that can be said of it before it goes to an operator."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from hat_etl.tiss import contract, document, hashing, lots, xsd
from hat_etl.tiss.document import MAX_BYTES, Document, local, locate
from hat_etl.tiss.findings import Draft, Finding, HashEncoding, Report, limited
from hat_etl.tiss.schemas import Schemas
from hat_etl.tiss.transactions import FAULT_ROOT


def check(
    content: bytes,
    *,
    schemas: Schemas | None = None,
    registry: str | None = None,
    lot_only: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Report:
    """Check the bytes of a TISS message, whatever they are; nothing they hold makes this raise.

    ``schemas``: the installed schemas; keep one object for many checks, it holds them compiled.
    ``registry``: the operator's registration with ANS (6 digits) that the message must be for; None: any.
    ``lot_only``: refuse a message that is no lot of guides.
    """
    return check_document(document.read(content, max_bytes), schemas=schemas, registry=registry, lot_only=lot_only)


def check_document(
    read: Document, *, schemas: Schemas | None = None, registry: str | None = None, lot_only: bool = False
) -> Report:
    """The same for a message that was read already."""
    findings: list[Finding | Draft] = list(read.findings)
    message = read.message
    if message is None:
        return Report(None, False, "none", limited(findings))
    if not contract.is_tiss(message):
        return Report(None, False, "none", limited([*findings, _unknown_root(message)]))
    schemas = schemas or Schemas()
    if local(message) == FAULT_ROOT:
        # A fault has no version: it is the same in all of them.
        valid, wrong = xsd.validated(message, schemas.newest())
        findings += wrong
        findings += _no_lot(message) if lot_only else ()
        return Report(None, valid, "none", limited(findings))
    valid, wrong = xsd.check(message, schemas)
    findings += wrong
    right_in = hashing.right_in(message)
    findings += _hash_findings(message, right_in)
    findings += contract.check(message, registry)
    body = contract.body(message)
    lot = body if body is not None and local(body) == "loteGuias" else None
    if lot is not None:
        findings += lots.check(message, lot)
    elif lot_only:
        findings += _no_lot(message)
    facts = lots.facts(message, lot) if lot is not None else None
    return Report(xsd.stated_version(message)[1], valid, right_in, limited(findings), facts)


def _no_lot(message: etree._Element) -> list[Finding]:
    return [Finding("raiz.nao_e_lote", locate(message), "A mensagem não é um lote de guias.")]


def _unknown_root(message: etree._Element) -> Finding:
    name = etree.QName(message)
    reason = "não está no namespace do padrão" if name.namespace != document.NS else "não é uma mensagem do padrão"
    return Finding("raiz.desconhecida", locate(message), f"O elemento raiz {reason}.")


def _hash_findings(message: etree._Element, right_in: HashEncoding) -> Iterator[Finding]:
    where = locate(message)
    if hashing.stated(message) is None:
        yield Finding("hash.ausente", where, "A mensagem não tem hash.")
    elif right_in == "none":
        yield Finding("hash.divergente", where, "O hash não confere com o conteúdo, nem em ISO-8859-1 nem em UTF-8.")
    elif right_in == "utf-8":
        yield Finding("hash.utf8", where, "O hash confere só em UTF-8; o padrão pede ISO-8859-1.")
