"""Why a login to Oracle was refused: for each reason that is known, its cause and how a person mends it.

Drivers quote values and addresses; only the codes in their messages are used.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import oracledb

from hat_etl.errors import SourceError
from hat_etl.source.oracle_errors import code, told
from hat_etl.tenants.config import Tenant
from hat_etl.tenants.oracle_address import OracleAddress


@dataclass(frozen=True)
class _Refusal:
    """Cause and mend of a login that was refused; what ``_named`` gives is filled in."""

    cause: str
    mend: str


_NO_CERTIFICATE, _NO_TLS, _TLS = "NO_CERTIFICATE_OR_CRL_FOUND", "WRONG_VERSION_NUMBER", "TLS"
_EXPIRED_CERTIFICATE, _UNTRUSTED = "CERTIFICATE_EXPIRED", "CERTIFICATE_VERIFY_FAILED"
"""What OpenSSL says, for which the driver has no codes of its own."""
_HAS_EXPIRED = 10
"""OpenSSL's number of that verdict on a certificate."""

_ENCRYPTED_OTHERWISE = (
    "Let the DBA offer TCPS, or set SQLNET.ENCRYPTION_SERVER to ACCEPTED for this machine; or install Oracle's client"
    " libraries and name them as client_library in [erp]."
)

_REFUSALS = {
    "ORA-01017": _Refusal(
        "user or password is wrong", "Correct user and password behind [erp] url; the password counts capitals."
    ),
    "ORA-28000": _Refusal(
        "the account {either} is locked",
        "Let the DBA run: {unlock} and see what locked it (a job with an old password?).",
    ),
    "ORA-28001": _Refusal(
        "the password of {login} has expired",
        "Let the DBA set a new one (ALTER USER {login} IDENTIFIED BY ...) and give the user a profile whose passwords"
        " do not expire; then put it behind [erp] url.",
    ),
    "ORA-01045": _Refusal("{either} may not log in", "Let the DBA run: GRANT CREATE SESSION TO {both};"),
    "ORA-28150": _Refusal(
        "{login} may not act for {user}", "Let the DBA run: ALTER USER {user} GRANT CONNECT THROUGH {login};"
    ),
    "ORA-02391": _Refusal(
        "{user} has as many sessions as its profile allows",
        "Lower connections in [erp], or let the DBA raise SESSIONS_PER_USER.",
    ),
    "ORA-00018": _Refusal(
        "the server has no session left", "Lower connections in [erp], or run when the ERP is quiet."
    ),
    # The last four are the listener's, around which the driver says of its own that it refuses (DPY-6000).
    **dict.fromkeys(
        ("ORA-00020", "ORA-12516", "ORA-12518", "ORA-12519", "ORA-12520"),
        _Refusal(
            "the server has no process left",
            "Lower connections in [erp], run when the ERP is quiet, or let the DBA raise PROCESSES.",
        ),
    ),
    **dict.fromkeys(
        ("ORA-01033", "ORA-01035", "ORA-01089", "ORA-01090", "ORA-01092", "ORA-12526", "ORA-12527", "ORA-12528"),
        _Refusal(
            "the database is starting or stopping, or open to its DBA only",
            "Try again when the DBA says that it is open.",
        ),
    ),
    "ORA-01034": _Refusal("the database is down", "Ask the DBA to start it."),
    "DPY-3015": _Refusal(
        "the password of {login} is kept in a form (10G) with which the driver cannot log in",
        "Let the DBA set the password anew with SQLNET.ALLOWED_LOGON_VERSION_SERVER at 12 or 11 on the server.",
    ),
    "DPY-3010": _Refusal(
        "the server is older than Oracle 12.1",
        "Install Oracle's client libraries and name them as client_library in [erp]: those reach 11.2.",
    ),
    "DPY-3001": _Refusal(
        "the server asks for what the driver has not (most often native network encryption)", _ENCRYPTED_OTHERWISE
    ),
    "ORA-12660": _Refusal("the server insists on native network encryption", _ENCRYPTED_OTHERWISE),
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
        "Correct the host behind [erp] url: it must be a name that stands in the certificate, and an IP address never"
        " does. Or give the certificate's own name as ssl_server_cert_dn.",
    ),
    "DPY-6002": _Refusal(
        "the server's certificate bears another name than ssl_server_cert_dn",
        "Correct ssl_server_cert_dn, all parts of the name; orapki wallet display shows it on the server.",
    ),
    "DPY-2018": _Refusal(
        "the folder that the address names as wallet_location holds no ewallet.pem",
        "Put the wallet's ewallet.pem there, or correct wallet_location; for a server whose certificate is signed by a"
        " public authority, leave it out.",
    ),
    _NO_CERTIFICATE: _Refusal(
        "ewallet.pem holds no certificate",
        "Put the certificate of the authority that has signed the server's into ewallet.pem, in PEM format.",
    ),
    _EXPIRED_CERTIFICATE: _Refusal(
        "the server's certificate has expired",
        "Let the DBA renew it; if this machine's clock is wrong, have it set by NTP.",
    ),
    _UNTRUSTED: _Refusal(
        "the server's certificate is signed by nobody whom this machine trusts",
        "Let the DBA export the authority's certificate from the server's wallet (orapki wallet export), put it into"
        " ewallet.pem, and name its folder as wallet_location.",
    ),
    _NO_TLS: _Refusal(
        "{place} does not speak TLS",
        "Name the port for TCPS (lsnrctl status lists it), or leave out tcps://, which sends all rows unencrypted.",
    ),
    _TLS: _Refusal(
        "the server at {place} breaks off the TLS handshake",
        "If it asks for a certificate of the client, give the wallet that holds one as wallet_location; else ask the"
        " DBA for the versions and ciphers of TLS that it takes.",
    ),
    "DPY-4000": _Refusal(
        "{place} is not in tnsnames.ora",
        "Correct the name, or give the folder of the right tnsnames.ora: tns_admin in [erp], or TNS_ADMIN for all"
        " tenants.",
    ),
    "DPY-4026": _Refusal(
        "there is no tnsnames.ora in the folder, or it may not be read",
        "Correct the folder: tns_admin in [erp], or TNS_ADMIN for all tenants.",
    ),
    "DPY-4027": _Refusal(
        "{place} is no host with port and service, and no folder of tnsnames.ora is known",
        "Write host:1521/service behind [erp] url, or give the folder of tnsnames.ora: tns_admin in [erp], or TNS_ADMIN"
        " for all tenants.",
    ),
    **dict.fromkeys(
        ("DPY-2049", "DPY-4017", "DPY-4018", "DPY-4021"),
        _Refusal(
            "the descriptor of {place} cannot be understood",
            "Mend it in tnsnames.ora or behind [erp] url: each parenthesis is closed, and there is an ADDRESS with"
            " PROTOCOL (TCP or TCPS), HOST and PORT.",
        ),
    ),
    "DPY-4011": _Refusal(
        "the server at {place} closes the connection before the login",
        "If the port is one for TCPS, write tcps:// before the host. If the address says so, the server may ask for a"
        " certificate of the client: give the wallet that holds one as wallet_location. Else ask the DBA whether this"
        " machine may connect (TCP.VALIDNODE_CHECKING).",
    ),
    "DPY-6005": _Refusal(
        "nothing answers at {place}",
        "Check host and port behind [erp] url, that the listener is up (lsnrctl status), and that no firewall is"
        " between.",
    ),
}
"""By code; of several in one message the first of these counts."""

