"""What a run would read: views as they are, compared with what the entities ask for. Touches nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import DELETED, STAMP, Entity
from hat_etl.errors import ConfigurationError, DataError, DecisionNeeded, SourceError
from hat_etl.hat_api.resources import route
from hat_etl.source.erp import open_source
from hat_etl.source.reader import OneMoment, Source, ViewShape
from hat_etl.source.view_check import inspect
from hat_etl.sync.drift import survey
from hat_etl.sync.view_texts import ANEW, with_digests
from hat_etl.target.database import TenantDatabase
from hat_etl.target.ledger import LedgerReader
from hat_etl.tenants.config import Tenant, Via

INITIAL = "initial"
"""Strategy of a load: every row of the view into a new table."""
WINDOW = "window"
"""Strategy of a sync: rows stamped since the watermark, less a look-back, and rows without a stamp."""
FULL = "full"
"""Strategy of a sync: every row of the view, for it shows no stamp or was asked for whole."""
STOPPED = "stopped"
"""Strategy of a plan: the view has changed, and a sync would leave its table out."""


@dataclass(frozen=True)
class PlannedTable:
    """One table of a plan; ``remarks`` are sentences about what the view offers."""

    table: str
    view: str
    strategy: str
    estimated_rows: int
    remarks: tuple[str, ...]


def select(only: Sequence[str], tenant: str | None = None) -> tuple[Entity, ...]:
    """The entities named, in load order; all when none is named. Raises ConfigurationError for an unknown name.

    ``tenant``: whose tables were asked for, where it is one tenant's.
    """
    unknown = [table for table in only if table not in BY_TABLE]
    if unknown:
        near = [name for table in unknown for name in get_close_matches(table.lower(), BY_TABLE, n=1)]
        raise ConfigurationError(
            f"No such HAT table: {', '.join(unknown)}.",
            (f"Perhaps {', '.join(near)}? " if near else "") + f"The tables are: {', '.join(BY_TABLE)}.",
            tenant=tenant,
        )
    return tuple(entity for entity in ENTITIES if not only or entity.table in only)


def refuse_unloaded(tenant: str, asked: Iterable[str], loaded: Collection[str]) -> None:
    """Raise DecisionNeeded when nothing was ever loaded, or not a table that was ``asked`` for by its name."""
    if not loaded:
        raise DecisionNeeded("Nothing is loaded yet.", f"Load first: hat-etl load {tenant}", tenant=tenant)
    unloaded = [table for table in asked if table not in loaded]
    if unloaded:
        raise DecisionNeeded(
            f"Not loaded yet: {', '.join(unloaded)}.",
            f"Load first: hat-etl load {tenant} {' '.join(f'--only {table}' for table in unloaded)}",
            tenant=tenant,
            table=", ".join(unloaded),
        )


def describe(source: Source, tenant: Tenant, entities: Sequence[Entity]) -> list[ViewShape]:
    """The views of ``entities`` as they are now.

    Raises SourceError when views are missing and DataError when one does not offer what its table needs: all faults in
    one message.
    """
    shapes, missing, faults = list[ViewShape](), list[SourceError](), list[str]()
    steps: list[str] = []
    for entity in entities:
        try:
            shape = source.describe(entity)
        except SourceError as error:
            if error.table is None:
                raise
            missing.append(error)
            continue
        shapes.append(shape)
        for finding in inspect(source, tenant, shape):
            if finding.level == "error":
                faults.append(f"{finding.view}: {finding.message}")
                steps.append(finding.next_step)
    if missing:
        raise SourceError(
            " ".join(dict.fromkeys(error.cause for error in missing)),
            missing[0].next_step,
            tenant=tenant.name,
            table=", ".join(str(error.table) for error in missing),
        )
    if faults:
        tables = [s.entity.table for s in shapes if any(f.startswith(f"{s.entity.view}:") for f in faults)]
        raise DataError(" ".join(faults), steps[0], tenant=tenant.name, table=", ".join(tables))
    return with_digests(source, shapes)


def plan(tenant: Tenant, only: Sequence[str] = ()) -> list[PlannedTable]:
    """What ``load`` would read. Raises as ``describe`` does."""
    entities = select(only, tenant.name)
    source = open_source(tenant, f"hat-etl plan {tenant.name}")
    try:
        shapes = describe(source, tenant, entities)
        moment = _of_moment(source.one_moment())
    finally:
        source.close()
    return [
        PlannedTable(shape.entity.table, shape.entity.view, INITIAL, shape.estimated_rows, (*_remarks(shape), *moment))
        for shape in shapes
    ]


def plan_sync(tenant: Tenant, only: Sequence[str] = (), via: Via | None = None) -> list[PlannedTable]:
    """How ``sync`` would read each table that was loaded, and by HAT's API also where its changes would go.

    Raises SourceError, TargetError, and DecisionNeeded for a table named in ``only`` that was never loaded.
    """
    by_api = (via or tenant.sync.via) == "api"
    entities = select(only, tenant.name)
    ledger = LedgerReader(TenantDatabase(tenant), f"hat-etl plan {tenant.name} --sync")
    marks, undone, known = ledger.watermarks(), ledger.to_be_read_whole(), ledger.known_views()
    refuse_unloaded(tenant.name, only, marks)
    source = open_source(tenant, f"hat-etl plan {tenant.name} --sync")
    try:
        loaded = [entity for entity in entities if entity.table in marks]
        found = survey(source, tenant, loaded, known, accept=False, sync=f"hat-etl sync {tenant.name}")
        moment = _of_moment(source.one_moment())
    finally:
        source.close()
    planned = [
        PlannedTable(problem.table, BY_TABLE[problem.table].view, STOPPED, 0, (problem.message, problem.next_step))
        for problem in found.problems
    ]
    for shape in found.shapes:
        table = shape.entity.table
        whole = [
            *["every row, for a run was undone that had changed this table"] * (table in undone),
            *[f"every row, for its view was {ANEW}"] * (table in found.made_anew),
        ]
        by_window = shape.named(STAMP) is not None and not whole
        since = marks[table] - timedelta(minutes=tenant.sync.lookback_minutes)
        remarks = [f"rows stamped since {since:%Y-%m-%d %H:%M:%S} UTC, and those without a stamp"] if by_window else []
        planned.append(
            PlannedTable(
                table,
                shape.entity.view,
                WINDOW if by_window else FULL,
                shape.estimated_rows,
                (*remarks, *whole, *([route(table)] if by_api else []), *_remarks(shape), *moment),
            )
        )
    order = [entity.table for entity in ENTITIES]
    return sorted(planned, key=lambda one: order.index(one.table))


def _of_moment(moment: OneMoment) -> list[str]:
    return [f"{moment.how}: {moment.drawback}"] if moment.drawback else []


def _remarks(shape: ViewShape) -> list[str]:
    remarks = []
    if shape.named(STAMP) is None:
        remarks.append("no Carimbo: a resumed load reads the view again, later syncs compare every row")
    if shape.named(DELETED) is None:
        remarks.append("no Excluido: every row counts as live")
    return remarks
