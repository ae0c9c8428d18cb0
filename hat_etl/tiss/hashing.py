"""The hash of a TISS message: MD5 over the texts of its elements.

Componente Organizacional of the standard: the texts are joined in the order of the document, with neither tags nor
attributes nor separators, the epilogue left out, and encoded in ISO-8859-1. In practice some senders and operators
encode in UTF-8; both are known here, and which one was right is recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal

from lxml import etree

from hat_etl.tiss.document import find, local
from hat_etl.tiss.findings import HashEncoding

Encoding = Literal["iso-8859-1", "utf-8"]


def hashed_text(message: etree._Element) -> str:
    """What is hashed: the texts of the elements that hold no elements. Blanks between elements do not count."""
    return "".join(text for child in message if not _is_seal(child) for text in _texts(child))


def _is_seal(child: etree._Element) -> bool:
    """The parts of a message that come after its content: epilogue or hash, and the signature over both."""
    return local(child) in ("epilogo", "hash", "Signature", "Signatures")


def _texts(element: etree._Element) -> Iterator[str]:
    for node in element.iter(etree.Element):
        if len(node) == 0 and node.text:
            yield node.text


def digest(text: str, encoding: Encoding) -> str | None:
    """32 lower-case hexadecimal digits; None when the encoding lacks one of the characters."""
    try:
        return hashlib.md5(text.encode(encoding), usedforsecurity=False).hexdigest()
    except UnicodeEncodeError:
        return None


def stated(message: etree._Element) -> str | None:
    """The hash that a message states: in ``epilogo`` of a file, or directly under a web service message."""
    for path in ("epilogo/hash", "hash"):
        found = find(message, path)
        if found is not None:
            return (found.text or "").strip() or None
    return None


def right_in(message: etree._Element) -> HashEncoding:
    """The encodings in which the stated hash is right; capital digits count as small ones."""
    said = (stated(message) or "").lower()
    content = hashed_text(message)
    iso = said == digest(content, "iso-8859-1")
    utf8 = said == digest(content, "utf-8")
    if iso and utf8:
        return "both"
    return "iso-8859-1" if iso else "utf-8" if utf8 else "none"
