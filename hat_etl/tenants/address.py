"""PostgreSQL addresses of a tenant: from secret reference to connection string, and failures without secrets."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from hat_etl.errors import ConfigurationError
from hat_etl.tenants.secrets import SecretRef

NETWORK = {
    "connect_timeout": 15,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
"""When a server counts as lost that does not answer any more: after a minute or so. An address may say otherwise."""

SERVER_NETWORK = ("tcp_keepalives_idle=30", "tcp_keepalives_interval=10", "tcp_keepalives_count=3")
"""Settings by which the server, too, gives up a client that has vanished, with its locks and its snapshot."""

LOOKS_FOR_CLIENTS = "version() !~* 'visual c[+][+]|mingw|windows'"
"""SQL: whether the server takes ``client_connection_check_interval``. On Windows it refuses any but 0."""


def connection_string(tenant: str, key: str, reference: SecretRef, **options: str | int) -> str:
    """The connection string behind ``reference`` with ``options`` and ``NETWORK`` added.

    ``key`` is its place in the tenant file.

    Raises ConfigurationError when the secret is missing or is no PostgreSQL address; the message never repeats it.
    """
    address = reference.resolve()
    malformed = ConfigurationError(
        f"{key}: what {reference} holds is no address that PostgreSQL understands.",
        "Write postgresql://user:password@host:port/database, with odd characters of user and password"
        " percent-encoded (@ is %40, / is %2F, % is %25).",
        tenant=tenant,
    )
    try:
        parts = conninfo_to_dict(address)
        # An @ or / that was not encoded in the password brings its rest to where error messages show it.
        path = address.partition("?")[0].partition("://")[2].partition("/")[2]
        if any("@" in str(place) for place in (parts.get("host"), parts.get("port"), path)):
            raise malformed
        int(parts.get("connect_timeout") or 0)  # which libpq takes as it is, and psycopg does not
        return make_conninfo(address, **{name: v for name, v in NETWORK.items() if name not in parts}, **options)
    except (psycopg.ProgrammingError, ValueError):
        raise malformed from None


def refusal(error: Exception, dsn: str) -> str:
    """libpq's own words on a connection that failed (they name host and user), in one line and without the password."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    password = str(conninfo_to_dict(dsn).get("password") or "")
    return text.replace(password, "***") if password else text
