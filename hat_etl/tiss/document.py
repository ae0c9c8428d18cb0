"""From the bytes of a file to a tree of elements, whatever the bytes are.

Nothing outside the bytes is ever read (no DTD, no entity, no network), and what a parser would choke on is refused
before it is parsed.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from functools import cache

from lxml import etree

from hat_etl.tiss.findings import WHOLE, Finding

NS = "http://www.ans.gov.br/padroes/tiss/schemas"
"""The namespace of every version."""
SOAP_NAMESPACES = ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")

MAX_BYTES = 32 * 1024 * 1024
"""100 guides of a long stay in hospital are a few MiB."""
MAX_MARKUP = 2_000_000
"""``<`` and ``=`` in a message: a tree takes memory by its nodes, not by the bytes."""

_BOM = codecs.BOM_UTF8
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?\bencoding\s*=\s*[\"']([A-Za-z0-9._:-]{1,40})[\"']")
_READABLE = {"iso8859-1": "iso-8859-1", "utf-8": "utf-8", "ascii": "us-ascii", "cp1252": "windows-1252"}
"""Python's name of each encoding that is read, and the name that libxml2 knows it by."""
_BLANKS_FIRST = re.compile(rb"\A\s*(\xef\xbb\xbf)?\s*")
_C1 = bytes(range(0x80, 0xA0))


@dataclass(frozen=True)
class Document:
    """A file as read: ``message`` is the TISS message, taken out of its SOAP envelope if it had one."""

    message: etree._Element | None
    findings: tuple[Finding, ...]


def read(content: bytes, max_bytes: int = MAX_BYTES, *, lenient: bool = False) -> Document:
    """Parse the bytes of a TISS message. Never raises for what they hold: findings say what is wrong.

    ``lenient``: UTF-8 that is declared as something else is read as the UTF-8 it is, and blanks may come first.
    """
    if lenient:
        content = _BLANKS_FIRST.sub(rb"\1", content, count=1)
    refusal = _refusal(content, max_bytes)
    if refusal:
        return Document(None, (refusal,))
    body, encoding, findings = _encoding(content)
    if encoding is None:
        return Document(None, tuple(findings))
    if lenient and findings and findings[0].code == "encoding.utf8_como_iso":
        encoding = "utf-8"
    if _has_doctype(body):
        return Document(None, (*findings, _doctype()))
    try:
        root = etree.fromstring(body, _parser(encoding))
    except etree.XMLSyntaxError as error:
        return Document(None, (*findings, _syntax(error)))
    if root.getroottree().docinfo.internalDTD is not None:
        return Document(None, (*findings, _doctype()))
    message, more = _unwrapped(root)
    return Document(message, (*findings, *more))


def _refusal(content: bytes, max_bytes: int) -> Finding | None:
    if not content.strip():
        return Finding("xml.vazio", WHOLE, "O arquivo está vazio.")
    if len(content) > max_bytes:
        return Finding("xml.tamanho", WHOLE, f"O arquivo tem mais de {max_bytes} bytes.")
    if content.count(b"<") + content.count(b"=") > MAX_MARKUP:
        return Finding("xml.bomba", WHOLE, "O arquivo tem elementos ou atributos demais para um lote de guias.")
    return None


