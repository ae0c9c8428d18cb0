"""A folder, of a disk or of an object store, from which the operator takes lots.

A file appears there whole or not at all. A lot has one name there, whatever becomes of its delivery.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from hat_etl.billing.objects import Failed, Gone, ObjectStore, Refused, safe_name
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

    def __init__(self, folder: ObjectStore) -> None:
        self._folder = folder

    def close(self) -> None:
        pass

    def deliver(self, letter: Letter) -> Taken | Rejected | NotSent | Unclear:
        name = _name(letter)
        try:
            # One that cannot be reached is found out before anything may have arrived.
            self._folder.holds(name)
        except Refused:
            pass  # Some let us write, but not look.
        except Failed as error:
            return NotSent(error.why)
        try:
            self._folder.write(name, letter.content)
        except Failed as error:
            return NotSent(error.why) if error.harmless else Unclear(error.why)
        return Taken(None)

    def find(self, letter: Letter) -> Taken | Rejected | Absent | NoAnswer:
        try:
            found = self._folder.read(_name(letter))
        except Gone:
            return NoAnswer("the file is not in the folder: never written, or taken by the operator already")
        except Failed as error:
            return NoAnswer(error.why, down=not isinstance(error, Refused))
        # An earlier file of the lot: this one would have taken its place.
        return Taken(None) if hashlib.sha256(found).hexdigest() == letter.sha256 else Absent()

    def status(self, letter: Letter) -> Standing | Absent | NoAnswer:
        return NoAnswer("a folder tells no status")

    def statement(self, letters: Sequence[Letter]) -> dict[int, Denials] | NoAnswer:
        return {}


def _name(letter: Letter) -> str:
    return f"{safe_name(letter.provider, letter.lot_number, letter.batch_number)}.xml"
