"""What is asked of a load and of a sync."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hat_etl.source.reader import Recnos
from hat_etl.sync.view_reader import REPAIR
from hat_etl.tenants.config import Via


@dataclass(frozen=True)
class LoadRequest:
    """What a person asks of a load. ``only``: HAT table names, empty for all."""

    only: tuple[str, ...] = ()
    resume: bool = False
    restart: bool = False
    accept_shrink: bool = False
    outside_windows: bool = False
    """Read the ERP whatever the hour."""

    def command(self, tenant: str, *, resume: bool) -> str:
        """The command that asks the same of ``tenant``, anew or for what was broken off."""
        options = ["--resume"] * resume + ["--restart"] * (self.restart and not resume)
        options += [f"--only {table}" for table in self.only]
        options += ["--accept-shrink"] * self.accept_shrink + ["--outside-windows"] * self.outside_windows
        return " ".join(["hat-etl load", tenant, *options])


@dataclass(frozen=True)
class SyncRequest:
    """What a person or a schedule asks of a sync. ``only``: HAT table names, empty for all that were loaded."""

    only: tuple[str, ...] = ()
    full: bool = False
    """Read every view whole: finds also what moves no stamp, such as a deleted joined row."""
    accept: bool = False
    """Go on where the brake would stop."""
    recnos: Mapping[str, Recnos] | None = None
    """Repair: read just these rows of these tables, and the quarantine, and leave the watermarks where they are."""
    outside_windows: bool = False
    """Read the ERP whatever the hour."""
    repair: str = ""
    """The command that asks for a repair."""
    via: Via | None = None
    """How the changes reach HAT; None: as the tenant's file says."""

    @property
    def mode(self) -> str:
        return "sync" if self.recnos is None else REPAIR

    def command(self, tenant: str) -> str:
        """The command that asks the same of ``tenant``."""
        if self.repair:
            return self.repair
        options = [f"--only {table}" for table in self.only]
        options += ["--full"] * self.full + ["--accept"] * self.accept
        options += [f"--via {self.via}"] if self.via is not None else []
        options += ["--outside-windows"] * self.outside_windows
        return " ".join(["hat-etl sync", tenant, *options])
