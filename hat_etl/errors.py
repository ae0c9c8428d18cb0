"""Errors that end a command: each names tenant, table and row where known, the cause and the next step.

The exit code of a command is the code of its error's class. Messages never hold values of the data nor secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass
class HatEtlError(Exception):
    """``cause`` says what happened, ``next_step`` what to do now; both are sentences for the implementation team."""

    cause: str
    next_step: str
    tenant: str | None = None
    table: str | None = None

    exit_code: ClassVar[int] = 1
    kind: ClassVar[str] = "internal"

    def __str__(self) -> str:
        where = " / ".join(part for part in (self.tenant, self.table) if part)
        return f"{where + ': ' if where else ''}{self.cause} Next step: {self.next_step}"

    def as_dict(self) -> dict[str, str | int | None]:
        """The error as it stands in ``--json`` output."""
        return {
            "kind": self.kind,
            "exit_code": self.exit_code,
            "tenant": self.tenant,
            "table": self.table,
            "cause": self.cause,
            "next_step": self.next_step,
        }


class ConfigurationError(HatEtlError):
    """A tenant file, secret reference or setting is missing or wrong."""

    exit_code = 3
    kind = "configuration"


class SourceError(HatEtlError):
    """The ERP cannot be reached, refuses, or lacks a view."""

    exit_code = 4
    kind = "source"


class TargetError(HatEtlError):
    """The tenant database, or a store beside it, cannot be reached, refuses, is full, or belongs to another tenant."""

    exit_code = 5
    kind = "target"


class DataError(HatEtlError):
    """What a view delivers is not what the contract says: a column is gone, renamed or of another type."""

    exit_code = 6
    kind = "data"


class DecisionNeeded(HatEtlError):
    """The run stopped before the commit because a person has to decide."""

    exit_code = 7
    kind = "decision"


@dataclass
class WindowClosed(DecisionNeeded):
    """The ERP may not be read now. ``begun``: the run had, and was caught by the end of the window."""

    begun: bool = False


class Busy(HatEtlError):
    """Another run holds the tenant."""

    exit_code = 8
    kind = "busy"


class HatApiError(HatEtlError):
    """HAT's API cannot be reached, refuses the Mastertoken or a call, or answers what nobody understands."""

    exit_code = 9
    kind = "hat_api"


class OperatorError(HatEtlError):
    """The operator's service cannot be reached, refuses, or answers what nobody understands."""

    exit_code = 10
    kind = "operator"


class OutputError(HatEtlError):
    """What a command has to tell cannot be written: the disk is full, or nobody reads it any more."""

    exit_code = 11
    kind = "output"


class ReaderGone(OutputError):
    """Nobody reads any more what a command has to tell, as behind ``| head``: of a question there is no more to say."""
