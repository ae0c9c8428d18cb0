"""The requests of a provider to an operator's web service, built for the version that the operator speaks.

A lot goes as ``loteGuiasWS``: header and lot of the file, value for value, with the login that the operator wants and a
hash of its own. The file itself is never rewritten.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Literal

from lxml import etree

from hat_etl.errors import DataError
from hat_etl.tiss import document, hashing
from hat_etl.tiss.contract import body
from hat_etl.tiss.document import NS, find, local, text
from hat_etl.tiss.hashing import Encoding
from hat_etl.tiss.transactions import LOT, TRANSACTIONS

MAX_PROTOCOLS = 30
"""Protocols that one request for statements may name."""

ProviderKind = Literal["CNPJ", "CPF", "codigoPrestadorNaOperadora"]


class NoHash(DataError):
    """A message holds characters that the encoding of its hash lacks."""


class Operation(StrEnum):
    """The operations in use; operators have one address for each, and for each version."""

    LOT = "tissLoteGuias"
    STATUS = "tissSolicitacaoStatusProtocolo"
    STATEMENT = "tissSolicitacaoDemonstrativoRetorno"


@dataclass(frozen=True)
class Login:
    """What goes into ``loginSenhaPrestador``. ``md5``: the hexadecimal MD5 of the password is sent in its place."""

    user: str
    password: str = field(repr=False)
    mode: Literal["plain", "md5"] = "md5"

    def sent_password(self) -> str:
        """The password as it goes over the wire."""
        if self.mode == "plain":
            return self.password
        return hashlib.md5(self.password.encode(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class Provider:
    """Who asks. ``name`` is needed before version 4.00 only; the code stands in for it."""

    kind: ProviderKind
    code: str = field(repr=False)
    """A person's CPF it may be: not shown."""
    name: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Request:
    """A message that is ready to go."""

    operation: Operation
    version: str
    message: etree._Element

    def content(self, encoding: Encoding = "iso-8859-1") -> bytes:
        """The message as a document of its own."""
        return etree.tostring(self.message, encoding=encoding, xml_declaration=True)


@dataclass(frozen=True)
class Sender:
    """What the header of a request says: who asks which operator, in which version."""

    provider: Provider
    registry: str
    """The operator's registration with ANS, 6 digits."""
    version: str
    """E.g. ``4.03.00``."""
    login: Login | None = None
    hash_encoding: Encoding = "iso-8859-1"


def lot(content: bytes, *, login: Login | None = None, hash_encoding: Encoding = "iso-8859-1") -> Request:
    """``loteGuiasWS`` from the bytes of a lot file (``mensagemTISS``, or a ``loteGuiasWS`` with another login).

    Signatures are left out: they are over the file. Raises DataError when the bytes are no readable lot, NoHash when
    they hold a character that the encoding of the hash lacks. How large a lot may be is for its check to say.
    """
    read = document.read(content, max_bytes=len(content)).message
    guides = body(read) if read is not None else None
    header = find(read, "cabecalho") if read is not None else None
    if read is None or header is None or guides is None or local(guides) != "loteGuias":
        raise DataError(
            "The file is no lot of TISS guides that can be read.", "See what hat-etl tiss check says of it."
        )
    message = _root(TRANSACTIONS[LOT].root)
    message.append(_copy(header))
    message.append(_copy(guides))
    for old in message[0].findall(f"{{{NS}}}loginSenhaPrestador"):
        message[0].remove(old)
    _log_in(message[0], login)
    _seal(message, hash_encoding)
    return Request(Operation.LOT, text(message, "cabecalho/Padrao") or "", message)


