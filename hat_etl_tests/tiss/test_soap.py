"""The client against real servers: whether the operator has the request is never guessed."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path

import pytest

from hat_etl.errors import ConfigurationError
from hat_etl.sandbox.lots import Guide, sadt_lot
from hat_etl.sandbox.operator.behaviour import Mishap, Odds
from hat_etl.sandbox.operator.server import OperatorServer
from hat_etl.tiss import messages
from hat_etl.tiss.document import NS
from hat_etl.tiss.messages import Login, Provider, Request, Sender
from hat_etl.tiss.replies import NotReady, ProtocolStatus, Receipt, Rejection, Statements
from hat_etl.tiss.soap import Answered, Certificate, Outcome, Refused, SoapClient, Timeouts, Unknown

SENDER = Sender(Provider("codigoPrestadorNaOperadora", "PREST0001"), "412345", "4.03.00")
MOMENT = datetime(2026, 10, 21, 7, 8, 9)


@pytest.fixture
def operator() -> Iterator[OperatorServer]:
    with OperatorServer() as server:
        yield server


@pytest.fixture
def client() -> Iterator[SoapClient]:
    with SoapClient(timeouts=Timeouts(connect=5, read=5, total=20)) as made:
        yield made


def lot(number: str = "7") -> Request:
    return messages.lot(sadt_lot(number, [Guide("S1"), Guide("S2")]))


def status(protocol: str) -> Request:
    return messages.status(SENDER, protocol, "1", MOMENT)


def statement(*protocols: str) -> Request:
    return messages.statement(SENDER, protocols, "1", MOMENT, date(2026, 10, 21))


def send(client: SoapClient, operator: OperatorServer, request: Request) -> Outcome:
    return client.send(operator.address(request.operation), request)


def test_a_lot_is_taken_and_followed_to_its_end(client: SoapClient, operator: OperatorServer) -> None:
    outcome = send(client, operator, lot())
    assert isinstance(outcome, Answered)
    assert isinstance(outcome.reply, Receipt)
    protocol = outcome.reply.protocol
    assert protocol is not None
    seen = []
    while not seen or operator.ledger.advance():
        answer = send(client, operator, status(protocol))
        assert isinstance(answer, Answered)
        assert isinstance(answer.reply, ProtocolStatus)
        assert answer.reply.lot == "7"
        seen.append(answer.reply.status)
    assert seen == ["1", "2", "3", "6"]


def test_statements_come_when_they_are_ready(client: SoapClient, operator: OperatorServer) -> None:
    for number in range(1, 21):
        send(client, operator, lot(str(number)))
    asked = statement("5", "20", "1")
    first = send(client, operator, asked)
    assert isinstance(first, Answered)
    assert isinstance(first.reply, NotReady)
    operator.ledger.advance()
    operator.ledger.advance()
    second = send(client, operator, asked)
    assert isinstance(second, Answered)
    assert isinstance(second.reply, Statements)
    partly, denied, paid = second.reply.statements
    assert [(one.level, one.code, str(one.value)) for one in partly.denials] == [("item", "1705", "75.00")]
    assert [(one.level, one.guide) for one in denied.denials] == [("guide", "S1"), ("guide", "S2")]
    assert (str(denied.released), str(denied.denied)) == ("0.00", "300.00")
    assert paid.denials == ()


def test_the_same_lot_number_is_refused_and_counted(client: SoapClient, operator: OperatorServer) -> None:
    send(client, operator, lot())
    again = send(client, operator, lot())
    assert isinstance(again, Answered)
    assert again.reply == Rejection("5053", "LOTE JÁ RECEBIDO COM O PROTOCOLO 000000000001")
    assert [one.arrivals for one in operator.lots()] == [2]


def test_a_lot_that_comes_many_times_at_once_is_taken_once(client: SoapClient, operator: OperatorServer) -> None:
    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(lambda _: send(client, operator, lot()), range(16)))
    kinds = Counter(type(outcome.reply) for outcome in outcomes if isinstance(outcome, Answered))
    assert kinds == {Receipt: 1, Rejection: 15}
    assert [one.arrivals for one in operator.lots()] == [16]


MISHAPS: dict[Mishap, tuple[type[Outcome], int]] = {
    Mishap.NONE: (Answered, 1),
    Mishap.FAIL: (Unknown, 0),
    Mishap.FAULT: (Unknown, 0),
    Mishap.LOSE_REPLY: (Unknown, 1),
    Mishap.CUT_REPLY: (Unknown, 1),
    Mishap.GARBLE_REPLY: (Unknown, 1),
    Mishap.BLACK_HOLE: (Unknown, 0),
}


@pytest.mark.parametrize("mishap", MISHAPS)
def test_an_outcome_is_unknown_when_nobody_can_tell(mishap: Mishap, operator: OperatorServer) -> None:
    kind, taken = MISHAPS[mishap]
    operator.behaviour.plan(mishap)
    with SoapClient(timeouts=Timeouts(read=0.3 if mishap is Mishap.BLACK_HOLE else 5)) as client:
        outcome = send(client, operator, lot())
    assert isinstance(outcome, kind)
    assert [one.arrivals for one in operator.lots()] == [1] * taken


def test_nothing_is_sent_twice_by_itself(client: SoapClient, operator: OperatorServer) -> None:
    operator.behaviour.odds = Odds(lose_reply=1.0)
    for number in range(5):
        assert isinstance(send(client, operator, lot(str(number))), Unknown)
    assert [one.arrivals for one in operator.lots()] == [1] * 5


def test_a_closed_port_is_refused_and_worth_a_retry(client: SoapClient) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    outcome = client.send(f"http://127.0.0.1:{port}/x", lot())
    assert outcome == Refused("not sent", "ConnectError", worth_a_retry=True)


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/x", "no address", ""])
def test_an_address_that_is_none_is_refused(client: SoapClient, address: str) -> None:
    outcome = client.send(address, lot())
    assert isinstance(outcome, Refused)
    assert not outcome.worth_a_retry


def test_a_wrong_path_is_refused(client: SoapClient, operator: OperatorServer) -> None:
    outcome = client.send(operator.url + "/elsewhere", lot())
    assert outcome == Refused("http", "HTTP 404", worth_a_retry=False)


def test_a_fault_of_the_standard_is_refused_with_its_code(client: SoapClient, operator: OperatorServer) -> None:
    operator.service.passwords = {"PREST0001": Login("PREST0001", "Certa-1").sent_password()}
    wrong = messages.lot(sadt_lot("7", [Guide("S1")]), login=Login("PREST0001", "Errada-1"))
    assert send(client, operator, wrong) == Refused("fault", "LoginInvalido", worth_a_retry=False)
    right = messages.lot(sadt_lot("7", [Guide("S1")]), login=Login("PREST0001", "Certa-1"))
    assert isinstance(send(client, operator, right), Answered)


REQUESTS = {
    "VersaoInvalida": lambda: messages.lot(sadt_lot("7", [Guide("S1")], version="4.02.00")),
    "DestinatarioInvalido": lambda: messages.lot(sadt_lot("7", [Guide("S1")], registry="999999")),
    "HashInvalido": lambda: messages.lot(sadt_lot("7", [Guide("S1")]), hash_encoding="utf-8"),
    "SchemaInvalido": lambda: messages.lot(sadt_lot("7" * 13, [Guide("S1")])),
}


@pytest.mark.parametrize("code", REQUESTS)
def test_the_operator_finds_what_is_wrong(code: str, client: SoapClient, operator: OperatorServer) -> None:
    operator.service.hashes = frozenset({"iso-8859-1", "both"})
    assert send(client, operator, REQUESTS[code]()) == Refused("fault", code, worth_a_retry=False)
    assert operator.lots() == []


@contextmanager
def answering(
    *parts: bytes,
    after: Callable[[socket.socket], None] = lambda _: None,
) -> Iterator[tuple[str, list[bytes]]]:
    """A server that takes one request, sends ``parts`` and calls ``after`` with the connection.

    Gives its address and what it got.
    """
    got: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                got.append(_request(connection))
                for part in parts:
                    connection.sendall(part)
                with suppress(OSError):
                    after(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/ws", got
        thread.join(10)


def _request(connection: socket.socket) -> bytes:
    content = b""
    while b"\r\n\r\n" not in content:
        content += connection.recv(65536)
    head, _, body = content.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split()[0])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.mark.parametrize("charset", ["utf-8", "iso-8859-1"])
def test_requests_go_as_the_standard_says(charset: str) -> None:
    with answering(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n") as (address, got):
        with SoapClient(charset=charset) as client:  # type: ignore[arg-type]
            client.send(address, lot())
        head, _, body = got[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /ws HTTP/1.1")
    assert b'soapaction: ""' in head.lower()
    assert f"content-type: text/xml; charset={charset}".encode() in head.lower()
    assert "CLÍNICA".encode(charset) in body
    assert b"<soapenv:Body><ans:loteGuiasWS" in body


ANSWERS = {
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", Refused),
    "busy": (b"HTTP/1.1 429 Slow\r\nContent-Length: 0\r\n\r\n", Refused),
    "gateway": (b"HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n", Unknown),
    "no HTTP": (b"\x16\x03\x01", Unknown),
    "nothing": (b"", Unknown),
    "cut headers": (b"HTTP/1.1 200 OK\r\nContent-Le", Unknown),
}


FAULTS = {
    "Erro inesperado do servidor": Unknown("fault without a known code"),
    "erroInesperadoServidor": Unknown("fault ErroInesperadoServidor"),
    "java.lang.NullPointerException": Unknown("fault without a known code"),
    "": Unknown("fault without a known code"),
    "Client": Unknown("fault without a known code"),
    "HASH INVALIDO": Refused("fault", "HashInvalido", worth_a_retry=False),
    "LoginInvalido": Refused("fault", "LoginInvalido", worth_a_retry=False),
}


@pytest.mark.parametrize("code", FAULTS)
def test_only_a_fault_that_the_standard_names_says_that_the_operator_has_nothing(code: str) -> None:
    """Any other text in tissFault counted as "not sent", and the lot went to the operator twice."""
    body = f"""<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>
