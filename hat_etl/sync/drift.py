"""Drift: views that have changed since the last run. A new column is reported; a column that is gone, narrower or of
another type stops its table and the tables that depend on it, and nothing else. A view with another text is read whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hat_etl.entities.model import DELETED, RECNO, STAMP, Entity
from hat_etl.errors import DataError, SourceError
from hat_etl.source.reader import Source, ViewShape
from hat_etl.source.view_check import inspect
from hat_etl.sync.run import Problem
from hat_etl.sync.view_texts import ANEW, made_anew, with_digests
from hat_etl.target.ledger import KnownView
from hat_etl.tenants.config import Tenant

_UNKNOWN = KnownView(columns=())
_SENTENCES = 3


@dataclass
class Survey:
    """The views that can be read, why others cannot, and what else is to be told of them."""

    shapes: list[ViewShape] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    made_anew: set[str] = field(default_factory=set)
    """HAT tables whose views have another text than when they were last read whole."""


def survey(
    source: Source,
    tenant: Tenant,
    entities: Sequence[Entity],
    known: Mapping[str, KnownView],
    *,
    accept: bool,
    sync: str,
) -> Survey:
    """Look at the views of ``entities``, parents first. Raises SourceError when the ERP cannot be asked.

    ``accept``: take a narrower column as the operator's wish; what the contract needs must be there even then.
    ``sync``: the command that can be told to.
    """
    found, stopped = Survey(), dict[str, str]()
    for entity in entities:
        before = known.get(entity.table, _UNKNOWN)
        problem, remarks, shape = _look(source, tenant, entity, before, accept=accept, sync=sync)
        parents = [parent.table for parent in entity.hard_parents if parent.table in stopped]
        if problem is None and parents:
            problem = Problem(
                entity.table,
                f"It depends on {', '.join(parents)}, which stopped because its view has changed.",
                f"Mend {', '.join(dict.fromkeys(stopped[parent] for parent in parents))} first.",
            )
        if problem is not None:
            stopped[entity.table] = problem.table if not parents else stopped[parents[0]]
            found.problems.append(problem)
            continue
        assert shape is not None
        found.shapes.append(shape)
        found.remarks += remarks
    found.shapes = with_digests(source, found.shapes)
    for shape in found.shapes:
        if made_anew(shape, known.get(shape.entity.table, _UNKNOWN).definition):
            found.made_anew.add(shape.entity.table)
            found.remarks.append(f"{shape.entity.view}: {ANEW.capitalize()}, since it was last read whole.")
    return found


def _look(
    source: Source, tenant: Tenant, entity: Entity, known: KnownView, *, accept: bool, sync: str
) -> tuple[Problem | None, list[str], ViewShape | None]:
    try:
        shape = source.describe(entity)
    except SourceError as error:
        if error.table is None:
            raise
        return Problem(entity.table, error.cause, error.next_step), [], None
    faults = [finding for finding in inspect(source, tenant, shape) if finding.level == "error"]
    if faults:
        message = f"{entity.view}: {_few([finding.message for finding in faults])}"
        return Problem(entity.table, message, faults[0].next_step), [], None
    narrower, new = _changes(entity, shape, known.columns)
    if narrower and not accept:
        step = (
            f"If the operator meant it: {sync} --accept. If not, have the view made anew"
            f" (hat-etl views render {tenant.name})."
        )
        return Problem(entity.table, f"{entity.view}: {_few(narrower)}", step), [], None
    return None, [f"{entity.view}: {_few(new)}"] if new else [], shape


def _few(sentences: Sequence[str]) -> str:
    """The first sentences, and how many more there are: of a view that is another one throughout they tell enough."""
    more = len(sentences) - _SENTENCES
    return " ".join(sentences[:_SENTENCES]) + (f" And {more} more." if more > 0 else "")


def _changes(entity: Entity, shape: ViewShape, known: Sequence[Sequence[Any]]) -> tuple[list[str], list[str]]:
    """What is narrower than before or of another type, and what is new."""
    if not known:
        return [], []
    before = {str(name).lower(): (str(kind), width) for name, kind, width in known}
    worse, new = [], []
    read = {alias.lower() for alias in (RECNO, DELETED, STAMP, *(column.alias for column in entity.columns))}
    for column in shape.columns:
        name = column.name.lower()
        if name not in before:
            if name not in read:
                new.append(f"Column {column.name} is new; the contract does not know it, and it is not read.")
            continue
        if name not in read:
            continue
        kind, width = before[name]
        if kind != column.type_name:
            worse.append(f"Column {column.name} was {kind} and is {column.type_name}.")
        elif width is not None and column.width is not None and column.width < width:
            worse.append(f"Column {column.name} had {width} characters and has {column.width}.")
    for alias in (DELETED, STAMP):
        if alias.lower() in before and shape.named(alias) is None:
            worse.append(f"Column {alias} is gone.")
    return worse, new


def to_be_known(shape: ViewShape, *, whole: bool) -> KnownView:
    """What is kept of a view for the next run; ``whole``: all that HAT shows is by its text."""
    columns = [[column.name, column.type_name, column.width] for column in shape.columns]
    return KnownView(columns, shape.definition if whole else "")


def stop(tenant: str, problems: Sequence[Problem]) -> DataError:
    """The error for a run that does nothing because views have changed."""
    told: dict[str, list[str]] = {}
    for problem in problems:
        told.setdefault(problem.message, []).append(problem.table)
    return DataError(
        " ".join(f"{', '.join(tables)}: {message}" for message, tables in told.items()),
        problems[0].next_step,
        tenant=tenant,
        table=", ".join(problem.table for problem in problems),
    )
