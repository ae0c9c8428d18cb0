"""A sync whose changes go to HAT's cadastral API: the HAT tables here are then the record of what HAT has.

The same merge finds the changes; before it carries them out for a table it sends them, and carries out what HAT has
accepted. It is made twice: once without sending, so that the brake is asked while nothing has left, and once for good.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass

from hat_etl.entities.model import Entity
from hat_etl.errors import DecisionNeeded
from hat_etl.hat_api.resources import RESOURCES
from hat_etl.source.reader import Recnos
from hat_etl.target import calls
from hat_etl.target.calls import Calls
from hat_etl.target.database import Connection, TenantDatabase, errors
from hat_etl.target.intake import Intake
from hat_etl.target.sink import EXCLUDE, Sink
from hat_etl.tenants.config import Tenant

BY_API = ", by API"
"""Added to the strategy of a table whose changes went to HAT's API."""


@dataclass(frozen=True)
class ByApi:
    """What a run needs to send its changes."""

    sink: Sink
    schema: str
    run: int
    remarks: Sequence[str] = ()
    """What is to be told of the calls of earlier runs."""

    def again(self, connection: Connection, entity: Entity) -> Recnos:
        """The rows to be read whatever their stamps say: HAT has, or may have, another version than the tables."""
        return calls.to_read_again(connection, entity, self.schema)

    def show_accepted(self, connection: Connection, intakes: Collection[Intake]) -> set[str]:
        """Bring what earlier runs have sent and not committed into the tables that this one has read.

        Gives the tables that rows have come to.
        """
        return {
            intake.entity.table for intake in intakes if calls.show_accepted(connection, intake, self.schema, self.run)
        }

    def settle(self, connection: Connection, intakes: Collection[Intake]) -> None:
        """Note that the tables show what HAT has: to be committed with them."""
        calls.settle(connection, self.run, [intake.entity.table for intake in intakes])
        for intake in intakes:
            if EXCLUDE not in self.sink.actions(intake.entity):
                calls.forget_gone(connection, intake)


@contextmanager
def by_api(tenant: Tenant, database: TenantDatabase, run: int, again: str) -> Iterator[ByApi]:
    """HAT's API for one run, with the doubts of earlier ones settled; ``again`` is the command that asks for the same.

    Raises ConfigurationError, HatApiError.
    """
    from hat_etl.hat_api.cadastral import Cadastral  # an HTTP client, which most syncs start without

    with errors(tenant.name, again=again), database.connect() as connection:
        sink = Cadastral(tenant, Calls(connection), run)
        with closing(sink):
            remarks = sink.settle_doubts()
            yield ByApi(sink, database.schema, run, remarks)


def refuse_open_calls(connection: Connection, tenant: Tenant) -> None:
    """Raise DecisionNeeded where HAT may have, by its API, what the HAT tables do not show."""
    if calls.are_open(connection):
        raise DecisionNeeded(
            "A sync by HAT's API was broken off: HAT may have rows that its tables here do not show yet.",
            f"Finish it first: hat-etl sync {tenant.name} --via api",
            tenant=tenant.name,
        )


def strategy_of(table: str, strategy: str, *, via_api: bool) -> str:
    """The strategy of a table as the ledger shows it."""
    return f"{strategy}{BY_API}" if via_api and table in RESOURCES else strategy
