"""What stops a sync before its commit unless a person accepts: an ERP that went back in time, a change too large."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

from hat_etl.errors import DecisionNeeded
from hat_etl.sync.view_texts import ANEW
from hat_etl.target.ledger import Watermark
from hat_etl.target.merge import Merged
from hat_etl.tenants.config import Sync


def gone_back(seen: str, *, tenant: str, command: str, reads_all: bool, table: str | None = None) -> DecisionNeeded:
    """The stop of an ERP that shows an earlier state than the last run saw; ``command`` is what would be run again."""
    return DecisionNeeded(
        f"The ERP seems to have gone back in time: {seen}",
        "See with the operator whether a backup was restored or a clock set back. If HAT shall follow:"
        f" {command} --accept{' (reads every row)' if reads_all else ''}. Nothing was changed.",
        tenant=tenant,
        table=table,
    )


def clock_behind(clock: datetime, ahead: datetime) -> str:
    """What is seen when the ERP's clock is behind a watermark."""
    return (
        f"The ERP's clock shows {clock:%Y-%m-%d %H:%M:%S} UTC, and this tenant is synchronised up to"
        f" {ahead:%Y-%m-%d %H:%M:%S} UTC."
    )


def latest_rows_older(tables: Iterable[str], *, gone: bool) -> str:
    """What is seen when rows that were the latest of their ``tables`` are older now, or ``gone``."""
    return (
        f"The row changed last in {', '.join(tables)} has an older stamp than at the last run"
        f"{' or is gone' if gone else ''}."
    )


def check_share(
    changed: Mapping[str, Merged],
    marks: Mapping[str, Watermark],
    settings: Sync,
    made_anew: Collection[str],
    *,
    tenant: str,
    command: str,
) -> None:
    """Raise DecisionNeeded where more of a table changes or leaves than the tenant's settings allow.

    ``made_anew``: tables whose views have another text than before, which may be why.
    """
    too_much = []
    for table, merged in changed.items():
        rows = marks[table].live_rows if table in marks else None
        if rows is not None and merged.updated + merged.left > max(settings.brake_rows, settings.brake_share * rows):
            too_much.append(
                f"{table}: {merged.updated:,} of {rows:,} rows change and {merged.left:,} leave HAT"
                f"{f' (its view was {ANEW})' if table in made_anew else ''}"
            )
    if too_much:
        raise DecisionNeeded(
            f"This run would change an unusual part of HAT: {'; '.join(too_much)}.",
            "See with the operator whether that is right (a mass update, a purge, a wrong view?). If it is:"
            f" {command} --accept. Nothing was changed.",
            tenant=tenant,
            table=", ".join(text.partition(":")[0] for text in too_much),
        )
