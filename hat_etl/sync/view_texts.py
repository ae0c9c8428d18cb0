"""Whether a view still has the text by which its rows were read: what was read through another one is read again.

A view that is made anew with another text may show other values for rows whose stamps have not moved; so may one with
the same text, over columns that have another type or width by now, or in another database: many a tenant is loaded from
the ERP's copy for tests before its address is changed. A digest of all of these is kept with every staged range and
with every table's last whole reading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from hat_etl.errors import SourceError
from hat_etl.source.reader import Source, ViewShape

ANEW = "made anew with another text or other columns, or is another database's"
"""What may be true of a view whose digest is another one."""


def with_digests(source: Source, shapes: Sequence[ViewShape]) -> list[ViewShape]:
    """The shapes with the digests of their views as they are now, where the database tells their texts."""
    if not shapes:
        return []
    texts, place = source.definitions(shapes), source.place()
    return [replace(shape, definition=_digest(place, texts.get(shape.entity.table, ""), shape)) for shape in shapes]


def _digest(place: str, text: str, shape: ViewShape) -> str:
    columns = sorted((column.name, column.type_name, column.width or 0) for column in shape.columns)
    return hashlib.sha256(f"{place}\n{shape.relation}\n{text}\n{columns}".encode()).hexdigest() if text else ""


def made_anew(shape: ViewShape, known: str) -> bool:
    """Whether a view has another digest than ``known``; not where the text of one of both was not told."""
    return bool(shape.definition and known) and shape.definition != known


def made_anew_since(source: Source, shapes: Sequence[ViewShape]) -> list[ViewShape]:
    """The views that were made anew since they were described: what was read of them may be of both texts."""
    return [
        before
        for before, now in zip(shapes, with_digests(source, shapes), strict=True)
        if made_anew(now, before.definition)
    ]


def refusal(changed: Sequence[ViewShape], tenant: str, again: str) -> SourceError:
    """The error for a run while which views were made anew."""
    return SourceError(
        f"Made anew with another text while the run read: {', '.join(shape.entity.view for shape in changed)}."
        " Rows by the text before and by the new one would stand side by side. HAT is unchanged.",
        f"When the views are as they shall be, run again: {again}",
        tenant=tenant,
        table=", ".join(shape.entity.table for shape in changed),
    )