def _encoding(content: bytes) -> tuple[bytes, str | None, list[Finding]]:
    """The bytes without a BOM, the encoding to read them in (None: not readable), and what is to be said of it."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or b"\0" in content[:4]:
        return content, None, [_unsupported("UTF-16 ou UTF-32")]
    bom = content.startswith(_BOM)
    body = content[len(_BOM) :] if bom else content
    declared = _DECLARED.match(body)
    name = declared.group(1).decode("ascii") if declared else "UTF-8"
    try:
        encoding = codecs.lookup(name).name
    except LookupError:
        encoding = ""
    if encoding not in _READABLE:
        return body, None, [_unsupported(name)]
    if bom and encoding != "utf-8":
        text = f"O arquivo começa com o BOM de UTF-8, mas declara {name}."
        return body, _or_latin1(body, "utf-8"), [Finding("encoding.bom_contraditorio", "linha 1", text)]
    findings = _byte_findings(body, encoding, name)
    if bom:
        text = "O arquivo começa com o BOM de UTF-8; o padrão pede ISO-8859-1, sem BOM."
        findings.append(Finding("encoding.bom", "linha 1", text))
    if encoding == "cp1252":
        findings.append(Finding("encoding.incomum", "linha 1", f"Declara {name}; o padrão pede ISO-8859-1."))
    return body, _or_latin1(body, encoding), findings


def _byte_findings(body: bytes, encoding: str, name: str) -> list[Finding]:
    if encoding in ("iso8859-1", "cp1252") and not body.isascii() and _is_utf8(body):
        at = next(i for i, byte in enumerate(body) if byte >= 0x80)
        text = f"Os bytes são UTF-8, mas o arquivo declara {name}: os acentos seriam lidos trocados."
        return [Finding("encoding.utf8_como_iso", _line(body, at), text)]
    if encoding == "iso8859-1" and len(body.translate(None, _C1)) != len(body):
        at = next(i for i, byte in enumerate(body) if 0x80 <= byte < 0xA0)
        text = f"Há caracteres do Windows-1252 (aspas curvas, travessão, €) que {name} não tem."
        return [Finding("encoding.cp1252", _line(body, at), text)]
    try:
        body.decode(encoding)
    except UnicodeDecodeError as error:
        text = f"Há bytes que não são {name}; o arquivo pode ser ISO-8859-1 com a declaração errada ou ausente."
        return [Finding("encoding.bytes_invalidos", _line(body, error.start), text)]
    return []


def _or_latin1(body: bytes, encoding: str) -> str:
    """The encoding for the parser: ISO-8859-1, which has every byte, where the bytes are not of the declared one."""
    try:
        body.decode(encoding)
    except UnicodeDecodeError:
        return "iso-8859-1"
    return _READABLE[encoding]


def _is_utf8(body: bytes) -> bool:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _unsupported(name: str) -> Finding:
    return Finding("encoding.nao_suportado", "linha 1", f"A codificação {name} não é aceita; o padrão pede ISO-8859-1.")


def _doctype() -> Finding:
    return Finding("xml.doctype", WHOLE, "O arquivo tem DOCTYPE, que o padrão não usa e que não é aceito.")


def _has_doctype(body: bytes) -> bool:
    """Whether a DOCTYPE stands before the root element."""
    at = 0
    while True:
        while body[at : at + 1].isspace():
            at += 1
        for start, end in ((b"<!--", b"-->"), (b"<?", b"?>")):
            if body.startswith(start, at):
                stop = body.find(end, at + len(start))
                if stop < 0:
                    return False
                at = stop + len(end)
                break
        else:
            return body[at : at + 9].upper() == b"<!DOCTYPE"


def _parser(encoding: str) -> etree.XMLParser:
    # An encoding that is given overrules the declaration, which was looked at before.
    return etree.XMLParser(
        encoding=encoding,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _syntax(error: etree.XMLSyntaxError) -> Finding:
    """The error of the parser, without its text, which may quote values."""
    line, column = error.position
    where = f"linha {line}, coluna {column}"
    kinds = etree.ErrorTypes
    if error.code in (kinds.ERR_UNDECLARED_ENTITY, kinds.WAR_UNDECLARED_ENTITY):
        return Finding("xml.entidade", where, "Há uma entidade que o XML não declara; use &amp;, &lt; ou o caractere.")
    if error.code in (kinds.ERR_TAG_NOT_FINISHED, kinds.ERR_GT_REQUIRED):
        return Finding("xml.truncado", where, "O arquivo termina antes do fim da mensagem.")
    return Finding("xml.malformado", where, f"O XML é malformado (erro {error.code} do leitor).")


def _unwrapped(root: etree._Element) -> tuple[etree._Element | None, list[Finding]]:
    name = etree.QName(root)
    if name.localname != "Envelope" or name.namespace not in SOAP_NAMESPACES:
        return root, []
    body = root.find(f"{{{name.namespace}}}Body")
    if body is None or len(body) != 1:
        return None, [Finding("corpo.vazio", locate(root), "O envelope SOAP não tem uma mensagem em Body.")]
    return body[0], [
        Finding(
            "raiz.envelope_soap", locate(root), "A mensagem está dentro de um envelope SOAP; foi verificada a mensagem."
        )
    ]


def _line(body: bytes, at: int) -> str:
    number = body.count(b"\n", 0, at) + 1
    return f"linha {number}"


def local(element: etree._Element) -> str:
    """The element's name without its namespace."""
    return str(element.tag).rpartition("}")[2]


def locate(element: etree._Element) -> str:
    """Where an element is: names from the root on, numbered where there are several, and the line."""
    steps: list[str] = []
    node: etree._Element | None = element
    while node is not None:
        parent = node.getparent()
        step = local(node)[:60]
        if parent is not None:
            same = [child for child in parent if child.tag == node.tag]
            if len(same) > 1:
                step += f"[{same.index(node) + 1}]"
        steps.append(step)
        node = parent
    return f"/{'/'.join(reversed(steps))} (linha {element.sourceline})"


def find(element: etree._Element, path: str) -> etree._Element | None:
    """The first descendant at a path of local names, e.g. ``cabecalho/Padrao``."""
    return element.find(_qualified(path))


@cache
def _qualified(path: str) -> str:
    return "/".join(f"{{{NS}}}{step}" for step in path.split("/"))


def find_all(element: etree._Element, path: str) -> list[etree._Element]:
    """All descendants at a path of local names."""
    return element.findall(_qualified(path))


def text(element: etree._Element, path: str) -> str | None:
    """The text at a path, without blanks around it; None when absent or blank."""
    found = find(element, path)
    return (found.text or "").strip() or None if found is not None else None


def texts(element: etree._Element) -> dict[str, str]:
    """The texts of an element's children by their local names, blank ones left out; the first of a name counts."""
    found: dict[str, str] = {}
    for child in element:
        text = (child.text or "").strip()
        if text:
            found.setdefault(local(child), text)
    return found
