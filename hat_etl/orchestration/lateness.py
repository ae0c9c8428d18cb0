"""The sensor that notices tenants that are late: a tenant that never runs has no run that could say so."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg
from dagster import DagsterInstance

from hat_etl.errors import ConfigurationError, HatEtlError
from hat_etl.orchestration import partitions
from hat_etl.orchestration.asking import AT_ONCE, ask_all
from hat_etl.orchestration.assets import TENANT
from hat_etl.orchestration.checks import freshness, last_told, tell_without_a_run, unusable_file
from hat_etl.orchestration.due import late
from hat_etl.orchestration.notifications import REFUSED, send, targets
from hat_etl.orchestration.reporting import FRESH_UNTIL
from hat_etl.orchestration.schedules import tenant_files

if TYPE_CHECKING:
    from hat_etl.tenants.config import Tenant

NEVER = datetime.min.replace(tzinfo=UTC)
RUNS = 5_000
"""Runs that one tick looks through at the most, newest first."""
QUESTIONS = AT_ONCE
"""Tenant databases that are asked at one tick: a tenant may have been synchronised from the command line."""
_SILENT = HatEtlError("The tenant database has not answered in time.", "See what its next run says.")
PATIENCE = timedelta(minutes=5)
"""How long a tenant's file may be unusable before it is told: somebody may be writing it."""
_OVERLAP = timedelta(minutes=5)
SENDING = 10.0
"""Seconds after which a tick sends no further message; the next one does. One may take several."""


@dataclass
class Memory:
    """What the sensor remembers; without it, the tenant databases are asked again."""

    shown: dict[str, datetime] = field(default_factory=dict)
    """Per tenant, when all its tables had been read last, at the least."""
    late: dict[str, datetime] = field(default_factory=dict)
    """Tenants that were told to be late, and since when they are."""
    looked: datetime | None = None
    """Until when the runs have been looked through."""
    asked: dict[str, datetime] = field(default_factory=dict)
    """When each tenant database was asked last: those that wait longest come first."""
    broken: dict[str, datetime] = field(default_factory=dict)
    """Tenants whose file cannot be used, and since when."""
    refused: dict[str, list[str]] = field(default_factory=dict)
    """Late tenants that some targets could not be told of, with the marks of these: they are tried again."""

    @classmethod
    def read(cls, text: str | None) -> Memory:
        if not text:
            return cls()
        document = json.loads(text)
        shown, missing, asked, broken = (
            {tenant: datetime.fromtimestamp(at, UTC) for tenant, at in document.get(name, {}).items()}
            for name in ("shown", "late", "asked", "broken")
        )
        looked = datetime.fromtimestamp(document["looked"], UTC)
        return cls(shown, missing, looked, asked, broken, document.get("refused", {}))

    def text(self) -> str:
        moments = {
            name: {tenant: int(at.timestamp()) for tenant, at in found.items()}
            for name, found in (
                ("shown", self.shown),
                ("late", self.late),
                ("asked", self.asked),
                ("broken", self.broken),
            )
        }
        looked = int((self.looked or datetime.now(UTC)).timestamp())
        return json.dumps({**moments, "looked": looked, "refused": self.refused})


def newly_late(
    now: datetime, tenants: Mapping[str, Tenant], memory: Memory, ask: Callable[[Tenant], datetime | None]
) -> list[str]:
    """Brings ``memory`` up to ``now``; gives the tenants that have become late since.

    ``ask`` tells what the tenant database shows; it is asked for those that seem to be late, and only once.
    """
    memory.shown = {name: at for name, at in memory.shown.items() if name in tenants}
    memory.late = {
        name: since for name, since in memory.late.items()
        if name in memory.broken
        or (name in tenants and late(now, tenants[name], memory.shown.get(name, NEVER)) is not None)
    }  # fmt: skip
    memory.refused = {name: marks for name, marks in memory.refused.items() if name in memory.late}
    seeming = [
        tenant for name, tenant in tenants.items()
        if name not in memory.late and late(now, tenant, memory.shown.get(name, NEVER)) is not None
    ]  # fmt: skip
    seeming = sorted(seeming, key=lambda tenant: memory.asked.get(tenant.name, NEVER))[:QUESTIONS]
    memory.asked = {name: at for name, at in memory.asked.items() if name in tenants}
    memory.asked |= {tenant.name: now for tenant in seeming}
    answers, found = ask_all(seeming, ask), []
    for tenant in seeming:
        shown = answers.get(tenant.name, _SILENT)
        if isinstance(shown, HatEtlError):  # nothing new is known; the tenant's next run says what ails the database
            shown = memory.shown.get(tenant.name, NEVER)
        elif shown is not None:
            memory.shown[tenant.name] = shown
        since = late(now, tenant, shown)
        if since is not None:
            memory.late[tenant.name] = since
            found.append(tenant.name)
    return sorted(found)


