"""The little language that says where a column comes from, e.g. ``BA1_CODINT+BA1_CODEMP`` or ``BAX_CODSUB else '-'``.

Forms: ``F`` a field as stored; ``A+B`` fields side by side at full width; ``F[1:4]`` a slice; ``F else '-'`` or
``F else 19000101`` a constant when F is blank (keys only); ``F via A=B and C=D`` a joined field; ``F else G via ...``
the joined G when F is blank; ``F if H else G via ...`` F when H is filled, else the joined G.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FIELD = r"[A-Z0-9]{3}_[A-Z0-9_]+"


@dataclass(frozen=True)
class Expression:
    """One parsed source expression.

    ``fields`` are the driving row's own fields (more than one: concatenation), ``slice`` is 1-based and inclusive,
    ``constant`` stands in for a blank, ``joined`` is the other table's field, taken when ``condition`` (default: the
    field itself) is blank, and ``join`` holds the pairs (own field, other field) that tie the two rows.
    """

    text: str
    fields: tuple[str, ...] = ()
    slice: tuple[int, int] | None = None
    constant: str | None = None
    condition: str | None = None
    joined: str | None = None
    join: tuple[tuple[str, str], ...] = ()

    @property
    def is_concatenation(self) -> bool:
        return len(self.fields) > 1

    @property
    def all_fields(self) -> tuple[str, ...]:
        """Every PLS field the expression reads, in order of appearance and once each."""
        named = [*self.fields, self.condition, self.joined, *(field for pair in self.join for field in pair)]
        return tuple(dict.fromkeys(field for field in named if field))


def parse(text: str) -> Expression:
    """Read ``text``; raises ValueError when it is none of the known forms."""
    body, _, via = text.partition(" via ")
    join = tuple(_pair(part) for part in via.split(" and ")) if via else ()
    if match := re.fullmatch(rf"({_FIELD}) if ({_FIELD}) else ({_FIELD})", body):
        own, condition, joined = match.groups()
        return Expression(text, (own,), condition=condition, joined=joined, join=join)
    if match := re.fullmatch(rf"({_FIELD}) else ({_FIELD})", body):
        return Expression(text, (match[1],), joined=match[2], join=join)
    if match := re.fullmatch(rf"({_FIELD}) else (?:'([^']+)'|(\d+))", body):
        return Expression(text, (match[1],), constant=match[2] or match[3])
    if match := re.fullmatch(rf"({_FIELD})\[(\d+):(\d+)\]", body):
        return Expression(text, (match[1],), slice=(int(match[2]), int(match[3])))
    if re.fullmatch(rf"{_FIELD}(\+{_FIELD})*", body):
        fields = tuple(body.split("+"))
        return Expression(text, joined=fields[0], join=join) if join else Expression(text, fields)
    raise ValueError(f"source expression not understood: {text!r}")


def _pair(text: str) -> tuple[str, str]:
    match = re.fullmatch(rf"({_FIELD})=({_FIELD})", text)
    if not match:
        raise ValueError(f"join condition not understood: {text!r}")
    return match[1], match[2]
