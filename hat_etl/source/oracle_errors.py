"""What python-oracledb's errors mean for a run, and for the person who has to mend their cause.

Drivers quote values and addresses; only the codes in their messages are used.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import oracledb

from hat_etl.errors import SourceError
from hat_etl.tenants.config import Tenant
from hat_etl.tenants.oracle_address import OracleAddress

_CODE = re.compile(r"\b(?:ORA|DPY|DPI|TNS)-\d{4,5}\b")

_DEAD = {
    "DPY-4011", "DPY-1001", "ORA-00028", "ORA-01012", "ORA-02396", "ORA-03113", "ORA-03114", "ORA-03135", "ORA-12537",
    "ORA-12547", "ORA-12570",
}  # fmt: skip
_EXPIRED = {"ORA-01555", "ORA-08180", "ORA-08181"}
NO_FLASHBACK = frozenset({"ORA-01031", "ORA-00942", "ORA-00904", "ORA-06550", "ORA-41900"})
"""Codes by which a server refuses to tell or to show a moment of the past."""
CHANGED = "ORA-01466"
"""A table or view was redefined since the moment that is asked for."""
TIMED_OUT = "DPY-4024"
TOO_LARGE = "DPY-4042"
"""A number does not fit the decimal that was asked for."""


@dataclass(frozen=True)
class _Refusal:
    """Cause and mend of a login that was refused; ``{user}`` and ``{place}`` are filled in."""

    cause: str
    mend: str


_REFUSALS = {
    "ORA-01017": _Refusal(
        "user or password is wrong", "Correct user and password behind [erp] url; the password counts capitals."
    ),
    "ORA-28000": _Refusal(
        "the account {user} is locked",
        "Let the DBA run: ALTER USER {user} ACCOUNT UNLOCK; and see what locked it (a job with an old password?).",
    ),
    "ORA-28001": _Refusal(
        "the password of {user} has expired",
        "Let the DBA set a new one (ALTER USER {user} IDENTIFIED BY ...) and give the user a profile whose passwords"
        " do not expire; then put it behind [erp] url.",
    ),
    "ORA-01045": _Refusal("{user} may not log in", "Let the DBA run: GRANT CREATE SESSION TO {user};"),
    "ORA-02391": _Refusal(
        "{user} has as many sessions as its profile allows",
        "Lower connections in [erp], or let the DBA raise SESSIONS_PER_USER.",
    ),
    "ORA-00018": _Refusal(
        "the server has no session left", "Lower connections in [erp], or run when the ERP is quiet."
    ),
    "ORA-00020": _Refusal(
        "the server has no process left", "Lower connections in [erp], or run when the ERP is quiet."
    ),
    "ORA-01033": _Refusal("the database is starting or stopping", "Try again when the DBA says that it is open."),
    "ORA-01034": _Refusal("the database is down", "Ask the DBA to start it."),
    "DPY-3015": _Refusal(
        "the password of {user} is kept in a form (10G) with which the driver cannot log in",
        "Let the DBA set the password anew with SQLNET.ALLOWED_LOGON_VERSION_SERVER at 12 or 11 on the server.",
    ),
    "DPY-3010": _Refusal("the server is older than Oracle 12.1", "hat_etl reads Oracle from 12.1 on."),
    "DPY-3001": _Refusal(
        "the server asks for what the driver has not (most often native network encryption)",
        "Let the DBA offer TCPS, or set SQLNET.ENCRYPTION_SERVER to ACCEPTED for this machine.",
    ),
    "ORA-12660": _Refusal(
        "the server insists on native network encryption",
        "Let the DBA offer TCPS, or set SQLNET.ENCRYPTION_SERVER to ACCEPTED for this machine.",
    ),
    "DPY-6001": _Refusal(
        "the listener at {place} knows no such service (ORA-12514)",
        "Correct the service behind [erp] url; on the server, lsnrctl services lists those that are there.",
    ),
    "DPY-6003": _Refusal(
        "the listener at {place} knows no such SID (ORA-12505)",
        "Name the service rather than the SID behind [erp] url; on the server, lsnrctl services lists them.",
    ),
    "DPY-6000": _Refusal(
        "the listener at {place} refuses the connection", "Ask the DBA whether it lets this machine in."
    ),
    "DPY-6006": _Refusal(
        "the server's certificate bears another name",
        "Correct the host behind [erp] url, or give the name as ssl_server_cert_dn.",
    ),
    "DPY-4000": _Refusal(
        "{place} is not in tnsnames.ora", "Correct the name, or set TNS_ADMIN to the folder of the right tnsnames.ora."
    ),
    "DPY-4026": _Refusal("there is no tnsnames.ora in the folder", "Set TNS_ADMIN to the folder of tnsnames.ora."),
    "DPY-4027": _Refusal(
        "{place} is no host with port and service, and no folder of tnsnames.ora is known",
        "Write host:1521/service behind [erp] url, or set TNS_ADMIN to the folder of tnsnames.ora.",
    ),
    "DPY-6005": _Refusal(
        "nothing answers at {place}",
        "Check host and port behind [erp] url, that the listener is up (lsnrctl status), and that no firewall is"
        " between.",
    ),
}
"""By code; of several in one message the first of these counts."""


def codes(error: Exception) -> list[str]:
    """The codes in an error's message, the driver's own first."""
    return list(dict.fromkeys(_CODE.findall(str(error))))


def code(error: Exception) -> str:
    """The code by which an error is told: the server's where there is one."""
    found = codes(error)
    return found[0] if found else type(error).__name__


def is_dead(error: Exception) -> bool:
    """Whether the connection is gone, and another one could go on in its place."""
    return isinstance(error, OSError) or not _DEAD.isdisjoint(codes(error))


def is_expired(error: Exception) -> bool:
    """Whether the moment that was asked for can no longer be shown."""
    return not _EXPIRED.isdisjoint(codes(error))


def connection_failed(tenant: Tenant, address: OracleAddress, error: oracledb.Error | OSError) -> SourceError:
    """The error for a connection that could not be had: cause and mend where they are known."""
    found = codes(error)
    # Where nothing answers, the driver wraps the reason: the wrapper counts only when nothing else is known.
    known = next((name for name in _REFUSALS if name in found), None)
    refusal = _REFUSALS[known] if known else _REFUSALS["DPY-6005"] if isinstance(error, OSError) else None
    if refusal is None:
        refusal = _Refusal("the driver gives no reason that is known here", "Look the code up, or ask the DBA.")
    told = f" ({known or code(error)})"
    named = {"user": address.schema, "place": address.place}
    return SourceError(
        f"The ERP database cannot be reached: {refusal.cause.format(**named)}{told}.",
        f"{refusal.mend.format(**named)} Then run: hat-etl doctor {tenant.name}",
        tenant=tenant.name,
    )
