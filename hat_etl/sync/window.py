"""The hours in which a tenant's ERP may be read: no run begins outside of them, and one that is caught by their end
stops where it can be taken up again.
"""

from __future__ import annotations

from datetime import UTC, datetime

from hat_etl.errors import WindowClosed
from hat_etl.sync.run import Progress
from hat_etl.tenants.config import Tenant

OPTION = "--outside-windows"
"""The option of the commands that read the ERP whatever the hour."""


def now() -> datetime:
    """The present moment: that of this machine, which is also what schedules go by."""
    return datetime.now(UTC)


def keep_to(tenant: Tenant, progress: Progress, command: str, resume: str | None = None) -> Progress:
    """A progress that ends the run when the tenant's windows have closed.

    ``command`` is what was asked, ``resume`` what goes on with it once it has begun, where that is another one.
    Raises WindowClosed at once when the windows are closed now.
    """
    if not tenant.erp.windows:
        return progress
    if not is_open(tenant):
        raise _closed(tenant, "The ERP of this tenant may not be read now", "Nothing was read.", command, begun=False)
    return _Watched(tenant, progress, resume or command)


def is_open(tenant: Tenant) -> bool:
    """Whether the ERP of the tenant may be read now."""
    return tenant.erp.is_open(now())


def hours(tenant: Tenant) -> str:
    """The tenant's windows, as messages tell them."""
    return f"windows {', '.join(map(str, tenant.erp.windows))}, {tenant.erp.timezone}"


def _closed(tenant: Tenant, cause: str, outcome: str, command: str, *, begun: bool) -> WindowClosed:
    return WindowClosed(
        f"{cause} ({hours(tenant)}). {outcome}",
        f"In the next window: {command}. If the operator agrees that it is read now: {command} {OPTION}",
        tenant=tenant.name,
        begun=begun,
    )


class _Watched:
    """Looks at the clock whenever rows of the ERP have come in, and before each phase until all is read."""

    _ALL_READ = frozenset({"keys and references", "merging"})
    _BEGINS = "looking at the views"

    def __init__(self, tenant: Tenant, progress: Progress, resume: str) -> None:
        self._tenant, self._progress, self._resume = tenant, progress, resume
        self._is_reading = True

    def planned(self, table: str, estimated_rows: int) -> None:
        self._progress.planned(table, estimated_rows)

    def advanced(self, table: str, rows: int) -> None:
        self._progress.advanced(table, rows)
        self._look()

    def phase(self, name: str) -> None:
        if name in self._ALL_READ:
            self._is_reading = False
        elif name == self._BEGINS:
            self._is_reading = True
        self._look()
        self._progress.phase(name)

    def _look(self) -> None:
        if self._is_reading and not is_open(self._tenant):
            cause = "The hours in which the ERP of this tenant may be read ended before all was read"
            raise _closed(self._tenant, cause, "HAT is as it was.", self._resume, begun=True)