def status(sender: Sender, protocol: str, sequence: str, moment: datetime) -> Request:
    """``solicitacaoStatusProtocoloWS`` for one protocol. ``sequence``: at most 12 characters, new in each request."""
    message = _root("solicitacaoStatusProtocoloWS")
    _header(message, "SOLIC_STATUS_PROTOCOLO", sender, sequence, moment)
    asked = _add(message, "solicitacaoStatusProtocolo")
    _contracted(asked, sender)
    _add(asked, "numeroProtocolo", protocol)
    _seal(message, sender.hash_encoding)
    return Request(Operation.STATUS, sender.version, message)


def statement(sender: Sender, protocols: Sequence[str], sequence: str, moment: datetime, asked_on: date) -> Request:
    """``solicitacaoDemonstrativoRetornoWS`` for the analysis of at most 30 protocols."""
    if not 0 < len(protocols) <= MAX_PROTOCOLS:
        raise ValueError(f"{len(protocols)} protocols asked for, not 1 to {MAX_PROTOCOLS}")
    message = _root("solicitacaoDemonstrativoRetornoWS")
    _header(message, "SOLIC_DEMONSTRATIVO_RETORNO", sender, sequence, moment)
    asked = _add(_add(message, "solicitacaoDemonstrativoRetorno"), "demonstrativoAnalise")
    _contracted(asked, sender)
    _add(asked, "dataSolicitacao", asked_on.isoformat())
    listed = _add(asked, "protocolos")
    for protocol in protocols:
        _add(listed, "numeroProtocolo", protocol)
    _seal(message, sender.hash_encoding)
    return Request(Operation.STATEMENT, sender.version, message)


def _root(name: str) -> etree._Element:
    return etree.Element(f"{{{NS}}}{name}", nsmap={"ans": NS})


def _add(parent: etree._Element, name: str, value: str | None = None) -> etree._Element:
    element = etree.SubElement(parent, f"{{{NS}}}{name}")
    element.text = value
    return element


def _copy(element: etree._Element) -> etree._Element:
    copied = copy.deepcopy(element)
    copied.tail = None
    return copied


def _header(message: etree._Element, kind: str, sender: Sender, sequence: str, moment: datetime) -> None:
    header = _add(message, "cabecalho")
    transaction = _add(header, "identificacaoTransacao")
    _add(transaction, "tipoTransacao", kind)
    _add(transaction, "sequencialTransacao", sequence)
    _add(transaction, "dataRegistroTransacao", moment.date().isoformat())
    _add(transaction, "horaRegistroTransacao", moment.time().isoformat("seconds"))
    _add(_add(_add(header, "origem"), "identificacaoPrestador"), sender.provider.kind, sender.provider.code)
    _add(_add(header, "destino"), "registroANS", sender.registry)
    _add(header, "Padrao", sender.version)
    _log_in(header, sender.login)


def _log_in(header: etree._Element, login: Login | None) -> None:
    if login is not None:
        credentials = _add(header, "loginSenhaPrestador")
        _add(credentials, "loginPrestador", login.user)
        _add(credentials, "senhaPrestador", login.sent_password())


_CONTRACTED = {
    "CNPJ": "cnpjContratado",
    "CPF": "cpfContratado",
    "codigoPrestadorNaOperadora": "codigoPrestadorNaOperadora",
}
"""A provider's number is named otherwise in a body than in the header."""


def _contracted(asked: etree._Element, sender: Sender) -> None:
    provider = sender.provider
    who = _add(asked, "dadosPrestador")
    _add(who, _CONTRACTED[provider.kind], provider.code)
    if sender.version < "4":
        _add(who, "nomeContratado", provider.name or provider.code)


def _seal(message: etree._Element, encoding: Encoding) -> None:
    """Put the hash at the end; a login that was added is part of what is hashed."""
    digest = hashing.digest(hashing.hashed_text(message), encoding)
    if digest is None:
        raise NoHash(
            "The lot holds characters that ISO-8859-1 lacks, so it has no hash by the standard.",
            "Have the provider replace them (curly quotes, dashes, €), or set the operator's hash encoding to utf-8.",
        )
    _add(message, "hash", digest)
