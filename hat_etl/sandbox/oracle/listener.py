"""What listens on loopback and serves each client in a thread of its own."""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress

from hat_etl.sandbox.oracle.faults import Reset
from hat_etl.sandbox.oracle.logon import Account
from hat_etl.sandbox.oracle.packets import Channel
from hat_etl.sandbox.oracle.profiles import Profile

WE8MSWIN1252 = 178
"""Number of the character set in which Protheus keeps its texts."""


class Listener(ABC):
    """A server of Oracle's protocol, from its first moment on."""

    charset = WE8MSWIN1252

    def __init__(
        self,
        service: str,
        accounts: Mapping[str, Account],
        profile: Profile,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.service = service
        self.accounts = {name.upper(): account for name, account in accounts.items()}
        self.profile = profile
        self._tls = tls
        self._clients: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._listen, name="oracle", daemon=True).start()

    @abstractmethod
    def talk(self, channel: Channel) -> None:
        """Serve one client until it leaves."""

    @property
    def address(self) -> str:
        """Host, port and service as a client names them."""
        return f"127.0.0.1:{self.port}/{self.service}"

    def close(self) -> None:
        """Stop listening and turn all clients out."""
        with suppress(OSError):  # wakes the thread that accepts
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for client in list(self._clients):
            with suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

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
            self.talk(Channel(client, self.profile))
        except Reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass  # the client has gone while it was answered, or does not like the certificate
        except Exception:
            logging.getLogger(__name__).exception("The session failed.")
        finally:
            self._clients.discard(client)
            client.close()
