"""A small tenant whose syncs go to a HAT on loopback: providers, their professionals and locations, and insurers."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass
from typing import Any

import pytest
from starlette.responses import Response

from hat_etl.sandbox.hat.app import PATH, HatServer
from hat_etl.sandbox.hat.state import State
from hat_etl.sandbox.web import Faults, Faulty, serving
from hat_etl_tests.conformance.conftest import MakeSite, make_site
from hat_etl_tests.conformance.model import Pls
from hat_etl_tests.conformance.site import TENANT, Site
from hat_etl_tests.conformance.world import widths
from hat_etl_tests.failures.commands import Command
from hat_etl_tests.failures.phases import Phase
from hat_etl_tests.undo.small import Small

__all__ = ["make_site"]

REGISTRY, TOKEN = "412345", "c0ffee" * 8
TABLES = ("health_insurers", "professionals", "health_providers", "attendance_locations", "clinical_staff")
KINDS = {
    "professionals": "/professionals",
    "health_providers": "/healthProviders",
    "attendance_locations": "/attendanceLocations",
    "clinical_staff": "/clinicalStaff",
}
"""The tables that have an API, with the register of the sandbox's HAT that keeps their rows."""


class Clinic(Small):
    """A professional and a provider with a location; loaded, and HAT knows them."""

    tables = TABLES

    def populate(self) -> None:
        self.insurer(1)
        self.professional(1)
        self.provider(1)
        self.location(1, provider=1)
        self.staff(1, provider=1, professional=1)

    def professional(self, recno: int, **fields: str) -> None:
        self.add("BB0", recno, **{"BB0_CODIGO": f"{recno:06}", "BB0_NOME": f"MEDICO {recno}", **fields})

    def provider(self, recno: int, **fields: str) -> None:
        fields = {"BAU_CODIGO": f"{recno:06}", "BAU_NOME": f"CLINICA {recno}", "BAU_TIPPE": "J", **fields}
        self.add("BAU", recno, **fields)

    def location(self, recno: int, provider: int, **fields: str) -> None:
        place = {"BB8_CODIGO": f"{provider:06}", "BB8_CODINT": "0001", "BB8_CODLOC": f"{recno:03}"}
        self.add("BB8", recno, **{**place, "BB8_DESLOC": f"SALA {recno}", **fields})

    def staff(self, recno: int, provider: int, professional: int) -> None:
        who = {"BC1_CODIGO": f"{provider:06}", "BC1_CODPRF": f"{professional:06}"}
        self.add("BC1", recno, **who, BC1_CODESP="001", BC1_CODLOC="001")


