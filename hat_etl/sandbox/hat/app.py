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

from hat_etl.sandbox.hat.state import Lot, State
from hat_etl.sandbox.web import Faults, Faulty, loads

PATH, BILLING_PATH = "/api/healthcare/hat/v1", "/api/healthcare/hatfaturamento/v1"
FOLDER = "lotes de guias"
"""The folder of the store; its name has blanks, as those of HAT's store may have."""

_PARENT_NOT_FOUND = b'<?xml version="1.0"?><Error><Code>PARENTNOTFOUND</Code></Error>'
_ENTITIES = (
    "persons", "beneficiaries", "beneficiaryStatus", "preExistingDiseases", "healthProviders", "healthProviderStatus",
    "attendanceLocations", "healthProviderSpecialties", "clinicalStaff", "coverages/procedureLevel",
    "coverages/groupLevel", "professionals",
)  # fmt: skip


@dataclass
class HatServer:
    """One operator's HAT. ``tokens`` are the Mastertokens that it accepts."""

    state: State
    tokens: set[str]
    tenant_name: str
    tenant_id: str
    registry: str
    looks: int = 1
    """How often a write is asked about before its answer is ready."""
    strict: bool = False
    """Whether cadastral writes of another operator's registry are rejected."""
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(16))

    def app(self, faults: Faults | None = None) -> Faulty:
        """The application, for ``web.serving``."""
        routes = [
            Route(f"{BILLING_PATH}/batchesAuthorization", self._guarded(self._list_lots), methods=["GET"]),
            Route(f"{BILLING_PATH}/batchesAuthorization/{{number}}", self._guarded(self._put_lot), methods=["PUT"]),
            Route(
                f"{BILLING_PATH}/batchesAuthorization/{{number}}", self._guarded(self._delete_lot), methods=["DELETE"]
            ),
            Route(f"{PATH}/authorizations", self._guarded(self._list_authorizations), methods=["GET"]),
            Route(f"{PATH}/integration/{{token}}", self._guarded(self._answer), methods=["GET"]),
            *(Route(f"{PATH}/{entity}", self._guarded(self._write), methods=["POST"]) for entity in _ENTITIES),
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
        return {
            "batchNumber": lot.batch_number,
            "batchDate": lot.batch_date,
            "healthProviderId": lot.provider,
            "authType": lot.auth_type,
            "status": lot.status,
            "trackingStatus": lot.tracking,
            "protocol": lot.protocol,
            "isDeleted": lot.is_deleted,
            "azureStorageFilePath": f"{host}/{FOLDER}/{lot.batch_number}.xml",
            "azureStorageSasToken": f"sp=r&sig={self._signature(f'{lot.batch_number}.xml')}",
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
        found = self.state.file(name.removesuffix(".xml"))
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
            return JSONResponse({"code": "404", "message": "Lote não encontrado"}, 404)
        return JSONResponse({"batchNumber": number})

    async def _delete_lot(self, request: Request) -> Response:
        done = self.state.delete(request.path_params["number"])
        return Response(status_code=204 if done else 404)

    async def _list_authorizations(self, request: Request) -> Response:
        offset, limit = _window(request)
        tracking = int(request.query_params.get("trackingStatus", 0))
        items, has_next = self.state.authorizations(tracking, offset, limit)
        _shuffle(request, items)
        return JSONResponse({"items": items, "hasNext": has_next})

    async def _write(self, request: Request) -> Response:
        body = loads(await request.body())
        if not isinstance(body, dict):
            return JSONResponse({"code": "400", "message": "Corpo inválido"}, 400)
        refused = self.strict and body.get("ansRegistry") not in (None, self.registry)
        answer: dict[str, Any] = {
            "idTenant": self.tenant_id,
            "code": "400" if refused else "200",
            "message": "Operadora não encontrada" if refused else "Processado com sucesso",
            "detailedMessage": [],
        }
        token = secrets.token_hex(16)
        self.state.write(token, request.url.path.removeprefix(PATH), body, self.looks, answer)
        return JSONResponse({"tokenId": token, "averageTime": 1, "serviceResponse": True}, 202)

    async def _answer(self, request: Request) -> Response:
        found = self.state.answer(request.path_params["token"])
        if found is None:
            return JSONResponse({"code": "404", "message": "Token não encontrado"}, 404)
        done, answer = found
        return JSONResponse(answer) if done else JSONResponse({"code": "202", "message": "Em processamento"}, 202)


def _window(request: Request) -> tuple[int, int]:
    """Offset and size of the page that is asked for."""
    page, size = (int(request.query_params.get(name, default)) for name, default in (("page", 1), ("pageSize", 20)))
    return (page - 1) * size, size


def _shuffle(request: Request, items: list[Any]) -> None:
    dice = request.scope.get("shuffle")
    if dice is not None:
        dice.shuffle(items)