<faultcode>s:Server</faultcode><faultstring>x</faultstring><detail><tissFaultWS xmlns="{NS}">
<tissFault>{code}</tissFault></tissFaultWS></detail></s:Fault></s:Body></s:Envelope>""".encode()
    head = f"HTTP/1.1 500 Error\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with answering(head, body) as (address, _), SoapClient() as client:
        assert client.send(address, lot()) == FAULTS[code]


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_of_other_machines_are_told_apart(name: str) -> None:
    content, kind = ANSWERS[name]
    with answering(content) as (address, _), SoapClient() as client:
        outcome = client.send(address, lot())
    assert isinstance(outcome, kind)
    assert not isinstance(outcome, Refused) or outcome.worth_a_retry == (name == "busy")


def test_an_answer_that_is_too_large_is_not_read_to_its_end(operator: OperatorServer) -> None:
    with SoapClient(max_reply_bytes=400) as client:
        assert send(client, operator, lot()) == Unknown("the reply was too large or took too long")


def test_an_answer_that_trickles_ends_with_the_total_time() -> None:
    stop = threading.Event()

    def trickle(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n")
        for _ in range(500):
            if not stop.wait(0.01):
                connection.sendall(b"x")

    with answering(after=trickle) as (address, _), SoapClient(timeouts=Timeouts(read=5, total=0.2)) as client:
        outcome = client.send(address, lot())
        stop.set()
    assert outcome == Unknown("the reply was too large or took too long")


@pytest.mark.parametrize("key", ["certificate", "authorities"])
def test_a_certificate_that_cannot_be_used_is_told_by_its_key(key: str, tmp_path: Path) -> None:
    """A wrong path ended the command as an unexpected error."""
    (tmp_path / "empty.pem").touch()
    for path in (tmp_path / "nowhere.pem", tmp_path / "empty.pem"):
        with pytest.raises(ConfigurationError, match=f"^{key}: "):
            SoapClient(**{key: path if key == "authorities" else Certificate(path)})  # type: ignore[arg-type]


def test_outcomes_do_not_show_what_was_said(client: SoapClient, operator: OperatorServer) -> None:
    shown = repr(send(client, operator, lot())) + repr(lot())
    assert "00000000000000001" not in shown
    assert "SINT" not in shown


def test_lots_survive_in_a_file(tmp_path: Path, client: SoapClient) -> None:
    with OperatorServer(file=tmp_path / "lots.db") as server:
        send(client, server, lot())
    with OperatorServer(file=tmp_path / "lots.db") as server:
        assert [(one.number, one.status) for one in server.lots()] == [("7", "1")]
