"""The calls that the HAT of the sandbox answers."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from hat_etl.sandbox.hat.cadastral import PATHS, Cadastral
from hat_etl.sandbox.hat.state import Lot, State
from hat_etl.sandbox.web import Faults, Faulty, loads

PATH, BILLING_PATH = "/api/healthcare/hat/v1", "/api/healthcare/hatfaturamento/v1"
INTEGRATION = "/batchesAuthorization/integration"
FOLDER = "lotes de guias"
"""The folder of the store; its name has blanks, as those of HAT's store may have."""

_PARENT_NOT_FOUND = b'<?xml version="1.0"?><Error><Code>PARENTNOTFOUND</Code></Error>'


@dataclass
class HatServer:
    """One operator's HAT. ``tokens`` are the Mastertokens that it accepts."""

    state: State
    tokens: set[str]
    tenant_name: str
    tenant_id: str
    registry: str
    before_mark: Callable[[str], None] | None = None
    """What happens before an authorization, given by its number, is marked as imported."""
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def __post_init__(self) -> None:
        self.cadastral = Cadastral(self.state, self.tenant_id, self.registry)

    def app(self, faults: Faults | None = None) -> Faulty:
        """The application, for ``web.serving``."""
        one, many = self.cadastral.professional, self.cadastral.include_professional
        routes = [
            Route(f"{BILLING_PATH}/batchesAuthorization", self._guarded(self._list_lots), methods=["GET"]),
            Route(f"{BILLING_PATH}/batchesAuthorization/{{number}}", self._guarded(self._put_lot), methods=["PUT"]),
            Route(
                f"{BILLING_PATH}/batchesAuthorization/{{number}}", self._guarded(self._delete_lot), methods=["DELETE"]
            ),
            Route(f"{PATH}/authorizations", self._guarded(self._list_authorizations), methods=["GET"]),
            Route(f"{PATH}/authorizations/{{number}}", self._guarded(self._authorization), methods=["GET", "PUT"]),
            Route(f"{PATH}/authorizations/{{number}}/cancel", self._guarded(self._cancel), methods=["POST"]),
            Route(f"{BILLING_PATH}{INTEGRATION}", self._guarded(self._integrate), methods=["POST"]),
            Route(f"{PATH}/integration/{{token}}", self._guarded(self._answer), methods=["GET"]),
            Route(f"{PATH}/professionals", self._guarded(many), methods=["POST"]),
            Route(f"{PATH}/professionals/{{number}}", self._guarded(one), methods=["GET", "PUT", "DELETE"]),
            *(
                Route(f"{PATH}{path}", self._guarded(self._rows), methods=["GET", "POST"])
                for path in PATHS
                if path != "/professionals"
            ),
            Route(f"/{FOLDER}/{{name}}", self._file, methods=["GET"]),
        ]
        return Faulty(Starlette(routes=routes), faults)

    def _guarded(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            given = request.headers
            known = given.get("Authorization") in self.tokens
            if not known or given.get("tenantName") != self.tenant_name or given.get("idTenant") != self.tenant_id:
                return JSONResponse({"code": "401", "message": "Acesso negado"}, 401)
            return await answer(request)

        return guarded

    async def _list_lots(self, request: Request) -> Response:
        query = request.query_params
        if query.get("codeSusep") != self.registry:
            return JSONResponse({"items": [], "hasNext": False})
        offset, limit = _window(request)
        found, has_next = self.state.waiting(int(query.get("trackingStatus", 0)), offset, limit)
        items = [self._item(request, lot, fault) for lot, fault in found]
        _shuffle(request, items)
        return JSONResponse({"items": items, "hasNext": has_next})

    def _item(self, request: Request, lot: Lot, fault: str | None) -> dict[str, Any]:
        host = "http://169.254.169.254" if fault == "elsewhere" else str(request.base_url).rstrip("/")
        name = f"{lot.provider}-{lot.batch_number}.xml"
        return {
            "batchNumber": lot.batch_number,
            "batchDate": lot.batch_date,
            "healthProviderId": lot.provider,
            "authType": lot.auth_type,
            "status": lot.status,
            "trackingStatus": lot.tracking,
            "protocol": lot.protocol,
            "isDeleted": lot.is_deleted,
            "azureStorageFilePath": f"{host}/{FOLDER}/{name}",
            "azureStorageSasToken": f"sp=r&sig={self._signature(name)}",
        }

    def _signature(self, name: str) -> str:
        return hmac.new(self._key, name.encode(), hashlib.sha256).hexdigest()

    async def _file(self, request: Request) -> Response:
        name = request.path_params["name"]
        # A store takes its folder's name encoded once, and the signature that belongs to the name.
        if not request.scope["raw_path"].startswith(f"/{quote(FOLDER)}/".encode()):
            return Response(status_code=400)
        if not hmac.compare_digest(request.query_params.get("sig", ""), self._signature(name)):
            return Response(status_code=403)
        provider, _, number = name.removesuffix(".xml").partition("-")
        found = self.state.file(number, provider)
        if found is None:
            return Response(status_code=404)
        content, fault = found
        match fault:
            case "parent_not_found":
                return Response(_PARENT_NOT_FOUND, media_type="application/xml")
            case "missing":
                return Response(status_code=404)
            case "redirect":
                return RedirectResponse("http://10.0.0.1/latest/meta-data", 302)
            case "large":
                return Response(content + b" " * (17 << 20))
            case "empty":
                return Response(b"")
        return Response(content, media_type="application/octet-stream")

    async def _put_lot(self, request: Request) -> Response:
        body = loads(await request.body())
        number = request.path_params["number"]
        status = body.get("status") if isinstance(body, dict) else 0
        if status is not None and status not in range(1, 7):
            return JSONResponse({"code": "400", "message": "status"}, 400)
        if not self.state.put(number, body):
            return _no_such_lot()
        return JSONResponse({"batchNumber": number})

    async def _delete_lot(self, request: Request) -> Response:
        done = self.state.delete(request.path_params["number"], request.query_params.get("healthProviderId"))
        return Response(status_code=204) if done else _no_such_lot()

    async def _list_authorizations(self, request: Request) -> Response:
        offset, limit = _window(request)
        tracking = int(request.query_params.get("trackingStatus", 0))
        items, has_next = self.state.authorizations(tracking, offset, limit)
        _shuffle(request, items)
        return JSONResponse({"items": items, "hasNext": has_next})

    async def _authorization(self, request: Request) -> Response:
        number = request.path_params["number"]
        if request.method == "PUT":
            body = loads(await request.body())
            tracking = body.get("trackingStatus") if isinstance(body, dict) else None
            if tracking not in (0, 1):
                return JSONResponse({"code": "400", "message": "trackingStatus"}, 400)
            if self.before_mark is not None:
                self.before_mark(number)
            self.state.track_authorization(number, tracking)
        found = self.state.authorization(number)
        if found is None:
            return JSONResponse({"code": "404", "message": "Guia não encontrada"}, 404)
        return JSONResponse(found)

    async def _rows(self, request: Request) -> Response:
        path = request.url.path.removeprefix(PATH)
        answer = self.cadastral.find if request.method == "GET" else self.cadastral.write
        return await answer(request, path)

    async def _integrate(self, request: Request) -> Response:
        return await self.cadastral.write(request, INTEGRATION)

    async def _cancel(self, request: Request) -> Response:
        number = request.path_params["number"]
        self.state.note(request.url.path.removeprefix(PATH), loads(await request.body()))
        receipt = {"ansRegistry": self.registry, "canceledAuthorizations": [{"idOnHealthInsurer": number}]}
        return JSONResponse({"canceledAuthorizationReceipt": receipt})

    async def _answer(self, request: Request) -> Response:
        found = self.state.answer(request.path_params["token"])
        if found is None:
            return JSONResponse({"code": "404", "message": "Token não encontrado"}, 404)
        done, answer = found
        return JSONResponse(answer) if done else JSONResponse({"code": "202", "message": "Em processamento"}, 202)


def _no_such_lot() -> Response:
    return JSONResponse({"code": "404", "message": "Lote não encontrado"}, 404)


def _window(request: Request) -> tuple[int, int]:
    """Offset and size of the page that is asked for."""
    page, size = (int(request.query_params.get(name, default)) for name, default in (("page", 1), ("pageSize", 20)))
    return (page - 1) * size, size


def _shuffle(request: Request, items: list[Any]) -> None:
    dice = request.scope.get("shuffle")
    if dice is not None:
        dice.shuffle(items)
