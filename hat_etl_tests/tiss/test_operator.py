"""The operator of the sandbox: answers by the schema, keeps state, misbehaves as told, and runs as a process."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from ssl import CERT_REQUIRED, PROTOCOL_TLS_SERVER, SSLContext

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from hat_etl.errors import ConfigurationError
from hat_etl.sandbox.lots import Guide, sadt_lot
from hat_etl.sandbox.operator.behaviour import Behaviour, Mishap, Odds
from hat_etl.sandbox.operator.course import course
from hat_etl.sandbox.operator.server import OperatorServer
from hat_etl.tiss import messages
from hat_etl.tiss.check import check
from hat_etl.tiss.messages import Provider, Sender
from hat_etl.tiss.schemas import Schemas, packaged_versions
from hat_etl.tiss.soap import Answered, Certificate, Refused, SoapClient

SCHEMAS = Schemas()
MOMENT = datetime(2026, 10, 21, 7, 8, 9)


@pytest.fixture
def operator() -> Iterator[OperatorServer]:
    with OperatorServer() as server:
        yield server


def lot(number: str, version: str = "4.03.00") -> bytes:
    return sadt_lot(number, [Guide("S1"), Guide("S2")], version=version)


def take(operator: OperatorServer, number: int, version: str = "4.03.00") -> bytes:
    request = messages.lot(lot(str(number), version))
    return operator.service.soap(version, "tissLoteGuias", request.content()).content


@pytest.mark.parametrize("version", packaged_versions())
def test_every_answer_is_valid_and_hashed_through_the_whole_course(version: str, operator: OperatorServer) -> None:
    answers = [take(operator, number, version) for number in range(1, 21)]
    answers.append(take(operator, 1, version))
    sender = Sender(Provider("codigoPrestadorNaOperadora", "PREST0001"), "412345", version)
    moved = 1
    while moved:
        for order in (1, 5, 20, 999):
            status = messages.status(sender, f"{order:012d}", "1", MOMENT)
            asked = messages.statement(sender, [f"{order:012d}"], "1", MOMENT, date(2026, 10, 21))
            for request in (status, asked):
                answers.append(operator.service.soap(version, request.operation, request.content()).content)
        moved = operator.ledger.advance()
    findings = Counter(finding.code for answer in answers for finding in check(answer, schemas=SCHEMAS).findings)
    assert findings == {"raiz.envelope_soap": len(answers)}
    assert all(check(answer, schemas=SCHEMAS).accepted for answer in answers)


def test_lots_end_paid_paid_in_part_or_denied_and_payments_are_taken_back() -> None:
    assert course(1).statuses[-1] == "6"
    assert course(5).denies == "item"
    assert course(20).statuses[-1] == "4"
    assert course(33).statuses[-3:] == ("6", "3", "6")


def test_controls_tell_and_move_the_lots(operator: OperatorServer) -> None:
    for number in (1, 2, 2):
        take(operator, number)
    assert httpx.post(f"{operator.url}/control/advance").json() == {"moved": 2}
    told = httpx.get(f"{operator.url}/control/lots").json()
    assert [(one["batchNumber"], one["arrivals"], one["status"], one["guides"]) for one in told] == [
        ("1", 1, "2", 2),
        ("2", 2, "2", 2),
    ]


def test_mishaps_come_by_their_odds_and_the_same_each_time() -> None:
    odds = Odds(fail=0.1, lose_reply=0.2)
    first, second = ([behaviour.next() for _ in range(5000)] for behaviour in (Behaviour(odds, 7), Behaviour(odds, 7)))
    assert first == second
    drawn = Counter(first)
    assert set(drawn) == {Mishap.NONE, Mishap.FAIL, Mishap.LOSE_REPLY}
    assert 400 < drawn[Mishap.FAIL] < 600
    assert 900 < drawn[Mishap.LOSE_REPLY] < 1100


def test_odds_can_be_set_from_outside(operator: OperatorServer) -> None:
    httpx.post(f"{operator.url}/control/behaviour", json={"fail": 1.0})
    with SoapClient() as client:
        client.send(operator.address("tissLoteGuias"), messages.lot(lot("1")))
    assert operator.lots() == []


def test_a_lot_file_is_taken_by_rest_once_and_found_by_its_number(operator: OperatorServer) -> None:
    rest = f"{operator.url}/rest/totvshealthplans/v1"
    query = {"healthProvider": "PREST0001", "fileName": "7.xml", "batchNumber": "7", "type": "0"}
    answers = [httpx.post(f"{rest}/xmlManager", params=query, content=lot("7")).json() for _ in range(2)]
    assert answers[0] == {"message": "Protocolo criado com sucesso", "success": True, "protocolo": "000000000001"}
    assert answers[1] == {"message": "Arquivo ja submetido", "success": False}
    assert not httpx.post(f"{rest}/xmlManager", params=query, content=lot("8")[:99]).json()["success"]
    query = {"healthProvider": "PREST0001", "batchNumber": "7"}
    (found,) = httpx.get(f"{operator.url}/rest/totvsHealthPlans/v1/protocols", params=query).json()["items"]
    assert (found["protocol"], found["status"], found["batchNumber"]) == ("000000000001", "1", "7")
    assert httpx.get(f"{rest}/protocols", params=query | {"batchNumber": "8"}).json()["items"] == []


def test_it_runs_as_a_process_until_it_is_told_to_stop(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hat_etl.sandbox.operator", "--file", str(tmp_path / "lots.db"), "--fail", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with SoapClient() as client:
            outcome = client.send(f"{url}/ws/4.03.00/tissLoteGuias", messages.lot(lot("7")))
        process.terminate()
    assert isinstance(outcome, Answered)
    assert process.returncode == 0
    with OperatorServer(file=tmp_path / "lots.db") as again:
        assert [one.number for one in again.lots()] == ["7"]


class Authority:
    """A certification authority of the test, and the certificates it gives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Autoridade de teste")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._signed(self.name, self.key.public_key(), True).public_bytes(Encoding.PEM))

    def give(self, name: str, password: bytes | None = None) -> Certificate:
        """A certificate with its key, which ``password`` locks."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, key_file = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(self._signed(subject, key.public_key(), False).public_bytes(Encoding.PEM))
        lock = NoEncryption() if password is None else BestAvailableEncryption(password)
        key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock))
        return Certificate(certificate, key_file)

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, authority: bool) -> x509.Certificate:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(authority, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(
                x509.KeyUsage(True, False, False, False, False, authority, authority, False, False), critical=True
            )
            .sign(self.key, SHA256())
        )


def test_a_key_that_wants_a_password_is_opened_by_it_and_asks_nobody(tmp_path: Path) -> None:
    """Without a password in the tenant's file, OpenSSL asked for it on the terminal, and the run stood still."""
    own = Authority(tmp_path).give("cliente", b"Certa-1")
    SoapClient(certificate=replace(own, password="Certa-1")).close()
    for password in (None, "Errada-1", "x" * 2000):
        with pytest.raises(ConfigurationError, match="certificate: ") as caught:
            SoapClient(certificate=replace(own, password=password))
        assert "Errada" not in str(caught.value)


def test_an_operator_with_mutual_tls_knows_its_client(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, own = authority.give("servidor"), authority.give("cliente")
    tls = SSLContext(PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server.certificate, server.key)
    tls.load_verify_locations(authority.file)
    tls.verify_mode = CERT_REQUIRED
    with OperatorServer(tls=tls) as operator:
        address = operator.address("tissLoteGuias")
        with SoapClient(certificate=own, authorities=authority.file) as client:
            assert isinstance(client.send(address, messages.lot(lot("1"))), Answered)
        with SoapClient(authorities=authority.file) as stranger:
            assert not isinstance(stranger.send(address, messages.lot(lot("2"))), Answered)
        with SoapClient(certificate=own) as distrustful:
            outcome = distrustful.send(address, messages.lot(lot("3")))
        assert outcome == Refused("not sent", "ConnectError", worth_a_retry=True)
        assert [one.number for one in operator.lots()] == ["1"]