_REFUSALS |= {
    "ORA-28759": _Refusal(
        "the client libraries find no wallet that they can open",
        "They read cwallet.sso: see WALLET_LOCATION in sqlnet.ora, and that the user who runs hat-etl may read it.",
    ),
    "ORA-28040": _Refusal(
        "server and client libraries know no common way to log in",
        "Let the DBA allow an older one (SQLNET.ALLOWED_LOGON_VERSION_SERVER), or install older client libraries.",
    ),
    **{
        theirs: _REFUSALS[ours]
        for theirs, ours in {
            "ORA-12154": "DPY-4000", "ORA-12514": "DPY-6001", "ORA-12505": "DPY-6003", "ORA-29024": _UNTRUSTED,
            "ORA-29002": "DPY-6006", "ORA-03113": "DPY-4011", "ORA-03135": "DPY-4011", "ORA-12537": "DPY-4011",
            "ORA-12547": "DPY-4011", "ORA-12570": "DPY-4011", "ORA-12170": "DPY-6005", "ORA-12535": "DPY-6005",
            "ORA-12541": "DPY-6005", "ORA-12543": "DPY-6005", "ORA-12545": "DPY-6005",
        }.items()
    },
}  # fmt: skip
"""What Oracle's client libraries say of the same reasons, where they are used, and of two more."""


def _tls_codes(error: BaseException | None) -> Iterator[str]:
    """What OpenSSL says among the causes of an error."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            yield _EXPIRED_CERTIFICATE if error.verify_code == _HAS_EXPIRED else _UNTRUSTED
        elif isinstance(error, ssl.SSLError) and error.reason:
            yield error.reason if error.reason in _REFUSALS else _TLS
        error = error.__cause__ or error.__context__


def connection_failed(tenant: Tenant, address: OracleAddress, error: oracledb.Error | OSError) -> SourceError:
    """The error for a connection that could not be had: cause and mend where they are known."""
    found = [*told(error), *_tls_codes(error)]
    # Where nothing answers, the driver wraps the reason: the wrapper counts only when nothing else is known.
    known = next((name for name in _REFUSALS if name in found), None)
    refusal = _REFUSALS[known] if known else _REFUSALS["DPY-6005"] if isinstance(error, OSError) else None
    if refusal is None:
        refusal = _Refusal("the driver gives no reason that is known here", "Look the code up, or ask the DBA.")
    named = _named(address)
    return SourceError(
        f"The ERP database cannot be reached: {refusal.cause.format(**named)} ({known or code(error)}).",
        f"{refusal.mend.format(**named)} Then run: hat-etl doctor {tenant.name}",
        tenant=tenant.name,
    )


def _named(address: OracleAddress) -> dict[str, str]:
    """What causes and mends name. A proxy logs in for a user: some refusals may concern either."""
    accounts = list(dict.fromkeys((address.login, address.schema)))
    return {
        "login": address.login,
        "user": address.schema,
        "either": " or ".join(accounts),
        "both": ", ".join(accounts),
        "unlock": " ".join(f"ALTER USER {account} ACCOUNT UNLOCK;" for account in accounts),
        "place": address.place,
    }


def fetcher_died(tenant: str, table: str | None, again: str) -> SourceError:
    return SourceError(
        "The process that fetches rows from the ERP (hat_etl.source.oracle_fetcher) has died.",
        "If you did not end it: see whether the machine has run out of memory (journalctl -k). Then go on with:"
        f" {again}",
        tenant=tenant,
        table=table,
    )
