"""References to secrets. A tenant file names where a secret lies and never holds one."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from hat_etl.errors import ConfigurationError

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, repr=False)
class SecretRef:
    """``env:NAME`` (an environment variable) or ``file:PATH`` (a text file, relative to the tenant file's folder).

    Showing it shows the reference; only ``resolve`` reads the secret.
    """

    kind: str
    target: str
    folder: Path = field(default=Path(), compare=False)
    """What a relative PATH starts from."""
    tenant: str | None = field(default=None, compare=False)
    """Named in errors."""

    @classmethod
    def parse(cls, text: object, folder: Path | None = None, tenant: str | None = None) -> SecretRef:
        """Read a reference. The ValueError for anything else never repeats it, for it may be the secret itself."""
        kind, _, target = text.partition(":") if isinstance(text, str) else ("", "", "")
        # "://" is how a connection URL looks, also behind a "file:" written in haste.
        good = bool(_VARIABLE.fullmatch(target)) if kind == "env" else target.strip() != "" and "://" not in target
        if kind not in ("env", "file") or not good or not target.isprintable():
            raise ValueError("must be a reference, env:NAME or file:PATH, not the secret itself")
        return cls(kind, target, folder or Path(), tenant)

    def __str__(self) -> str:
        return f"{self.kind}:{self.target}"

    __repr__ = __str__

    def resolve(self) -> str:
        """The secret. Raises ConfigurationError when it is not there or empty."""
        return self._from_environment() if self.kind == "env" else self._from_file()

    def _from_environment(self) -> str:
        secret = os.environ.get(self.target, "").rstrip("\r\n")
        if not secret.strip():
            raise self._missing(
                "is not set or empty",
                f"Set the environment variable {self.target} for the process that runs hat-etl, then run it again.",
            )
        try:
            secret.encode()
        except UnicodeEncodeError:
            raise self._missing(
                "is not UTF-8 text", f"Set the environment variable {self.target} as UTF-8 text, then run it again."
            ) from None
        return secret

    def _from_file(self) -> str:
        try:
            path = self.folder / Path(self.target).expanduser()
        except RuntimeError:  # of a user whom this machine does not know
            raise self._missing(
                "lies in a home that there is not on this machine", "Write the whole path in the tenant's file."
            ) from None
        try:
            secret = path.read_text(encoding="utf-8-sig").rstrip("\r\n")
        except OSError as error:
            raise self._missing(
                f"cannot be read ({error.strerror})",
                f"Put the secret into {path}, readable by the user who runs hat-etl, then run it again.",
            ) from None
        except UnicodeDecodeError:
            raise self._missing("is not UTF-8 text", f"Save {path} as UTF-8 text, then run it again.") from None
        if not secret.strip():
            raise self._missing("is empty", f"Put the secret into {path}, then run it again.")
        return secret

    def _missing(self, what: str, next_step: str) -> ConfigurationError:
        return ConfigurationError(f"The secret {self} {what}.", next_step, tenant=self.tenant)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        def validate(value: object, info: core_schema.ValidationInfo) -> SecretRef:
            context = info.context if isinstance(info.context, Mapping) else {}
            return value if isinstance(value, SecretRef) else cls.parse(value, **context)

        return core_schema.with_info_plain_validator_function(
            validate, serialization=core_schema.to_string_ser_schema()
        )
