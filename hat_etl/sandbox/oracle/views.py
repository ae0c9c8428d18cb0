"""The views that the script for a DBA makes on Oracle, made on PostgreSQL from that same script."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg

from hat_etl.sandbox.oracle.errors import OracleError
from hat_etl.sandbox.oracle.translation import translate

LONGEST_NAME = 30
"""Bytes of a name on Oracle 12.1."""

_VIEW = re.compile(r"CREATE OR REPLACE VIEW (?:(?P<schema>\w+)\.)?(?P<name>\w+) AS\n(?P<query>.*)", re.DOTALL)
_COMMENT = re.compile(r"COMMENT ON TABLE (?P<name>[\w.]+) IS '(?:[^']|'')*'")
_GRANT = re.compile(r"GRANT SELECT, FLASHBACK ON [\w.]+ TO \S+(?: WITH GRANT OPTION)?")
_NAME = re.compile(r"\b[A-Za-z_]\w*")


def statements(script: str) -> Iterator[str]:
    """The statements of a script, without comments and semicolons."""
    text = "\n".join(line for line in script.splitlines() if not line.startswith("--"))
    for statement in re.split(r";[ \t]*(?:\n|\Z)", text):
        if statement.strip():
            yield statement.strip()


def install(connection: psycopg.Connection, script: str) -> list[str]:
    """Run the script, all or nothing; gives the names of the views.

    Raises OracleError where a server as old as 12.1 would refuse a statement, and for all that is not known.
    """
    made = []
    with connection.transaction():
        for statement in statements(script):
            if found := _VIEW.fullmatch(statement):
                made.append(_make(connection, found["schema"], found["name"], found["query"]))
            elif not (_COMMENT.fullmatch(statement) or _GRANT.fullmatch(statement)):
                raise OracleError(900)
    return made


def _make(connection: psycopg.Connection, schema: str | None, name: str, query: str) -> str:
    if any(len(word.encode()) > LONGEST_NAME for word in _NAME.findall(re.sub(r"'[^']*'", "''", f"{name} {query}"))):
        raise OracleError(972)
    translated = translate(query, ())
    if translated.is_of_past:
        raise OracleError(900)
    place = f'"{(schema or "public").lower()}"."{name.lower()}"'
    # Anew, for PostgreSQL lets no view change the types of its columns.
    connection.execute(f"DROP VIEW IF EXISTS {place}".encode())
    connection.execute(f"CREATE VIEW {place} AS {translated.sql}".encode())
    return name
