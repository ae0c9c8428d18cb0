"""What Dagster shows of a run: the numbers of each table, and of the tenant as a whole."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from hat_etl.sync.run import RunReport
    from hat_etl.target.ledger import TableOutcome

Metadata = dict[str, int | float | str | dg.MetadataValue]

FRESH_UNTIL = "fresh_until"

_COUNTS = ("read", "loaded", "updated", "deleted", "rejected", "held", "kept", "warnings")


def of_table(report: RunReport, outcome: TableOutcome) -> Metadata:
    """What the run did to one table."""
    return {
        **{name: getattr(outcome, name) for name in _COUNTS},
        "seconds": round(outcome.seconds, 3),
        "rows_per_s": round(outcome.read / outcome.seconds) if outcome.seconds else 0,
        "strategy": outcome.strategy,
        **_where(report),
    }


def of_tenant(report: RunReport, fresh_until: datetime | None) -> Metadata:
    """What the run did to all tables together, and how fresh the tenant's database is now."""
    found: Metadata = {
        **{name: sum(getattr(outcome, name) for outcome in report.tables) for name in _COUNTS},
        "tables": len(report.tables),
        "state": report.state,
        "seconds": round(report.seconds, 3),
        "peak_mib": round(report.peak_mib, 1),
        **_where(report),
    }
    if fresh_until is not None:
        found[FRESH_UNTIL] = dg.MetadataValue.timestamp(fresh_until)
    return found


def _where(report: RunReport) -> Metadata:
    found: Metadata = {
        "run": report.run,
        "rejects": dg.MetadataValue.md(f"`hat-etl rejects {report.tenant}`"),
        "ledger": dg.MetadataValue.md(f"`hat-etl runs {report.tenant}`"),
    }
    if report.horizon is not None:
        found["watermark"] = dg.MetadataValue.timestamp(report.horizon)
    return found


def changed(outcome: TableOutcome) -> bool:
    """Whether a sync moved a row of the table in HAT."""
    return bool(outcome.loaded or outcome.updated or outcome.deleted)