@dataclass
class World:
    """The tenant and its HAT."""

    clinic: Clinic
    state: State
    server: HatServer
    faulty: Faulty

    def faults(self, **shares: Any) -> None:
        self.faulty.set(Faults(**shares))

    def stands_before(self, calls: str, response: Response, *, acted: bool = False) -> list[str]:
        """Something before HAT answers these calls (``GET /professionals/.*``), after HAT has ``acted`` or instead.

        Gives the calls that it answers, as they come.
        """
        hat, wanted, answered = self.faulty._app, re.compile(calls), list[str]()

        async def drop(message: MutableMapping[str, Any]) -> None:
            pass

        async def app(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
            call = f"{scope['method']} {scope['path'].removeprefix(PATH)}"
            if wanted.fullmatch(call) is None:
                await hat(scope, receive, send)
                return
            answered.append(call)
            if acted:
                await hat(scope, receive, drop)
            await response(scope, receive, send)

        self.faulty._app = app
        return answered

    def nothing_stands_before(self) -> None:
        self.faulty._app = self.server.app()._app

    def names_in_hat(self, kind: str = "/healthProviders") -> list[str]:
        """The names of HAT's rows of a register."""
        return sorted(row["name"] for row in self.state.kept(kind))

    def sync(self, *options: str) -> dict[str, Any]:
        """A sync by API that goes well; gives its report."""
        self.clinic.site.fill_tables(self.clinic.pls)
        answer = self.clinic.site.run("sync", TENANT, "--via", "api", "--json", *options)
        report: dict[str, Any] = answer.json
        return report

    def fails(self, code: int, *options: str) -> str:
        """A sync by API that ends with this exit code; gives what is said of it."""
        self.clinic.site.fill_tables(self.clinic.pls)
        answer = self.clinic.site.run("sync", TENANT, "--via", "api", *options)
        assert answer.code == code, answer
        return answer.err

    def killed_at(self, phase: str, number: int = signal.SIGKILL) -> str:
        """A sync by API that is killed, or gets another signal, where it begins this phase; gives what it says."""
        self.clinic.site.fill_tables(self.clinic.pls)
        stop = Phase(phase)
        environment = {**os.environ, **self.clinic.site.environment}
        command = Command(("sync", TENANT, "--via", "api"), environment, stop)
        stop.await_reached()
        command.signal(number)
        result = command.wait()
        assert result.exit_code == (-number if number == signal.SIGKILL else 128 + number)
        return result.err

    def table(self, report: dict[str, Any], name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(table for table in report["tables"] if table["table"] == name)
        return found

    # -- what HAT has ------------------------------------------------------------------------------------------------

    def sent(self) -> list[str]:
        """Every write that HAT has had since the last ``forget``, as path and body."""
        return [f"{path} {json.dumps(body, sort_keys=True)}" for path, body in self.state.writes()]

    def paths(self) -> list[str]:
        return [path for path, _ in self.state.writes()]

    def is_shown(self) -> bool:
        """Whether the HAT tables and HAT have the same rows, with the same names."""
        tables = self.clinic.site.rows()
        names = {
            "professionals": "name", "health_providers": "name", "attendance_locations": "location_description",
        }  # fmt: skip
        properties = {"name": "name", "location_description": "locationDescription"}
        for table, column in names.items():
            ours = sorted(str(row.values[column]) for row in tables[table].values())
            if ours != sorted(row[properties[column]] for row in self.state.kept(KINDS[table])):
                return False
        return len(tables["clinical_staff"]) == len(self.state.kept("/clinicalStaff"))

    # -- what the tenant database says ---------------------------------------------------------------------------------

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        with self.clinic.site.server.connect(self.clinic.site.hat) as connection:
            return connection.execute(query.encode()).fetchall()

    def agrees(self) -> bool:
        """Whether a reconciliation finds nothing but what quarantine tells."""
        return self.clinic.site.run("reconcile", TENANT).code == 0

    def reasons(self) -> dict[tuple[str, int], tuple[str, str]]:
        """Entries of quarantine: table and Recno to severity and reason."""
        rows = self.ask('SELECT "table", recno, severity, reason FROM hat_etl.rejects')
        return {(table, recno): (severity, reason) for table, recno, severity, reason in rows}

    def calls(self) -> dict[str, int]:
        """How many calls the ledger has in each state."""
        return dict(self.ask("SELECT state, count(*) FROM hat_etl.api_calls GROUP BY 1"))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def site(make_site: MakeSite) -> Site:
    """A tenant with our views on empty PLS tables."""
    made = make_site()
    made.create_tables(Pls(widths()))
    made.install_views()
    return made


@pytest.fixture
def world(site: Site) -> Iterator[World]:
    clinic, state = Clinic(site), State()
    server = HatServer(state, {TOKEN}, "acme", "77", REGISTRY)
    faulty = server.app()
    with serving(faulty) as url, site.tenant_lines(lines(url, site)):
        made = World(clinic, state, server, faulty)
        knows(made)
        yield made
    state.close()


def lines(url: str, site: Site) -> str:
    token = site.folder / "token"
    token.write_text(TOKEN)
    return (
        f'api_url = "{url}"\nmaster_token = "file:token"\n[hat.api]\ntenant_name = "acme"\ntenant_id = "77"\n'
        "pause_seconds = 0\nattempts = 20\nanswer_seconds = 0.5\n"
        # No look-back: what is not asked for by its Recno is not read again.
        "[sync]\nlookback_minutes = 0\n"
    )


def knows(world: World) -> None:
    """HAT has what was loaded, as after the first load of a tenant."""
    state = world.state
    state.keep("/professionals", '["000001"]', {"idOnHealthInsurer": "000001", "name": "MEDICO 1"})
    state.keep("/healthProviders", '["000001"]', {"healthProviderCode": "000001", "name": "CLINICA 1"})
    state.keep("/attendanceLocations", '["000001", "001"]', {"locationDescription": "SALA 1"})
    state.keep("/clinicalStaff", '["000001", "001", "001", "000001"]', {})
