"""The sandbox's operator behind HTTP: web service per version and operation, the ERP's REST endpoints, and controls.

======================================================  ==============================================================
``POST /ws/4.03.00/tissLoteGuias``                       the web service; the other operations likewise
``GET /ws/4.03.00/tissLoteGuias?wsdl``                   its description, with the schemas beside it
``POST /rest/totvshealthplans/v1/xmlManager``            takes a lot file, as PLS does
``GET /rest/totvshealthplans/v1/protocols``              what became of a lot number, as PLS tells it
``GET /control/lots``                                    every lot, how often it came, its status and denials
``POST /control/advance``                                brings every lot one status further
``POST /control/behaviour``                              sets the odds of mishaps
======================================================  ==============================================================
"""

from __future__ import annotations

import json
import ssl
import threading
import time
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from hat_etl.sandbox.operator.answers import envelope, fault
from hat_etl.sandbox.operator.behaviour import Behaviour, Mishap, Odds
from hat_etl.sandbox.operator.ledger import Ledger, Lot
from hat_etl.sandbox.operator.service import OPERATIONS, Reply, Service, portal
from hat_etl.sandbox.operator.wsdl import wsdl
from hat_etl.tiss.schemas import Schemas, file_suffix

MAX_REQUEST_BYTES = 64 * 1024 * 1024
_JSON = "application/json"


class OperatorServer:
    """The server; it listens once made, and serves within a ``with``. Port 0: any free one."""

    def __init__(
        self,
        registry: str = "412345",
        *,
        file: Path | None = None,
        port: int = 0,
        schemas: Schemas | None = None,
        odds: Odds | None = None,
        seed: int = 1,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``file``: where its lots are kept (SQLite); None: in memory."""
        self.ledger = Ledger(file)
        self.service = Service(registry, self.ledger, schemas or Schemas())
        self.behaviour = Behaviour(odds, seed)
        self.stopping = threading.Event()
        self.http = _Http(("127.0.0.1", port), self)
        if tls is not None:
            self.http.socket = tls.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self.http.server_address[1]}"
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    def address(self, operation: str, version: str = "4.03.00") -> str:
        """Where an operation listens, e.g. ``tissLoteGuias``."""
        return f"{self.url}/ws/{version}/{operation}"

    def lots(self) -> list[Lot]:
        """The lots it has taken, in the order of their arrival."""
        return list(self.ledger.all())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stopping.set()
        self.http.shutdown()
        self.http.server_close()
        self.ledger.close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], operator: OperatorServer) -> None:
        super().__init__(address, _Handler)
        self.operator = operator

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that clients or mishaps cut are daily business here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer goes out in one piece: in two, the second would wait for the client's acknowledgement of the first.
    wbufsize = 64 * 1024
    disable_nagle_algorithm = True
    server: _Http

    def do_GET(self) -> None:
        operator, path, query = self.server.operator, *self._asked()
        steps = path.strip("/").split("/")
        if path.lower() == "/rest/totvshealthplans/v1/protocols":
            self._json(operator.service.protocols(query.get("healthProvider", ""), query.get("batchNumber", "")))
        elif path == "/control/lots":
            self._json([_told(lot) for lot in operator.lots()])
        elif len(steps) == 3 and steps[0] == "ws" and "wsdl" in query and steps[2] in OPERATIONS:
            address = operator.address(steps[2], steps[1])
            told = wsdl(steps[2], OPERATIONS[steps[2]], steps[1], file_suffix(steps[1]), address)
            self._answer(Reply(200, told.encode()))
        elif len(steps) == 3 and steps[0] == "ws" and steps[2].endswith(".xsd"):
            self._schema(steps[1], steps[2])
        else:
            self._answer(Reply(404, b"", "text/plain"))

    def do_POST(self) -> None:
        operator, path, query = self.server.operator, *self._asked()
        length = int(self.headers.get("Content-Length", 0))
        if length > MAX_REQUEST_BYTES:
            self._answer(Reply(413, b"", "text/plain"))
            return
        content = self.rfile.read(length)
        steps = path.strip("/").split("/")
        if len(steps) == 3 and steps[0] == "ws" and steps[2] in OPERATIONS:
            self._with_mishaps(lambda: operator.service.soap(steps[1], steps[2], content))
        elif path.lower() == "/rest/totvshealthplans/v1/xmlmanager":
            provider, number = query.get("healthProvider", ""), query.get("batchNumber", "")
            self._with_mishaps(lambda: _json_reply(operator.service.upload(provider, number, content)))
        elif path == "/control/advance":
            self._json({"moved": operator.ledger.advance()})
        elif path == "/control/behaviour":
            operator.behaviour.odds = Odds(**json.loads(content))
            self._json(asdict(operator.behaviour.odds))
        else:
            self._answer(Reply(404, b"", "text/plain"))

    def _with_mishaps(self, act: Any) -> None:
        operator = self.server.operator
        mishap = operator.behaviour.next()
        if operator.behaviour.odds.delay:
            time.sleep(operator.behaviour.odds.delay)
        if mishap is Mishap.FAIL:
            self._answer(Reply(503, b"<html><body>Service Unavailable</body></html>", "text/html"))
        elif mishap is Mishap.FAULT:
            self._answer(Reply(500, envelope(fault("ErroInesperadoServidor"))))
        elif mishap is Mishap.BLACK_HOLE:
            operator.stopping.wait()
            self.close_connection = True
        else:
            self._mangled(act(), mishap)

    def _mangled(self, reply: Reply, mishap: Mishap) -> None:
        if mishap is Mishap.LOSE_REPLY:
            self.close_connection = True
        elif mishap is Mishap.CUT_REPLY:
            self._answer(reply, cut=True)
        elif mishap is Mishap.GARBLE_REPLY:
            self._answer(Reply(200, b"<html><body>OK</body></html>", "text/html"))
        else:
            self._answer(reply)

    def _asked(self) -> tuple[str, dict[str, str]]:
        parts = urlsplit(self.path)
        return parts.path, {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}

    def _schema(self, version: str, name: str) -> None:
        schema = self.server.operator.service.schemas.get(version)
        files = {file.name: file for file in schema.folder.glob("*.xsd")} if schema is not None else {}
        found = files.get(name)
        self._answer(Reply(200, found.read_bytes()) if found else Reply(404, b"", "text/plain"))

    def _json(self, document: object) -> None:
        self._answer(_json_reply(document))

    def _answer(self, reply: Reply, cut: bool = False) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content[: len(reply.content) // 2] if cut else reply.content)
        self.close_connection = self.close_connection or cut

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: addresses hold numbers of providers."""


def _json_reply(document: object) -> Reply:
    return Reply(200, json.dumps(document, ensure_ascii=False).encode(), _JSON)


def _told(lot: Lot) -> dict[str, object]:
    return {
        **portal(lot),
        "arrivals": lot.arrivals,
        "sha256": lot.digest,
        "guides": len(lot.guides),
        "denials": [{**asdict(denial), "value": float(denial.value)} for denial in lot.denials],
    }
