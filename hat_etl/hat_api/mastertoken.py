"""The Mastertoken: one key per operator, which never shows.

It is random hexadecimal and does not expire (TOTVS documentation, page 982919969). While it is being replaced, the new
one and the one before are both tried.
"""

from __future__ import annotations

import re
from threading import Lock

from hat_etl.errors import ConfigurationError
from hat_etl.tenants.config import Tenant
from hat_etl.tenants.secrets import SecretRef

_SHAPE = re.compile(r"[0-9A-Fa-f]{16,256}")


class Mastertoken:
    """A token whose shape is right. Showing it shows where it came from."""

    __slots__ = ("_origin", "_value")

    def __init__(self, value: str, origin: str) -> None:
        self._value, self._origin = value, origin

    def __repr__(self) -> str:
        return f"Mastertoken({self._origin})"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a Mastertoken is not written anywhere")

    @property
    def origin(self) -> str:
        """The reference that it was read from."""
        return self._origin

    def reveal(self) -> str:
        """The token itself, for the header and nothing else."""
        return self._value


def read(tenant: str, key: str, reference: SecretRef) -> Mastertoken:
    """The token behind ``reference``; ``key`` is its place in the tenant file.

    Raises ConfigurationError when it is missing or no Mastertoken; the message never repeats it.
    """
    value = reference.resolve().strip()
    if not _SHAPE.fullmatch(value):
        raise ConfigurationError(
            f"{key}: what {reference} holds is no Mastertoken: that is 16 or more hexadecimal digits and nothing else.",
            "Copy it again from HAT's administration, menu Integrações.",
            tenant=tenant,
        )
    return Mastertoken(value, str(reference))


class Keyring:
    """The tokens of a tenant, the one that HAT accepted last in front. Threads may share it."""

    def __init__(self, tokens: tuple[Mastertoken, ...]) -> None:
        self._tokens = tokens
        self._lock = Lock()

    @classmethod
    def of(cls, tenant: Tenant) -> Keyring:
        """The tokens that the tenant's file refers to. Raises ConfigurationError."""
        hat = tenant.hat
        if hat.master_token is None:
            raise ConfigurationError(
                "hat.master_token: is missing; HAT's API cannot be called without.",
                'Write master_token = "env:NAME" under [hat] and put the Mastertoken there.',
                tenant=tenant.name,
            )
        tokens = [read(tenant.name, "hat.master_token", hat.master_token)]
        if hat.api.previous_master_token is not None:
            tokens.append(read(tenant.name, "hat.api.previous_master_token", hat.api.previous_master_token))
        return cls(tuple(tokens))

    def tokens(self) -> tuple[Mastertoken, ...]:
        """Those to try, in this order."""
        return self._tokens

    def accepted(self, token: Mastertoken) -> None:
        """Try ``token`` first from now on."""
        with self._lock:
            if self._tokens[0] is not token:
                self._tokens = (token, *(other for other in self._tokens if other is not token))
