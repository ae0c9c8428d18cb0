"""A HAT on loopback, and a tenant whose file points to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hat_etl.hat_api.client import HatApi
from hat_etl.sandbox.hat.app import HatServer
from hat_etl.sandbox.hat.lots import Recipe
from hat_etl.sandbox.hat.state import State
from hat_etl.sandbox.web import Faults, Faulty, serving
from hat_etl.tenants.config import Tenant

REGISTRY, PROVIDER = "412345", "000123"
TOKEN = "c0ffee" * 8


def recipe(number: int | str, **changes: Any) -> Recipe:
    return Recipe(**{"registry": REGISTRY, "provider": PROVIDER, "number": str(number), "guides": 1, **changes})


@dataclass
class Hat:
    """A HAT that serves; ``server.tokens`` may be changed while it does."""

    state: State
    server: HatServer
    faulty: Faulty
    url: str
    folder: Path

    def tenant(self, **sections: dict[str, Any]) -> Tenant:
        """A tenant of this HAT; ``sections`` are added to those of its file."""
        api = {"tenant_name": "acme", "tenant_id": "77", "pause_seconds": 0, "attempts": 3, **sections.pop("api", {})}
        hat = {"url": "env:NOT_SET", "api_url": self.url, "master_token": "file:token", "api": api}
        document = {
            "name": "acme", "ans_registry": REGISTRY, "hat": hat,
            "erp": {"dialect": "postgresql", "url": "env:NOT_SET", "company": "01"},
            "billing": {"download_hosts": [self.url], **sections.pop("billing", {})},
            **sections,
        }  # fmt: skip
        return Tenant.model_validate(document, context={"folder": self.folder, "tenant": "acme"}, by_name=False)

    def faults(self, **shares: Any) -> None:
        self.faulty.set(Faults(**shares))


@pytest.fixture
def hat(tmp_path: Path) -> Iterator[Hat]:
    state = State()
    server = HatServer(state, {TOKEN}, "acme", "77", REGISTRY)
    faulty = server.app()
    (tmp_path / "token").write_text(TOKEN + "\n")
    with serving(faulty) as url:
        yield Hat(state, server, faulty, url, tmp_path)
    state.close()


@pytest.fixture
def connect(hat: Hat) -> Iterator[Callable[..., HatApi]]:
    """Opens the API of a tenant of ``hat``."""
    with ExitStack() as stack:

        def open_(**sections: dict[str, Any]) -> HatApi:
            api = HatApi(hat.tenant(**sections))
            stack.callback(api.close)
            return api

        yield open_
