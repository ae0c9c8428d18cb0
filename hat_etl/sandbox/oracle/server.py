"""The server: it listens on loopback and serves each client in a thread of its own."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress

import psycopg

from hat_etl.sandbox.oracle import dictionary
from hat_etl.sandbox.oracle.faults import Faults, Reset
from hat_etl.sandbox.oracle.kept import Results
from hat_etl.sandbox.oracle.logon import Account
from hat_etl.sandbox.oracle.moments import Moments
from hat_etl.sandbox.oracle.packets import Channel
from hat_etl.sandbox.oracle.profiles import PROFILES
from hat_etl.sandbox.oracle.session import Session
from hat_etl.sandbox.oracle.translation import DICTIONARY

SERVICE = "PLSPDB"
WE8MSWIN1252 = 178
"""Number of the character set in which Protheus keeps its texts."""


class OracleServer:
    """An Oracle database to the eye of a client; the data are those of a database of PostgreSQL.

    It knows the login, queries in the forms of ``translation``, moments of the past, and the errors of ``errors``.
    Everything else is refused with ORA-00900 or ORA-00600, and nothing is guessed.
    """

    def __init__(
        self,
        dsn: str,
        admin_dsn: str,
        accounts: Mapping[str, Account],
        *,
        profile: str = "19c",
        port: int = 0,
        keeps_results: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``dsn`` reads the data; ``admin_dsn`` makes the dictionary's views first.

        Schemas are looked through as the reading role's search path says, then the dictionary.
        ``keeps_results``: what was read of one moment is sent again when it is asked of another one; see ``kept``.
        ``tls``: the server listens for TCPS, with the certificate that this holds.
        """
        with psycopg.connect(admin_dsn) as connection:
            reader = str(psycopg.conninfo.conninfo_to_dict(dsn)["user"])
            dictionary.install(connection, reader)
        self.dsn = psycopg.conninfo.make_conninfo(
            dsn, options=f'-c timezone=UTC -c search_path="$user",{DICTIONARY}', client_encoding="UTF8"
        )
        self.accounts = {name.upper(): account for name, account in accounts.items()}
        self.profile = PROFILES[profile]
        self.service = SERVICE
        self.charset = WE8MSWIN1252
        self.results = Results() if keeps_results else None
        self.faults = Faults()
        self.moments = Moments(self.dsn)
        self.statements: list[tuple[str, int | None]] = []
        """Queries in the order in which they came, with the SCN that each asks for."""
        self._tls = tls
        self._clients: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._listen, name="oracle", daemon=True).start()

    @property
    def address(self) -> str:
        """Host, port and service as a client names them."""
        return f"127.0.0.1:{self.port}/{self.service}"

    def heard(self, sql: str, scn: int | None) -> None:
        self.statements.append((sql, scn))

    def close(self) -> None:
        """Stop listening and turn all clients out."""
        with suppress(OSError):  # wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in list(self._clients):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
        self.moments.close()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), name="oracle session", daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is not None:
            client = self._tls.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
        self._clients.add(client)
        try:
            if isinstance(client, ssl.SSLSocket):
                client.do_handshake()
            Session(self, Channel(client, self.profile)).run()
        except Reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # the client has gone while it was answered, or does not like the certificate
        except Exception:
            logging.getLogger(__name__).exception("The session failed.")
        finally:
            self._clients.discard(client)
            client.close()
