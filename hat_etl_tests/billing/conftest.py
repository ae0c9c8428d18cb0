"""A HAT, an operator and a tenant database: all real, on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from hat_etl.billing.deliver import send
from hat_etl.billing.poll import poll
from hat_etl.billing.pull import pull
from hat_etl.billing.push import push
from hat_etl.billing.work import StageReport
from hat_etl.sandbox.hat.app import HatServer
from hat_etl.sandbox.hat.lots import Recipe
from hat_etl.sandbox.hat.state import Lot, State
from hat_etl.sandbox.operator.server import OperatorServer
from hat_etl.sandbox.web import Faulty, serving
from hat_etl.tenants import store
from hat_etl.tenants.config import Tenant
from hat_etl.tiss.schemas import Schemas
from hat_etl_tests.servers import Server

from .s3 import KEY, S3, SECRET, serving_s3

REGISTRY, PROVIDER = "412345", "000123"
TOKEN = "c0ffee" * 8

_FILE = """
name = "{name}"
ans_registry = "{registry}"
[erp]
dialect = "postgresql"
url = "env:NOT_SET"
company = "01"
[hat]
url = "file:{folder}/{name}.url"
api_url = "{hat}"
master_token = "file:{folder}/token"
[hat.api]
tenant_name = "acme"
tenant_id = "77"
pause_seconds = 0
attempts = {attempts}
page_size = 3
[billing]
deliver = "{deliver}"
ask = "pls"
download_hosts = ["{hat}"]
unknown_wait_seconds = 0
retry_seconds = 0
poll_minutes = 0
{more}
[billing.pls]
url = "{operator}/rest"
[billing.soap]
lot_url = "{operator}/ws/{{version}}/tissLoteGuias"
status_url = "{operator}/ws/{{version}}/tissSolicitacaoStatusProtocolo"
statement_url = "{operator}/ws/{{version}}/tissSolicitacaoDemonstrativoRetorno"
"""


@dataclass
class World:
    """Everything that a lot passes on its way."""

    state: State
    hat: HatServer
    operator: OperatorServer
    hat_faults: Faulty
    hat_url: str
    server: Server
    database: str
    folder: Path
    name: str = "acme"
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 10_000)))

    def write_tenant(
        self, deliver: str = "soap", more: str = "", attempts: int = 3, operator: str | None = None
    ) -> None:
        (self.folder / f"{self.name}.toml").write_text(
            _FILE.format(
                name=self.name, registry=REGISTRY,
                folder=self.folder, hat=self.hat_url, operator=operator or self.operator.url,
                deliver=deliver, more=more, attempts=attempts,
            )
        )  # fmt: skip

    @property
    def tenant(self) -> Tenant:
        return store.load(self.name)

    def add(self, provider: str = PROVIDER, **changes: Any) -> str:
        """A lot that waits in HAT; gives its number."""
        fault = changes.pop("file_fault", None)
        number = changes.pop("number", None) or str(next(self.numbers))
        batch = changes.pop("batch_number", None) or number
        recipe = Recipe(**{"registry": REGISTRY, "provider": provider, "number": number, "guides": 1, **changes})
        return self.state.add(recipe, batch_number=batch, file_fault=fault)

    def in_hat(self, batch_number: str, provider: str | None = None) -> Lot:
        lot = self.state.lot(batch_number, provider)
        assert lot is not None
        return lot

    @contextmanager
    def hat_answers(self, status: int, method: str, *numbers: str, after: int = 0) -> Iterator[None]:
        """HAT answers so to calls of this method, of these lots or of all, without having acted, but for the first."""
        app, seen = self.hat_faults._app, []

        async def answering(scope: Any, receive: Any, send: Any) -> None:
            met = scope["method"] == method and (not numbers or scope["path"].endswith(numbers))
            if met:
                seen.append(scope["path"])
            if not met or len(seen) <= after:
                await app(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})

        self.hat_faults._app = answering
        try:
            yield
        finally:
            self.hat_faults._app = app

    def list_again(self, batch_number: str) -> None:
        """The provider has a lot back that was deleted: it waits again."""
        self.state._do(
            "UPDATE lots SET is_deleted = 0, is_gone = 0, tracking = 0 WHERE batch_number = ?", (batch_number,)
        )

    def order(self, number: int) -> None:
        """The next lot is the operator's ``number``-th, on which depends what becomes of it."""
        self.operator.ledger._database.execute("DELETE FROM sqlite_sequence")
        self.operator.ledger._database.execute("INSERT INTO sqlite_sequence VALUES ('lots', ?)", (number - 1,))

    def at_operator(self) -> dict[str, int]:
        """How often each lot has come there, by numeroLote, in the order of arrival."""
        return {lot.number: lot.arrivals for lot in self.operator.lots()}

    def pull(self) -> StageReport:
        return pull(self.tenant)

    def send(self) -> StageReport:
        return send(self.tenant)

    def poll(self, *, everything: bool = False) -> StageReport:
        return poll(self.tenant, everything=everything)

    def push(self) -> StageReport:
        return push(self.tenant)

    def loop(self, rounds: int = 1) -> list[StageReport]:
        """So many rounds of everything, after each of which the operator moves every lot one status on."""
        reports = []
        for _ in range(rounds):
            reports += [stage() for stage in (self.pull, self.send, self.poll, self.push)]
            self.operator.ledger.advance()
        return reports

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self.server.connect(self.database) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def states(self) -> dict[str, str]:
        """State of each lot by its number in HAT."""
        return dict(self.rows("SELECT batch_number, state FROM hat_etl.billing_lots"))  # type: ignore[arg-type]

    def column(self, batch_number: str, name: str) -> Any:
        return self.rows(f"SELECT {name} FROM hat_etl.billing_lots WHERE batch_number = %s", (batch_number,))[0][0]

    def events(self, batch_number: str) -> list[str]:
        """What happened to a lot, in order."""
        query = (
            "SELECT event FROM hat_etl.billing_history JOIN hat_etl.billing_lots USING (lot)"
            " WHERE batch_number = %s ORDER BY id"
        )
        return [row[0] for row in self.rows(query, (batch_number,))]


def somebody_waits(world: World) -> bool:
    """Whether a session waits for another one's lock."""
    waits = "SELECT FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    return bool(world.rows(waits, (world.database,)))


@pytest.fixture(scope="session")
def schemas() -> Schemas:
    return Schemas()


@contextmanager
def new_world(name: str, postgres: Server, schemas: Schemas, folder: Path) -> Iterator[World]:
    """A tenant of this name with a HAT, an operator and a database of its own; its file goes to ``folder``."""
    state, database = State(), postgres.create_database("billing")
    (folder / "token").write_text(TOKEN)
    (folder / f"{name}.url").write_text(postgres.url(database))
    hat = HatServer(state, {TOKEN}, "acme", "77", REGISTRY)
    hat_faults = hat.app()
    with serving(hat_faults) as hat_url, OperatorServer(REGISTRY, schemas=schemas) as operator:
        made = World(state, hat, operator, hat_faults, hat_url, postgres, database, folder, name)
        made.write_tenant()
        yield made
    state.close()


@pytest.fixture
def world(postgres: Server, schemas: Schemas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("HAT_ETL_TENANTS", str(tmp_path))
    with new_world("acme", postgres, schemas, tmp_path) as made:
        yield made


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    """A server that speaks S3, with a bucket ``lots``."""
    monkeypatch.setenv("S3_KEY", KEY)
    monkeypatch.setenv("S3_SECRET", SECRET)
    with serving_s3() as server:
        yield server
