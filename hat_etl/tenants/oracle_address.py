"""Oracle addresses of a tenant: from secret reference to user, password and connect string."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import unquote

from hat_etl.errors import ConfigurationError
from hat_etl.tenants.secrets import SecretRef

_URL = re.compile(r"oracle://(?P<user>[^:/@]+):(?P<password>[^@]*)@(?P<connect>.+)", re.DOTALL)
_OWN = re.compile(r"(?P<user>[^/@:]+)/(?P<password>.*)@(?P<connect>[^@]+)", re.DOTALL)
_OPTION = re.compile(r"\?\w+=")
"""How the options begin that may stand behind a connect string."""


@dataclass(frozen=True)
class OracleAddress:
    """Where to log in and as whom. ``user`` may name whom it acts for: ``proxy[target]``."""

    user: str
    password: str = field(repr=False)
    connect_string: str
    """host:port/service with options (EZConnect Plus), a name of tnsnames.ora, or a whole descriptor."""

    @property
    def login(self) -> str:
        """The user whose password it is, in capitals."""
        return self.user.partition("[")[0].upper()

    @property
    def schema(self) -> str:
        """The user whose objects need no schema in front, in capitals."""
        proxied = re.search(r"\[(.+)\]", self.user)
        return (proxied[1] if proxied else self.user).upper()

    @property
    def place(self) -> str:
        """The connect string without options, which might hold something secret."""
        return "the descriptor" if self.connect_string.startswith("(") else self.connect_string.partition("?")[0]


def parse(text: str) -> OracleAddress | None:
    """The address in ``oracle://user:password@connect`` or ``user/password@connect``; None for anything else.

    In the first, odd characters of user and password are percent-encoded; in the second they stand as they are.
    """
    if found := _URL.fullmatch(text):
        connect = found["connect"]
        # An @ that was not encoded in the password would bring the rest of it here, which error messages show.
        if "@" in _OPTION.split(connect)[0] and not connect.startswith("("):
            return None
        return OracleAddress(unquote(found["user"]), unquote(found["password"]), connect)
    if "://" not in text.partition("@")[0] and (found := _OWN.fullmatch(text)):
        return OracleAddress(found["user"], found["password"], found["connect"])
    return None


def address(tenant: str, key: str, reference: SecretRef) -> OracleAddress:
    """The address behind ``reference``; ``key`` is its place in the tenant file.

    Raises ConfigurationError when the secret is missing or is no such address; the message never repeats it.
    """
    found = parse(reference.resolve().strip())
    if found is None:
        raise ConfigurationError(
            f"{key}: what {reference} holds is no address of an Oracle database.",
            "Write oracle://user:password@host:1521/service, with odd characters of user and password"
            " percent-encoded (@ is %40, / is %2F, % is %25); or user/password@connect, where connect may be a name"
            " of tnsnames.ora.",
            tenant=tenant,
        )
    return found
