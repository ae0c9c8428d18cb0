"""Certificates for servers and clients of one test, by an authority that nobody else knows."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """A certificate with its key, as PEM."""

    certificate: bytes
    key: ec.EllipticCurvePrivateKey

    def pem(self, password: str | None = None) -> bytes:
        """Key and certificate, the key encrypted where there is a password."""
        how: KeySerializationEncryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how) + self.certificate


class Authority:
    """Signs certificates; ``certificate`` is its own, by which others know its signature."""

    def __init__(self, name: str = "Autoridade de teste") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(self._name, self._key, None, DAY)

    def issue(self, host: str, *, ends: timedelta = DAY) -> Identity:
        """An identity of that host, ``CN=host,O=Operadora``, good from yesterday until ``ends`` from now."""
        organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Operadora")
        name = x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, host)])
        key = ec.generate_private_key(ec.SECP256R1())
        return Identity(self._signed(name, key, host, ends), key)

    def _signed(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, host: str | None, ends: timedelta) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name).issuer_name(self._name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY).not_valid_after(now + ends)
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )  # fmt: skip
        if host is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._key, SHA256()).public_bytes(Encoding.PEM)


def of_server(identity: Identity, folder: Path, clients: Authority | None = None) -> ssl.SSLContext:
    """What a server needs to be that identity; with ``clients``, it lets in only whom that authority has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(_written(folder / "server.pem", identity.pem()))
    if clients is not None:
        context.load_verify_locations(cadata=clients.certificate.decode())
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def wallet(folder: Path, *trusted: Authority, identity: Identity | None = None, password: str | None = None) -> Path:
    """A folder with an ``ewallet.pem``: whom its owner trusts, and who it is."""
    own = identity.pem(password) if identity else b""
    _written(folder / "ewallet.pem", own + b"".join(authority.certificate for authority in trusted))
    return folder


def _written(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file
