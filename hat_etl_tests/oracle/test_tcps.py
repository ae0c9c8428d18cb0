"""A PLS on Oracle behind TLS: the same rows, and each refusal of the handshake told with its cause and mend."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from ssl import TLSVersion

import pytest

from hat_etl.sandbox.oracle.faults import Fault, HangUp, Reset
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.sandbox.server import PLS, READER
from hat_etl_tests.failures.ground import Ground, Server
from hat_etl_tests.failures.syncing import assert_told
from hat_etl_tests.oracle.certificates import DAY, Authority, Identity, of_server, wallet
from hat_etl_tests.oracle.conftest import ACCOUNTS, PASSWORD
from hat_etl_tests.oracle.test_faults import BENEFICIARIES, SECOND_BATCH, load

HOST = "localhost"
SECRET = "s3gr3do-da-carteira"
OURS, OTHERS = Authority(), Authority("Outra autoridade")
CLIENT = OURS.issue("hat_etl")

Listen = Callable[..., OracleServer]


@pytest.fixture
def listen(server: Server, tmp_path: Path) -> Iterator[Listen]:
    """Starts servers for TCPS, which end with the test."""
    begun: list[OracleServer] = []

    def start(
        identity: Identity | None = None, clients: Authority | None = None, newest: TLSVersion = TLSVersion.TLSv1_3
    ) -> OracleServer:
        context = of_server(identity or OURS.issue(HOST), tmp_path / "server", clients)
        context.maximum_version = newest
        reader, admin = server.url(PLS, READER), server.url(PLS, "postgres")
        begun.append(OracleServer(reader, admin, ACCOUNTS, tls=context))
        return begun[-1]

    yield start
    for oracle in begun:
        oracle.close()


def address(oracle: OracleServer, wallet: Path | None, *options: str, host: str = f"tcps://{HOST}") -> str:
    said = [f"wallet_location={wallet}"] if wallet else []
    asked = "&".join([*said, *options])
    return f"{READER}/{PASSWORD}@{host}:{oracle.port}/{oracle.service}" + (f"?{asked}" if asked else "")


def plan(ground: Ground) -> int:
    return ground.run("plan", ground.name).exit_code


def test_a_load_by_tcps_brings_the_same_rows(listen: Listen, ground: Ground, tmp_path: Path) -> None:
    oracle, before = listen(), ground.contents()
    ground.erp_url = address(oracle, wallet(tmp_path / "w", OURS))
    for table in ("kinships", "beneficiaries"):
        (loaded,) = ground.load("--only", table)["tables"]
        assert loaded["read"] > 0
    assert any(BENEFICIARIES in sql for sql, _ in oracle.statements)
    assert ground.contents() == before
    ground.assert_clean()


@pytest.mark.parametrize("fault", [Reset(), HangUp()], ids=lambda fault: type(fault).__name__)
def test_a_tcps_connection_lost_in_the_middle_of_a_range_goes_on_where_it_was(
    fault: Exception, listen: Listen, ground: Ground, tmp_path: Path
) -> None:
    oracle, before = listen(), ground.contents()
    ground.erp_url = address(oracle, wallet(tmp_path / "w", OURS))
    oracle.faults.plant(Fault(BENEFICIARIES, SECOND_BATCH, fault))
    result = load(ground, "--only", "beneficiaries")
    assert result.exit_code == 0, result.err
    assert ground.contents() == before
    assert len([sql for sql, _ in oracle.statements if BENEFICIARIES in sql]) == 2


def test_a_name_of_tnsnames_may_name_the_wallet_and_the_certificate(
    listen: Listen, ground: Ground, tmp_path: Path
) -> None:
    oracle = listen(OURS.issue("outro.exemplo"), clients=OURS)
    own = wallet(tmp_path / "w", OURS, identity=CLIENT)
    security = f'(SECURITY=(MY_WALLET_DIRECTORY={own})(SSL_SERVER_CERT_DN="CN=outro.exemplo,O=Operadora"))'
    where = f"(ADDRESS=(PROTOCOL=TCPS)(HOST={HOST})(PORT={oracle.port}))(CONNECT_DATA=(SERVICE_NAME={oracle.service}))"
    (tmp_path / "tnsnames.ora").write_text(f"PLS = (DESCRIPTION={where}{security})", encoding="utf-8")
    ground.erp_url, ground.erp_extra = f"{READER}/{PASSWORD}@PLS", f'tns_admin = "{tmp_path}"'
    assert plan(ground) == 0


# What is refused -----------------------------------------------------------------------------------------------------


def refused(ground: Ground, *words: str, exit_code: int = 4) -> None:
    """The doctor names cause and mend, and no secret."""
    result = ground.run("doctor", ground.name, "--json")
    assert_told(result.out, *words)
    assert result.exit_code == exit_code
    for secret in (PASSWORD, SECRET):
        assert secret not in result.out + result.err


NOT_NAMED = ("bears another name (DPY-6006)", "an IP address never does", "ssl_server_cert_dn")


def test_a_certificate_of_another_name_is_refused_unless_the_address_gives_that_name(
    listen: Listen, ground: Ground, tmp_path: Path
) -> None:
    oracle, trusting = listen(OURS.issue("outro.exemplo")), wallet(tmp_path / "w", OURS)
    ground.erp_url = address(oracle, trusting)
    refused(ground, *NOT_NAMED)
    ground.erp_url = address(oracle, trusting, "ssl_server_cert_dn=CN=outro.exemplo,O=Outra")
    refused(ground, "another name than ssl_server_cert_dn (DPY-6002)", "Correct ssl_server_cert_dn")
    ground.erp_url = address(oracle, trusting, "ssl_server_cert_dn=CN=outro.exemplo,O=Operadora")
    assert plan(ground) == 0
    ground.erp_url = address(oracle, trusting, "ssl_server_dn_match=off")
    assert plan(ground) == 0


def test_an_ip_address_is_no_name_of_a_certificate(listen: Listen, ground: Ground, tmp_path: Path) -> None:
    ground.erp_url = address(listen(), wallet(tmp_path / "w", OURS), host="tcps://127.0.0.1")
    refused(ground, *NOT_NAMED)


def test_a_certificate_that_nobody_trusted_has_signed_is_refused(
    listen: Listen, ground: Ground, tmp_path: Path
) -> None:
    oracle = listen()
    for known in (None, wallet(tmp_path / "w", OTHERS)):
        ground.erp_url = address(oracle, known)
        refused(ground, "signed by nobody whom this machine trusts", "orapki wallet export", "wallet_location")
    assert not oracle.statements


def test_an_expired_certificate_is_refused(listen: Listen, ground: Ground, tmp_path: Path) -> None:
    ground.erp_url = address(listen(OURS.issue(HOST, ends=-DAY)), wallet(tmp_path / "w", OURS))
    refused(ground, "certificate has expired", "Let the DBA renew it")


def test_a_wallet_that_is_missing_empty_or_unreadable_is_told(listen: Listen, ground: Ground, tmp_path: Path) -> None:
    oracle = listen()
    ground.erp_url = address(oracle, tmp_path / "nowhere")
    refused(ground, "holds no ewallet.pem (DPY-2018)", "wallet_location")
    ground.erp_url = address(oracle, wallet(tmp_path / "empty"))
    refused(ground, "ewallet.pem holds no certificate", "in PEM format")
    (tmp_path / "folder" / "ewallet.pem").mkdir(parents=True)
    ground.erp_url = address(oracle, tmp_path / "folder")
    refused(ground, "cannot be read (Is a directory)", "may read", exit_code=3)


@contextmanager
def answering_in_clear() -> Iterator[int]:
    """A listener that refuses in clear whatever it is told; gives its port."""

    def refuse(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client:
                    client.recv(4096)
                    client.sendall(REFUSAL)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


REFUSAL = bytes((0, 32, 0, 0, 4, 0, 0, 0, 34, 0, 0, 20)) + b"(DESCRIPTION=(ERR=))"


def test_a_port_of_the_other_kind_is_told(listen: Listen, ground: Ground, tmp_path: Path) -> None:
    ground.erp_url = address(listen(), None, host=HOST)
    refused(ground, "closes the connection before the login (DPY-4011)", "write tcps:// before the host")
    with answering_in_clear() as port:
        ground.erp_url = f"{READER}/{PASSWORD}@tcps://{HOST}:{port}/X?wallet_location={wallet(tmp_path / 'w', OURS)}"
        refused(ground, "does not speak TLS", "Name the port for TCPS")


# Certificates of the client ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("newest", [TLSVersion.TLSv1_2, TLSVersion.TLSv1_3], ids=lambda version: version.name)
def test_a_server_that_asks_for_a_certificate_lets_in_who_has_one(
    newest: TLSVersion, listen: Listen, ground: Ground, tmp_path: Path
) -> None:
    oracle = listen(clients=OURS, newest=newest)
    for number, identity in enumerate((None, OTHERS.issue("hat_etl"))):
        ground.erp_url = address(oracle, wallet(tmp_path / f"w{number}", OURS, identity=identity))
        refused(ground, "certificate of the client", "wallet_location")
    assert not oracle.statements
    ground.erp_url = address(oracle, wallet(tmp_path / "good", OURS, identity=CLIENT))
    assert plan(ground) == 0


def test_a_wallet_with_a_password_takes_the_right_one(listen: Listen, ground: Ground, tmp_path: Path) -> None:
    oracle = listen(clients=OURS)
    ground.erp_url = address(oracle, wallet(tmp_path / "w", OURS, identity=CLIENT, password=SECRET))
    refused(ground, "that is protected by a password", "wallet_password in [erp]", exit_code=3)
    ground.erp_extra = 'wallet_password = "env:CARTEIRA"'
    refused(ground, "The secret env:CARTEIRA is not set", exit_code=3)
    ground.environment = {"CARTEIRA": "errada"}
    refused(ground, "whose password is another one", "Correct the secret behind wallet_password", exit_code=3)
    ground.environment = {"CARTEIRA": SECRET}
    assert plan(ground) == 0


def test_a_wallet_whose_key_is_broken_is_told(listen: Listen, ground: Ground, tmp_path: Path) -> None:
    good = wallet(tmp_path / "w", OURS, identity=CLIENT)
    lines = (good / "ewallet.pem").read_text(encoding="ascii").splitlines()
    (good / "ewallet.pem").write_text("\n".join([lines[0], *lines[2:]]), encoding="ascii")
    ground.erp_url = address(listen(clients=OURS), good)
    refused(ground, "whose private key cannot be used", "exported anew", exit_code=3)
