"""What all sections of a tenant file share."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

YEAR_MINUTES = 525_600
YEAR_SECONDS = 60 * YEAR_MINUTES
"""Longer than anybody waits: what is reckoned with a time must not lead beyond the calendar."""


class Section(BaseModel):
    """A table of a tenant file: unknown keys are refused, values never repeated."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, validate_by_name=True)


def pattern(expression: str, wanted: str) -> AfterValidator:
    """Lets texts pass that match ``expression``; others must be ``wanted``."""

    def check(value: str) -> str:
        if not re.fullmatch(expression, value):
            raise ValueError(f"must be {wanted}")
        return value

    return AfterValidator(check)


def _web_address(value: str) -> str:
    try:
        parts = urlsplit(value)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname or not value.isprintable():
        raise ValueError("must be an address that starts with https://")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or a password")
    return value


WebAddress = Annotated[str, AfterValidator(_web_address)]


def _absolute(value: Path) -> Path:
    if not value.is_absolute():
        raise ValueError("must be an absolute path")
    return value


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
