"""Which tenants are to be synchronised now: data in, data out."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim

if TYPE_CHECKING:
    from hat_etl.tenants.config import Tenant

SPREAD = timedelta(minutes=2)
"""Tenants that are due at the same moment begin over this time, each always at the same distance."""
RUNS_PER_ERP = 2
"""Runs that read one ERP server at a time: the limit of tag ``hat/erp`` in ``dagster.yaml``."""
QUEUE_PER_ERP = 4 * RUNS_PER_ERP
"""Runs of one ERP server that may be queued or running: what waits longer may find its window closed."""
LAUNCHES = 100
"""Runs that are launched in one go; who is left over is the first of the next."""


@dataclass(frozen=True)
class Due:
    """A tenant that is due since ``since``."""

    tenant: str
    since: datetime
    server: str

    @property
    def run_key(self) -> str:
        """Names this one run of the schedule, however often it is asked for."""
        return f"{self.tenant}:{int(self.since.timestamp())}"


def last_instant(tenant: Tenant, now: datetime) -> datetime | None:
    """The latest moment of the tenant's schedule that is not after ``now``; None when nothing starts by itself."""
    cron = tenant.schedule.incremental
    if cron is None or tenant.schedule.paused:
        return None
    offset = timedelta(seconds=zlib.crc32(tenant.name.encode()) % int(SPREAD.total_seconds()))
    return _last_moment(cron, tenant.erp.timezone, (now - offset).replace(second=0, microsecond=0)) + offset


@lru_cache(maxsize=10_000)
def _last_moment(cron: str, zone: str, minute: datetime) -> datetime:
    """The latest moment of the cron that is not after ``minute``. Kept, for many tenants share a cron."""
    # CronSim looks for moments before the one given, and a moment is a whole minute.
    return next(CronSim(cron, minute.astimezone(ZoneInfo(zone)) + timedelta(seconds=1), reverse=True))


def due(
    now: datetime, tenants: Iterable[Tenant], requested: Mapping[str, datetime], running: Mapping[str, str]
) -> list[Due]:
    """The tenants to launch at ``now``, those that wait longest first.

    ``requested``: the last moment of the schedule for which each tenant has been launched. ``running``: tenants with
    a run that is queued or going on, and the ERP server it reads. However many moments a tenant has missed (its window
    was closed, its last run goes on, nothing ran at all), it is launched once.
    """
    waiting = []
    for tenant in tenants:
        since = last_instant(tenant, now)
        if since is None or tenant.name in running or not tenant.erp.is_open(now):
            continue
        last = requested.get(tenant.name)
        if last is None or last < since or last > now:  # the last: a clock that was wrong for a moment
            waiting.append(Due(tenant.name, since, tenant.erp_server))
    waiting.sort(key=lambda found: (found.since, found.tenant))
    load, launches = Counter(running.values()), []
    for found in waiting:
        if load[found.server] < QUEUE_PER_ERP:
            load[found.server] += 1
            launches.append(found)
        if len(launches) == LAUNCHES:
            break
    return launches


def late(now: datetime, tenant: Tenant, fresh_until: datetime | None) -> datetime | None:
    """Since when the tenant's HAT database is older than its schedule allows, or None when it is not.

    ``fresh_until``: the moment of the ERP that HAT shows; None before the first load, which no schedule asks for.
    A moment that lay outside the windows counts from their opening.
    """
    allowed = timedelta(minutes=tenant.alerts.late_minutes)
    wanted = last_instant(tenant, now - allowed)
    if fresh_until is None or wanted is None or fresh_until >= wanted:
        return None
    return wanted if _was_open(tenant, wanted, now - allowed) else None


def _was_open(tenant: Tenant, since: datetime, until: datetime) -> bool:
    """Whether the ERP could be read at any moment between the two."""
    moment = since
    while moment <= until:
        if tenant.erp.is_open(moment):
            return True
        moment += timedelta(minutes=1)
    return False


def known(requested: Mapping[str, datetime], names: Collection[str]) -> dict[str, datetime]:
    """``requested`` without the tenants that are gone."""
    return {tenant: since for tenant, since in requested.items() if tenant in names}
