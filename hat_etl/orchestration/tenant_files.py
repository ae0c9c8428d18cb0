"""The tenants as their files describe them, each file read again only when it has changed: sensors ask often."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from hat_etl.errors import ConfigurationError
from hat_etl.tenants import store
from hat_etl.tenants.config import Tenant


@dataclass
class TenantFiles:
    """Remembers what it has read, by time and size of each file."""

    _read: dict[str, tuple[tuple[int, int], Tenant | ConfigurationError]] = field(default_factory=dict)

    def all(self) -> tuple[list[Tenant], list[ConfigurationError]]:
        """The tenants of the folder, and what is wrong with those whose file cannot be used."""
        found = {name: read for name in store.names() if (read := self._look(name)) is not None}
        self._read = found
        outcomes = [outcome for _, outcome in found.values()]
        return (
            [outcome for outcome in outcomes if isinstance(outcome, Tenant)],
            [outcome for outcome in outcomes if isinstance(outcome, ConfigurationError)],
        )

    def _look(self, name: str) -> tuple[tuple[int, int], Tenant | ConfigurationError] | None:
        try:
            state = os.stat(store.folder() / f"{name}.toml")
            stamp = (state.st_mtime_ns, state.st_size)
        except FileNotFoundError:
            return None
        except OSError:  # what ails it is told by whoever reads it
            stamp = (0, 0)
        known = self._read.get(name)
        if known is not None and known[0] == stamp and isinstance(known[1], Tenant):
            return known  # what ails a file may be mended without a change to it: its rights, a full disk
        try:
            return stamp, store.load(name)
        except ConfigurationError as error:
            return stamp, error


def server_of(name: str) -> str:
    """ERP server of a tenant, for the limit of runs on it; the tenant's own while its file cannot be used."""
    try:
        return store.load(name).erp_server
    except ConfigurationError:
        return name
