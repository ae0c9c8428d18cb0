"""The cadastral API of the sandbox's HAT: rows that are included, changed, excluded and read, and rows that it refuses.

What it does with a write it does at once; the answer waits behind its token. It knows nothing of hat_etl's own
declarations: which properties tell a row from another is written down here once more.
"""

from __future__ import annotations

import json
import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hat_etl.sandbox.hat.state import State
from hat_etl.sandbox.web import loads

_PROCEDURE, _PRODUCT = ("procedureTableCode", "procedureCode"), ("healthProductCode", "healthProductVersion")
_SUBCONTRACT = ("companyId", "contractNumber", "contractVersion")
KEYS: dict[str, tuple[str, ...]] = {
    "/persons": ("personId",),
    "/beneficiaries": ("subscriberId",),
    "/beneficiaries coverageGroups": ("subscriberId", "code"),
    "/beneficiaryStatus": ("subscriberId", "eventDate", "eventType"),
    "/preExistingDiseases": ("subscriberId", "diseaseCode", *_PROCEDURE),
    "/professionals": ("idOnHealthInsurer",),
    "/healthProviders": ("healthProviderCode",),
    "/healthProviders procedureCoverage": (
        "healthProviderCode", "attendanceLocationCode", "specialtyCode", *_PROCEDURE, "level", "movementType",
        "initialTerm",
    ),
    "/healthProviderStatus": ("healthProviderCode", "eventDate", "eventType"),
    "/attendanceLocations": ("healthProviderCode", "locationCode"),
    "/healthProviderSpecialties": ("healthProviderCode", "locationCode", "specialtyCode", "subspecialtyCode"),
    "/clinicalStaff": ("healthProviderCode", "attendanceLocation", "specialtyCode", "idOnHealthInsurer"),
    "/coverages/procedureLevel beneficiario": ("companyId", "subscriberId", "beneficiaryRegistryType", *_PROCEDURE),
    "/coverages/procedureLevel familia": ("companyId", "subscriberId", *_PROCEDURE),
    "/coverages/procedureLevel subcontrato": (
        *_SUBCONTRACT, "subContractNumber", "subContractVersion", *_PRODUCT, *_PROCEDURE,
    ),
    "/coverages/procedureLevel produto": (*_PRODUCT, *_PROCEDURE),
    "/coverages/groupLevel familia": ("companyId", "subscriberId", "coverageGroupCode"),
    "/coverages/groupLevel subcontrato": (
        *_SUBCONTRACT, "subcontractNumber", "subcontractVersion", *_PRODUCT, "coverageGroupCode",
    ),
    "/coverages/groupLevel produto": (*_PRODUCT, "coverageGroupCode"),
    "/coverages/groupLevel grupo": ("coverageGroupCode", *_PROCEDURE, "level"),
}  # fmt: skip
"""Properties that tell a row from the others, by path and, after a blank, list or level."""

PATHS = tuple(dict.fromkeys(kind.partition(" ")[0] for kind in KEYS))
_LISTS = ("items", "providers", "locations", "specialties", "diseases")
_INNER = ("procedureCoverage", "coverageGroups")
_LEVELS = ("coverageProcedureLevel", "coverageGroupLevel")


class Cadastral:
    """What it has is in ``state``. ``looks``: how often a write is asked about before its answer is there."""

    def __init__(self, state: State, tenant_id: str, registry: str) -> None:
        self._state, self._tenant_id, self._registry = state, tenant_id, registry
        self.looks = 1

    async def write(self, request: Request, path: str) -> Response:
        """Take rows, all of them or none; the answer is found under a token."""
        body = loads(await request.body())
        if not isinstance(body, dict):
            return _error(400, "Corpo inválido")
        why = self._take(path, body)
        token = secrets.token_hex(16)
        answer: dict[str, Any] = {
            "idTenant": self._tenant_id,
            "code": "400" if why else "200",
            "message": why or "Processado com sucesso",
            "detailedMessage": [],
        }
        self._state.write(token, path, body, self.looks, answer)
        return JSONResponse({"tokenId": token, "averageTime": 1, "serviceResponse": True}, 202)

    def _take(self, path: str, body: dict[str, Any]) -> str | None:
        """Keep the rows of a body; gives why none is kept."""
        if body.get("ansRegistry") not in (None, self._registry):
            return "Operadora não encontrada"
        rows = [row for name in _LISTS for row in body.get(name, ())]
        for row in rows:
            why = self._state.refusal(path, row)
            if why is not None:
                return why
        level = next((f" {body[name]}" for name in _LEVELS if name in body), "")
        for row in rows:
            self._keep(f"{path}{level}", row)
        return None

    def _keep(self, kind: str, row: dict[str, Any]) -> None:
        inner = next((name for name in _INNER if name in row), None)
        if inner is None:
            if kind in KEYS:
                self._state.keep(kind, _key(kind, row), row)
            return
        for part in row[inner]:
            whole = {name: value for name, value in row.items() if name != inner} | part
            self._state.keep(f"{kind} {inner}", _key(f"{kind} {inner}", whole), whole)

    async def find(self, request: Request, path: str) -> Response:
        """The rows that have these properties."""
        wanted = dict(request.query_params)
        level = next((f" {wanted.pop(name)}" for name in _LEVELS if name in wanted), "")
        rows = self._state.kept(f"{path}{level}")
        found = [row for row in rows if all(str(row.get(name, "")) == value for name, value in wanted.items())]
        return JSONResponse({"items": found[:100], "hasNext": len(found) > 100})

    # -- professionals: one at a time, with an answer at once --------------------------------------------------------

    async def include_professional(self, request: Request) -> Response:
        body = loads(await request.body())
        return self._professional(body, "/professionals", 201)

    async def professional(self, request: Request) -> Response:
        """Read, change or exclude one professional."""
        kind, number = "/professionals", request.path_params["number"]
        key = json.dumps([number])
        there = self._state.record(kind, key)
        if request.method != "GET":
            self._state.note(f"{request.method} {kind}/{number}", loads(await request.body()))
        if there is None:
            return _error(404, "Profissional não encontrado")
        match request.method:
            case "GET":
                return JSONResponse(there)
            case "DELETE":
                why = self._state.refusal("DELETE /professionals", there)
                if why is not None:
                    return _error(409, why)
                self._state.forget(kind, key)
                return Response(status_code=204)
        return self._professional(loads(await request.body()), None, 200)

    def _professional(self, body: Any, noted_as: str | None, status: int) -> Response:
        if noted_as is not None:
            self._state.note(noted_as, body)
        if not isinstance(body, dict) or "idOnHealthInsurer" not in body:
            return _error(400, "Corpo inválido")
        why = self._state.refusal("/professionals", body)
        if why is not None:
            return _error(400, why)
        self._state.keep("/professionals", _key("/professionals", body), body)
        return JSONResponse(body, status)


def _key(kind: str, row: dict[str, Any]) -> str:
    return json.dumps([str(row.get(name, "")) for name in KEYS[kind]])


def _error(status: int, message: str) -> Response:
    return JSONResponse({"code": str(status), "message": message, "detailedMessage": message}, status)
