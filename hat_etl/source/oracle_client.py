"""Thin or thick: whether the driver reaches Oracle by itself, or through Oracle's own client libraries.

It is one or the other for all connections of a process, from the first one until the process ends. Runs of different
tenants that share a process therefore share the answer, too: who differs is turned away, and told to come alone.
"""

from __future__ import annotations

import re

import oracledb

from hat_etl.errors import ConfigurationError
from hat_etl.source.oracle_errors import code

_ALONE = "Run hat-etl for this tenant alone: then its process is its own."


def settle(tenant: str, library: str | None, tns_admin: str | None) -> None:
    """Make the driver thick, with the libraries in the folder ``library``, or see that it is thin where there is none.

    Raises ConfigurationError when the libraries cannot be used, or the process has settled otherwise before.
    """
    if library is None:
        if not oracledb.is_thin_mode():
            raise ConfigurationError(
                "This process reads another tenant with Oracle's client libraries.", _ALONE, tenant
            )
        return
    try:
        oracledb.init_oracle_client(lib_dir=library, config_dir=tns_admin)
    except oracledb.Error as error:
        raise ConfigurationError(*_told(library, error), tenant) from None


def _told(library: str, error: oracledb.Error) -> tuple[str, str]:
    """Cause and mend of libraries that are not used."""
    match code(error):
        case "DPI-1047":
            # The system's words name files only, and tell a missing folder from a missing library beside it.
            why = re.search(r'"([^"]*)"', str(error))
            return (
                f"Oracle's client libraries in {library} cannot be loaded (DPI-1047{': ' + why[1] if why else ''}).",
                "Correct client_library in [erp]. If the folder is right, make it known to the system, with libaio"
                f" installed: echo {library} > /etc/ld.so.conf.d/oracle.conf && ldconfig",
            )
        case "DPI-1072":
            return (
                f"Oracle's client libraries in {library} are of a version that the driver does not take (DPI-1072).",
                "Install Instant Client 19, and name its folder as client_library in [erp].",
            )
        case "DPY-2019":
            return "This process reads another tenant without Oracle's client libraries (DPY-2019).", _ALONE
        case "DPY-2017":
            return "This process reads another tenant with other client libraries or tnsnames.ora (DPY-2017).", _ALONE
        case other:
            return (
                f"Oracle's client libraries in {library} cannot be used ({other}).",
                "Look the code up, or install Instant Client 19 anew.",
            )
