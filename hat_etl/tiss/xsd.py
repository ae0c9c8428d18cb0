"""Validation against the schema of exactly the version that a message states, in words without values."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial

from lxml import etree

from hat_etl.tiss.document import locate, text
from hat_etl.tiss.findings import WHOLE, Draft, Finding
from hat_etl.tiss.schemas import VERSION, Schema, SchemaError, Schemas

Verdict = tuple[bool | None, Sequence[Finding | Draft]]

_EXPECTED = re.compile(r"Expected is (?:one of )?\( (.*?) \)")
_CLARK = re.compile(r"(?:\{[^}]*\})?([\w.-]+)")
_KINDS = {
    "SCHEMAV_ELEMENT_CONTENT": "xsd.elemento",
    "SCHEMAV_CVC_COMPLEX_TYPE_2_3": "xsd.elemento",
    "SCHEMAV_CVC_COMPLEX_TYPE_2_4": "xsd.elemento",
    "SCHEMAV_CVC_ELT_1": "xsd.elemento",
    "SCHEMAV_CVC_ENUMERATION_VALID": "xsd.dominio",
    "SCHEMAV_CVC_PATTERN_VALID": "xsd.formato",
    "SCHEMAV_CVC_TOTALDIGITS_VALID": "xsd.tamanho",
    "SCHEMAV_CVC_FRACTIONDIGITS_VALID": "xsd.tamanho",
    "SCHEMAV_CVC_LENGTH_VALID": "xsd.tamanho",
    "SCHEMAV_CVC_MINLENGTH_VALID": "xsd.tamanho",
    "SCHEMAV_CVC_MAXLENGTH_VALID": "xsd.tamanho",
    "SCHEMAV_CVC_DATATYPE_VALID_1_2_1": "xsd.tipo",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_1": "xsd.atributo",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_2_1": "xsd.atributo",
    "SCHEMAV_CVC_COMPLEX_TYPE_3_2_2": "xsd.atributo",
    "SCHEMAV_CVC_COMPLEX_TYPE_4": "xsd.atributo",
    "SCHEMAV_CVC_TYPE_3_1_1": "xsd.atributo",
}
_TEXTS = {
    "xsd.dominio": "O valor não está no domínio que o padrão define para este elemento.",
    "xsd.formato": "O valor não tem o formato que o padrão define para este elemento.",
    "xsd.tamanho": "O tamanho do valor não é o que o padrão define para este elemento.",
    "xsd.tipo": "O valor não é do tipo que o padrão define para este elemento.",
    "xsd.atributo": "Há um atributo que o padrão não prevê, ou falta um que ele exige.",
    "xsd.outro": "O esquema do padrão recusa este elemento.",
}


def stated_version(message: etree._Element) -> tuple[str | None, str | None]:
    """``Padrao`` as written, and the same if it has the shape of a version."""
    said = text(message, "cabecalho/Padrao")
    return said, said if said and VERSION.fullmatch(said) else None


def check(message: etree._Element, schemas: Schemas) -> Verdict:
    """Whether a message is valid by the schema of its version; None where that schema is not installed."""
    said, version = stated_version(message)
    where = locate(message)
    if said is None:
        return False, [Finding("versao.ausente", where, "A mensagem não informa a versão do padrão (Padrao).")]
    schema = schemas.get(version) if version else None
    if schema is not None:
        return validated(message, schema)
    installed = ", ".join(schemas.installed())
    if version and _may_exist(version, schemas):
        hint = f"Instale o pacote da ANS com: hat-etl tiss add ARQUIVO.zip (instaladas: {installed})."
        return None, [Finding("versao.sem_esquema", where, f"O esquema da versão {version} não está instalado. {hint}")]
    shown = f"A versão {version}" if version else "O conteúdo de Padrao"
    hint = f"Se for nova, instale o pacote da ANS com: hat-etl tiss add ARQUIVO.zip (instaladas: {installed})."
    return False, [Finding("versao.invalida", where, f"{shown} não é uma versão que o padrão conhece. {hint}")]


def _may_exist(version: str, schemas: Schemas) -> bool:
    """Whether a version without a schema is known to be one: later schemas list those from 4.00 on, none lists 3.x."""
    return version.startswith("3.") or version in schemas.newest().versions()


def validated(message: etree._Element, schema: Schema) -> Verdict:
    """The verdict of one schema."""
    errors = schema.errors(message)
    return not errors, list(_findings(message, errors))


def _findings(message: etree._Element, errors: list[SchemaError]) -> Iterator[Draft]:
    for error in errors:
        code = _KINDS.get(error.kind, "xsd.outro")
        yield Draft(code, partial(_where, message, error), _text(code, error))


def _text(code: str, error: SchemaError) -> str:
    if code != "xsd.elemento":
        return _TEXTS[code]
    expected = _EXPECTED.search(error.message)
    names = ", ".join(dict.fromkeys(_CLARK.findall(expected.group(1)))) if expected else ""
    missing = "Missing child element" in error.message
    start = "Falta um elemento dentro deste" if missing else "O elemento não é esperado aqui"
    return f"{start}; o padrão espera: {names}." if names else f"{start}."


def _where(message: etree._Element, error: SchemaError) -> str:
    if not error.path:
        return f"linha {error.line}" if error.line else WHOLE
    namespaces = {prefix: uri for prefix, uri in message.nsmap.items() if prefix}
    try:
        found = message.getroottree().xpath(error.path, namespaces=namespaces)
    except etree.XPathError:
        found = []
    if isinstance(found, list) and found and isinstance(found[0], etree._Element):
        return locate(found[0])
    return f"linha {error.line}"
