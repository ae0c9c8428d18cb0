"""The server: a database of PostgreSQL that speaks as one of Oracle."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import psycopg

from hat_etl.sandbox.oracle import dictionary
from hat_etl.sandbox.oracle.faults import Faults
from hat_etl.sandbox.oracle.kept import Results
from hat_etl.sandbox.oracle.listener import Listener
from hat_etl.sandbox.oracle.logon import Account
from hat_etl.sandbox.oracle.moments import Moments
from hat_etl.sandbox.oracle.packets import Channel
from hat_etl.sandbox.oracle.profiles import PROFILES
from hat_etl.sandbox.oracle.session import Session
from hat_etl.sandbox.oracle.translation import COMMANDS, DICTIONARY

SERVICE = "PLSPDB"


class OracleServer(Listener):
    """An Oracle database to the eye of a client; the data are those of a database of PostgreSQL.

    It knows the login, queries in the forms of ``translation``, moments of the past, and the errors of ``errors``.
    Everything else is refused with ORA-00900 or ORA-00600, and nothing is guessed.
    """

    def __init__(
        self,
        dsn: str,
        admin_dsn: str,
        accounts: Mapping[str, Account],
        *,
        profile: str = "19c",
        port: int = 0,
        keeps_results: bool = False,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """``dsn`` reads the data; ``admin_dsn`` makes the dictionary's views first.

        Schemas are looked through as the reading role's search path says, then the dictionary.
        ``keeps_results``: what was read of one moment is sent again when it is asked of another one; see ``kept``.
        ``tls``: the server listens for TCPS, with the certificate that this holds.
        """
        with psycopg.connect(admin_dsn) as connection:
            reader = str(psycopg.conninfo.conninfo_to_dict(dsn)["user"])
            dictionary.install(connection, reader)
        self.dsn = psycopg.conninfo.make_conninfo(
            dsn, options=f'-c timezone=UTC -c search_path="$user",{DICTIONARY}', client_encoding="UTF8"
        )
        self.results = Results() if keeps_results else None
        self.faults = Faults()
        self.moments = Moments(self.dsn)
        self.statements: list[tuple[str, int | None]] = []
        """Queries in the order in which they came, with the SCN that each asks for."""
        super().__init__(SERVICE, accounts, PROFILES[profile], port, tls)

    def talk(self, channel: Channel) -> None:
        Session(self, channel).run()

    def heard(self, sql: str, scn: int | None) -> None:
        self.statements.append((sql, scn))

    def command(self, sql: str) -> bool:
        """Do a statement that has no rows; False where it is none that is known."""
        return any(command.fullmatch(sql) for command in COMMANDS)

    def close(self) -> None:
        super().close()
        self.moments.close()
