"""The wire server with the few statements that make and drop the tables of a capture."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import psycopg

from hat_etl.capture import making, scenario
from hat_etl.capture.tables import NEVER_MADE
from hat_etl.sandbox.oracle.errors import OracleError
from hat_etl.sandbox.oracle.faults import Hold
from hat_etl.sandbox.oracle.logon import Account
from hat_etl.sandbox.oracle.server import OracleServer
from hat_etl.tenants import oracle_address
from hat_etl_tests import servers

RECORDINGS = Path(__file__).with_name("recordings")

USER, PASSWORD = "hat_canary", "c4nar1nho/V3rde@"
SCHEMA = USER.upper()

_WRITES = re.compile(rf'(CREATE TABLE|INSERT INTO|DROP TABLE) "{SCHEMA}"\."(\w+)"(.*)', re.DOTALL)
_AS_POSTGRESQL = (
    (r"\bTIMESTAMP\(6\) WITH TIME ZONE\b", "timestamptz(6)"),
    (r"\bTIMESTAMP\(9\)", "timestamp(6)"),
    (r"\bDATE\b", "timestamp(0)"),
    (r"\bNUMBER\b", "numeric"),
    (r"\bVARCHAR2\b", "varchar"),
    (r"\bCLOB\b", "text"),
    (r"TIMESTAMP ('[^']* -03:00')", r"TIMESTAMPTZ \1"),
    (r"FROM DUAL CONNECT BY LEVEL <= (\d+)", r"FROM generate_series(1::numeric, \1) AS level"),
    (r" PURGE$", ""),
)


class WritableOracle(OracleServer):
    """Has one user, who may make tables. It tells of a table that is not there as a 23ai does: with its schema."""

    def __init__(self, url: str, profile: str = "19c", password: str = PASSWORD) -> None:
        self.url = url
        self.writable = True
        self.held: list[Hold] = []
        """Statements that stand still until a table is dropped, which PostgreSQL does after they have ended."""
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {USER}".encode())
        super().__init__(url, url, {USER: Account(password)}, profile=profile)

    @property
    def login(self) -> str:
        return f"{USER}/{PASSWORD}@{self.address}"

    def tables(self) -> list[str]:
        with psycopg.connect(self.url) as connection:
            found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY 1", (USER,))
            return [name.upper() for (name,) in found]

    def heard(self, sql: str, scn: int | None) -> None:
        super().heard(sql, scn)
        if NEVER_MADE in sql:
            raise OracleError(4063, f'table or view "{SCHEMA}"."{NEVER_MADE}"')

    def command(self, sql: str) -> bool:
        found = _WRITES.fullmatch(sql)
        if found is None:
            return super().command(sql)
        if not self.writable:
            raise OracleError(1031)
        verb, name, rest = found.groups()
        if verb == "DROP TABLE":
            for hold in self.held:
                hold.go_on.set()
        for pattern, replacement in _AS_POSTGRESQL:
            rest = re.sub(pattern, replacement, rest)
        with psycopg.connect(self.url, autocommit=True, options="-c timezone=UTC") as connection:
            connection.execute(f'{verb} "{USER}"."{name.lower()}"{rest}'.encode())
        return True


def _record_anew() -> None:
    with servers.running() as postgres, closing(WritableOracle(postgres.url(postgres.create_database()))) as oracle:
        found = oracle_address.parse(oracle.login)
        assert found is not None
        making.record(scenario.TENANT, found, settle=0).write(RECORDINGS / "wire-server-19c.jsonl.gz")


if __name__ == "__main__":
    _record_anew()
