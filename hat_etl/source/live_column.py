"""A column of a view or table as the ERP's catalogue describes it, and the families of its types."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TYPES = {
    "text": "bpchar, char, character, varchar, character varying, text, citext, varchar2, nchar, nvarchar, nvarchar2, "
    "clob",
    "number": "int2, int4, int8, smallint, integer, bigint, float4, float8, real, double precision, numeric, decimal, "
    "number, float, binary_float, binary_double",
    "timestamp": "timestamp, timestamptz, timestamp without time zone, timestamp with time zone, "
    "timestamp with local time zone",
}
_MEMOS = frozenset({"bytea", "blob", "raw", "long raw", "long"})
"""Types of a Protheus memo that are no text: bytes in an encoding that nothing tells, some behind a head of 6 bytes."""

_FAMILY = {name: family for family, names in _TYPES.items() for name in names.split(", ")}
"""Type of PostgreSQL or Oracle, less its size, to the family that matters here."""


@dataclass(frozen=True)
class LiveColumn:
    """A column as the ERP's catalogue describes it; ``width`` in characters, None when the type has no limit."""

    name: str
    type_name: str
    width: int | None = None

    @property
    def family(self) -> str:
        """text, number or timestamp; the type's own name when it is none of these."""
        plain = " ".join(re.sub(r"\([^)]*\)", " ", self.type_name).lower().split())
        return _FAMILY.get(plain, plain)

    @property
    def is_memo(self) -> bool:
        return self.family in _MEMOS
