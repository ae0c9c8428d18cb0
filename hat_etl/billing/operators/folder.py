"""A folder from which the operator takes lots. A file appears there whole or not at all, and is never changed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hat_etl.billing.operators.base import (
    Absent,
    Denials,
    Letter,
    NoAnswer,
    NotSent,
    Rejected,
    Standing,
    Taken,
    Unclear,
)


class FolderOperator:
    """The folder knows no protocol and no status: these come from whoever is asked by lot number."""

    statements_at_once = 0

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def close(self) -> None:
        pass

    def deliver(self, letter: Letter) -> Taken | Rejected | NotSent | Unclear:
        place = self._place(letter)
        draft = place.with_suffix(".part")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with draft.open("wb") as stream:
                stream.write(letter.content)
                stream.flush()
                os.fsync(stream.fileno())
            draft.replace(place)
            _sync(self._folder)
        except OSError as error:
            return NotSent(error.strerror or type(error).__name__)
        return Taken(None)

    def find(self, letter: Letter) -> Taken | Rejected | Absent | NoAnswer:
        if self._place(letter).exists():
            return Taken(None)
        return NoAnswer("the file is not in the folder: never written, or taken by the operator already")

    def status(self, letter: Letter) -> Standing | Absent | NoAnswer:
        return NoAnswer("a folder tells no status")

    def statement(self, letters: Sequence[Letter]) -> dict[int, Denials] | NoAnswer:
        return {}

    def _place(self, letter: Letter) -> Path:
        # Numbers of HAT and of providers are not to be trusted with paths.
        safe = "".join(
            c if c.isalnum() else "_" for c in f"{letter.provider}_{letter.lot_number}_{letter.batch_number}"
        )
        return self._folder / f"{safe}.xml"


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
