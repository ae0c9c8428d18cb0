"""Errors as Oracle words them."""

from __future__ import annotations

_TEXTS = {
    28: "your session has been killed",
    600: "internal error code, arguments: [{}]",
    604: "error occurred at recursive SQL level 1",
    900: "invalid SQL statement",
    904: "{}: invalid identifier",
    942: "table or view does not exist",
    972: "identifier is too long",
    1001: "invalid cursor",
    1008: "not all variables bound",
    1013: "user requested cancel of current operation",
    1017: "invalid username/password; logon denied",
    1031: "insufficient privileges",
    1033: "ORACLE initialization or shutdown in progress",
    1403: "no data found",
    1466: "unable to read data - table definition has changed",
    1476: "divisor is equal to zero",
    1555: 'snapshot too old: rollback segment number 9 with name "_SYSSMU9_1$" too small',
    1652: "unable to grow a temporary segment by 128 in tablespace TEMP [container database]",
    1722: "invalid number",
    3113: "end-of-file on communication channel",
    3114: "not connected to ORACLE",
    4031: 'unable to allocate 4160 bytes of shared memory ("shared pool","unknown object","sga heap(1,0)")',
    4063: "{} has errors",
    8180: "no snapshot found based on specified time",
    28000: "The account is locked.",
    28001: "the password has expired",
    28150: "proxy not authorized to connect as client",
}


class OracleError(Exception):
    """An error that the client is told. ``detail`` fills the place in the message that names something."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(f"ORA-{code:05d}: {_TEXTS[code].format(detail)}")
        self.code = code
