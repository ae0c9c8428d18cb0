"""A client of operators' TISS web services: SOAP 1.1, document/literal, one request at a time.

What matters to the caller is whether the operator has the request now. Nothing is ever sent twice here: after an
unknown outcome it is for the caller to find out first.
"""

from __future__ import annotations

import copy
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import httpx
from lxml import etree

from hat_etl.errors import ConfigurationError
from hat_etl.tiss import replies, tables
from hat_etl.tiss.hashing import Encoding
from hat_etl.tiss.messages import Request
from hat_etl.tiss.replies import Fault, Reply, Unreadable

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
MAX_REPLY_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Answered:
    """The operator has the request and answered it; ``reply`` may still be a rejection by its rules."""

    reply: Reply
    content: bytes = field(repr=False)
    """The reply as it came, for the record: it holds health data."""


@dataclass(frozen=True)
class Refused:
    """The operator does not have the request: it never arrived, or was turned away at the door."""

    reason: Literal["not sent", "http", "fault"]
    detail: str
    """Without values: a kind of error, a status code, the code of a fault."""
    worth_a_retry: bool
    """Whether the same request may succeed later, with nothing changed."""


@dataclass(frozen=True)
class Unknown:
    """Nobody can say whether the operator has the request: ask before it is sent again."""

    detail: str


Outcome = Answered | Refused | Unknown


@dataclass(frozen=True)
class Certificate:
    """A client certificate for mutual TLS, as files in PEM."""

    certificate: Path
    key: Path | None = None
    password: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Timeouts:
    """In seconds. ``total`` is for the body of the reply, however slowly it trickles; of its head, each piece has
    ``read``."""

    connect: float = 10.0
    read: float = 60.0
    total: float = 120.0


class SoapClient:
    """Connections to operators, kept open between requests. Close it, or use it in a ``with``."""

    def __init__(
        self,
        *,
        timeouts: Timeouts = Timeouts(),
        charset: Encoding = "utf-8",
        certificate: Certificate | None = None,
        authorities: Path | None = None,
        headers: dict[str, str] | None = None,
        max_reply_bytes: int = MAX_REPLY_BYTES,
    ) -> None:
        """``authorities``: a PEM file of the certification authorities to trust instead of the usual ones.

        Raises ConfigurationError when a certificate cannot be used.
        """
        self._timeouts = timeouts
        self._charset = charset
        self._max_reply_bytes = max_reply_bytes
        self._http = httpx.Client(
            verify=_tls(certificate, authorities),
            timeout=httpx.Timeout(timeouts.read, connect=timeouts.connect),
            # A compressed answer could unfold to any size.
            headers={"Accept-Encoding": "identity", **(headers or {})},
            follow_redirects=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def send(self, address: str, request: Request) -> Outcome:
        """Send a request to the address of its operation, once."""
        headers = {"Content-Type": f"text/xml; charset={self._charset}", "SOAPAction": '""'}
        ends = time.monotonic() + self._timeouts.total
        try:
            with self._http.stream(
                "POST", address, content=envelope(request, self._charset), headers=headers
            ) as response:
                content = self._content(response, ends)
                status = response.status_code
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            return Refused("not sent", type(error).__name__, worth_a_retry=False)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            return Refused("not sent", type(error).__name__, worth_a_retry=True)
        except httpx.HTTPError as error:
            return Unknown(type(error).__name__)
        if content is None:
            return Unknown("the reply was too large or took too long")
        return _outcome(status, content)

    def _content(self, response: httpx.Response, ends: float) -> bytes | None:
        """The body; None when it is larger or comes slower than allowed."""
        content = bytearray()
        for chunk in response.iter_bytes():
            content += chunk
            if len(content) > self._max_reply_bytes or time.monotonic() > ends:
                return None
        return bytes(content)


def envelope(request: Request, charset: Encoding) -> bytes:
    """A request in its SOAP envelope. The message is the child of Body itself, without a wrapper."""
    root = etree.Element(f"{{{SOAP}}}Envelope", nsmap={"soapenv": SOAP})
    etree.SubElement(root, f"{{{SOAP}}}Header")
    etree.SubElement(root, f"{{{SOAP}}}Body").append(copy.deepcopy(request.message))
    return etree.tostring(root, encoding=charset, xml_declaration=True)


def _tls(certificate: Certificate | None, authorities: Path | None) -> ssl.SSLContext:
    """Raises ConfigurationError."""
    with _usable("authorities"):
        context = ssl.create_default_context(cafile=authorities)
    if certificate is not None:
        with _usable("certificate"):
            # Where there is no password, a key that wants one is refused: nobody sits there to be asked for it.
            password = certificate.password or ""
            context.load_cert_chain(certificate.certificate, certificate.key, lambda: password)
    return context


@contextmanager
def _usable(key: str) -> Iterator[None]:
    """Turn what is wrong with the files of a key of the tenant's file into ConfigurationError."""
    try:
        yield
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(
            f"{key}: its files cannot be used ({why}).",
            f"See that {key} names PEM files that the user who runs hat-etl may read, with their key and password.",
        ) from None


_BUSY = 429


def _outcome(status: int, content: bytes) -> Outcome:
    """What an HTTP answer says: faults come with 500 or 200, and gateways answer in the name of the operator."""
    reply = replies.parse(content)
    if isinstance(reply, Fault):
        return _fault(reply)
    if not isinstance(reply, Unreadable):
        return Answered(reply, content)
    if 300 <= status < 500:
        return Refused("http", f"HTTP {status}", worth_a_retry=status == _BUSY)
    return Unknown(f"HTTP {status} without a message of the standard")


def _fault(fault: Fault) -> Refused | Unknown:
    """Only what the standard names, or SOAP lays to the client, says that the request was turned away."""
    if not fault.from_tiss:
        code = fault.code
        refused = code == "Client"
    else:
        code = tables.fault(fault.code or "")
        refused = code is not None and code != tables.SERVER_FAULT
    if refused and code is not None:
        return Refused("fault", code, worth_a_retry=False)
    # An operator's own text may hold anything, so it is not repeated.
    return Unknown(f"fault {code or 'without a known code'}")