def newly_broken(now: datetime, broken: Iterable[str], memory: Memory) -> list[str]:
    """Tenants whose file has been unusable for a while: nothing runs for them any more, and nothing else tells so."""
    before, memory.broken = memory.broken, {name: memory.broken.get(name, now) for name in broken}
    memory.late = {name: at for name, at in memory.late.items() if name in memory.broken or before.get(name) != at}
    found = [
        name for name, since in memory.broken.items() if now - since >= PATIENCE and memory.late.get(name) != since
    ]
    memory.late |= {name: memory.broken[name] for name in found}
    memory.refused = {name: marks for name, marks in memory.refused.items() if name not in found}
    return sorted(found)


@dg.sensor(
    name="late_tenants",
    description="Turns check freshness red for a tenant whose sync is missing, or whose file is gone or cannot be used,"
    " and tells of it once. A run turns it green.",
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def late_tenants(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    now, memory, instance = datetime.now(UTC), Memory.read(context.cursor), context.instance
    usable, unusable = tenant_files().all()
    tenants = {tenant.name: tenant for tenant in partitions.with_partition(instance, usable)}
    there = partitions.names(instance)
    errors = {error.tenant: error for error in unusable if error.tenant in there}
    errors |= {name: _without_file(name) for name in there - tenants.keys() - errors.keys()}
    _look_through_runs(instance, memory, now)
    found = newly_broken(now, filter(None, errors), memory) + newly_late(now, tenants, memory, _shown)
    messages = {}
    for name in dict.fromkeys([*found, *memory.refused]):
        if error := errors.get(name):
            title, verdict = "has a file that cannot be used", unusable_file(error)
        else:
            title = "is late"
            verdict = freshness(tenants[name], memory.shown.get(name), memory.late[name])
        if name in found:
            tell_without_a_run(instance, verdict.evaluation(name, last_told(instance, name)))
        text = "\n".join(f"{label}: {value}" for label, value in verdict.told.items())
        messages[name] = (f"hat_etl: {name} {title}", text)
    if not _send(messages, memory):
        context.log.error(REFUSED)
    late_now = f"Late: {', '.join(sorted(memory.late))}." if memory.late else "Nobody is late."
    return dg.SensorResult(skip_reason=late_now, cursor=memory.text())


def _without_file(name: str) -> ConfigurationError:
    """What is told of a tenant that Dagster knows and that has no file: it was moved away, or the folder with it."""
    from hat_etl.tenants.store import FOLDER_VARIABLE, folder

    return ConfigurationError(
        f"There is no tenant file {folder() / name}.toml any more.",
        f"Put it back, or point {FOLDER_VARIABLE} to the folder that holds it. If {name} is to be synchronised no more,"
        " delete its partition: asset hat/beneficiaries, Delete partitions.",
        tenant=name,
    )


def _send(messages: Mapping[str, tuple[str, str]], memory: Memory) -> bool:
    """Send the message about each tenant, of title and text, to all, or to those that it is still owed to.

    Whether no target has refused.

    A target that refuses is not tried again before the next tick: it may take seconds each time. Then the others have
    their turn first, for it may be this one message that is refused.
    """
    refusing, end = set[str](), time.monotonic() + SENDING
    untried: dict[str, list[str]] = {}
    tried: dict[str, list[str]] = {}
    for name, (title, text) in messages.items():
        refused = send(title, text, memory.refused.get(name), refusing)
        if refused:
            (tried if set(refused) - refusing else untried)[name] = refused
            refusing |= set(refused)
        if time.monotonic() >= end:
            refusing |= targets().keys()
    memory.refused = untried | tried
    return not tried


def _look_through_runs(instance: DagsterInstance, memory: Memory, now: datetime) -> None:
    """Note what runs have told since the last tick."""
    since = memory.looked - _OVERLAP if memory.looked else None
    told = dg.AssetRecordsFilter(TENANT, after_timestamp=since.timestamp() if since else None)
    for record in instance.fetch_materializations(told, limit=RUNS).records:
        made = record.asset_materialization
        if made is not None and made.partition is not None and (mark := made.metadata.get(FRESH_UNTIL)) is not None:
            moment = datetime.fromtimestamp(float(str(mark.value)), UTC)
            memory.shown[made.partition] = max(moment, memory.shown.get(made.partition, moment))
    memory.looked = now


def _shown(tenant: Tenant) -> datetime | None:
    """How fresh the tenant's HAT database is. Raises TargetError or ConfigurationError."""
    from hat_etl.target.database import TenantDatabase
    from hat_etl.target.standing import standing

    return standing(TenantDatabase(tenant)).fresh_until
