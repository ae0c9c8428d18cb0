"""The other two of the billing loop in the sandbox: a HAT in which lots wait, and an operator's web service."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from hat_etl.sandbox import services
from hat_etl.sandbox.hat.lots import Kind, Recipe
from hat_etl.sandbox.hat.state import FileFault, Lot, State
from hat_etl.sandbox.operator.ledger import Ledger
from hat_etl.sandbox.operator.ledger import Lot as OperatorLot
from hat_etl.sandbox.services import Service

_FIRST: tuple[tuple[str, Kind, FileFault | None], ...] = (
    ("000101", "consulta", None),
    ("000101", "sadt", None),
    ("000101", "wrong_hash", None),
    ("000102", "sadt", None),
    ("000102", "too_many", None),
    ("000102", "consulta", None),
    ("000103", "consulta", None),
    ("000103", "sadt", "parent_not_found"),
    ("000103", "sadt", None),
)
"""Provider, kind and fault of the file of the lots that wait at first."""
_LATER: tuple[tuple[str, Kind, FileFault | None], ...] = (("000101", "sadt", None), ("000103", "consulta", None))
_GUIDES = 3


@dataclass(frozen=True)
class BillingSandbox:
    """A HAT and an operator that run; they outlive the process that started them."""

    folder: Path
    registry: str
    hat: Service
    operator: Service

    @classmethod
    def up(cls, folder: Path, registry: str, tenant: str) -> BillingSandbox:
        """Start what does not run yet."""
        token = folder / "master.token"
        if not token.exists():
            token.touch(mode=0o600)
            token.write_text(secrets.token_hex(32), encoding="utf-8")
        known = services.remembered(_file(folder))
        if not all(service.is_running for service in known.values()) or len(known) < 2:
            for service in known.values():
                service.stop()
            known = {
                "hat": services.start(
                    "hat_etl.sandbox.hat",
                    ["--registry", registry, "--file", str(folder / "hat.sqlite"), "--token-file", str(token),
                     "--tenant-name", tenant, "--tenant-id", "1"],
                ),
                "operator": services.start(
                    "hat_etl.sandbox.operator", ["--registry", registry, "--file", str(folder / "operator.sqlite")]
                ),
            }  # fmt: skip
            services.remember(_file(folder), known)
        return cls(folder, registry, known["hat"], known["operator"])

    def hat_keys(self) -> str:
        """What the section [hat] of the tenant file says of it."""
        return f'api_url = "{self.hat.url}"\nmaster_token = "file:{self.folder / "master.token"}"\n'

    def sections(self, tenant: str) -> str:
        """The sections of the tenant file for it. Nothing waits long here: it is there to be watched."""
        service = f"{self.operator.url}/ws/{{version}}"
        return f"""
[hat.api]
tenant_name = "{tenant}"
tenant_id = "1"

[billing]
deliver = "soap"
ask = "pls"
download_hosts = ["{self.hat.url}"]
unknown_wait_seconds = 0
retry_seconds = 0
poll_minutes = 0

[billing.soap]
lot_url = "{service}/tissLoteGuias"
status_url = "{service}/tissSolicitacaoStatusProtocolo"
statement_url = "{service}/tissSolicitacaoDemonstrativoRetorno"

[billing.pls]
url = "{self.operator.url}/rest"
"""

    def seed(self) -> None:
        """Let lots wait in HAT: many kinds the first time, two good ones each time after."""
        state = State(self.folder / "hat.sqlite")
        before = len(state.lots())
        self._add(state, before, _LATER if before else _FIRST)
        if not before:
            # The provider has thought better of the last one.
            state.mark_deleted(str(len(_FIRST)))
        state.close()

    def _add(self, state: State, before: int, lots: Sequence[tuple[str, Kind, FileFault | None]]) -> None:
        for number, (provider, kind, fault) in enumerate(lots, before + 1):
            recipe = Recipe(
                registry=self.registry, provider=provider, number=str(number), guides=_GUIDES, kind=kind, seed=number
            )
            state.add(recipe, file_fault=fault)

    def advance(self) -> None:
        """The operator works: every lot goes one status further."""
        httpx.post(f"{self.operator.url}/control/advance", timeout=60).raise_for_status()

    def in_hat(self) -> list[Lot]:
        """The lots as HAT shows them."""
        state = State(self.folder / "hat.sqlite")
        try:
            return state.lots()
        finally:
            state.close()

    def at_operator(self) -> list[OperatorLot]:
        """The lots that the operator has."""
        ledger = Ledger(self.folder / "operator.sqlite")
        try:
            return list(ledger.all())
        finally:
            ledger.close()


def is_there(folder: Path) -> bool:
    """Whether the sandbox of ``folder`` has ever had them."""
    return (folder / "hat.sqlite").exists()


def down(folder: Path) -> None:
    """Stop both; their data stay."""
    for service in services.remembered(_file(folder)).values():
        service.stop()
    _file(folder).unlink(missing_ok=True)


def forget(folder: Path) -> None:
    """Stop both and drop their data."""
    down(folder)
    for file in folder.glob("*.sqlite*"):
        file.unlink()


def _file(folder: Path) -> Path:
    return folder / "services.json"
