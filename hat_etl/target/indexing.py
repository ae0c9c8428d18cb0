"""Keys and indexes of staged tables: built side by side on committed rows, before these are judged.

A server builds one index on few of its cores. A key's index becomes the key itself in ``integrity``, once no row is in
its way any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from queue import SimpleQueue

import psycopg
from psycopg import errors as pg

from hat_etl.entities.model import Entity
from hat_etl.parallel import in_parallel
from hat_etl.target.database import Connection, TenantDatabase, errors
from hat_etl.target.schema import STAGE_SCHEMA, create_indexes, create_key_indexes

AT_ONCE = 3
_MEMORY = "SET maintenance_work_mem = '128MB'"


def build(database: TenantDatabase, entities: Sequence[Entity], again: str) -> frozenset[str]:
    """Give staged tables their indexes and statistics; those that are there are left.

    Begins with the first of ``entities``. Gives the tables in which more than one row has the same key, which
    therefore lack its index. Raises TargetError.
    """
    doubled = set[str]()
    with ExitStack() as stack:
        connections = [stack.enter_context(database.connect()) for _ in range(AT_ONCE)]
        idle = SimpleQueue[Connection]()
        for connection in connections:
            connection.execute(_MEMORY)
            idle.put(connection)

        def task(entity: Entity, statement: str) -> Callable[[], None]:
            def run() -> None:
                connection = idle.get()
                try:
                    with errors(database.tenant.name, entity.table, again=again):
                        if not _made(connection, statement):
                            doubled.add(entity.table)
                finally:
                    idle.put(connection)

            return run

        def cancel() -> None:
            for connection in connections:
                with suppress(psycopg.Error):  # whose server is gone has nothing to be cancelled
                    connection.cancel_safe()

        for statements in (_indexes, _statistics):
            tasks = [task(entity, statement) for entity in entities for statement in statements(entity)]
            in_parallel(tasks, AT_ONCE, cancel, "index")
    return frozenset(doubled)


def _made(connection: Connection, statement: str) -> bool:
    try:
        connection.execute(statement)
    except pg.UniqueViolation:
        return False
    return True


def _indexes(entity: Entity) -> list[str]:
    return [*create_key_indexes(entity, STAGE_SCHEMA), *create_indexes(entity, STAGE_SCHEMA)]


def _statistics(entity: Entity) -> list[str]:
    return [f"ANALYZE {STAGE_SCHEMA}.{entity.table}"]


def drop(connection: Connection) -> None:
    """Take the indexes off the staged tables, so that more rows can be staged as they come."""
    rows = connection.execute(
        "SELECT i.relname FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid"
        " JOIN pg_namespace n ON n.oid = i.relnamespace WHERE n.nspname = %s",
        (STAGE_SCHEMA,),
    ).fetchall()
    if rows:
        connection.execute(f"DROP INDEX {', '.join(f'{STAGE_SCHEMA}.{name}' for (name,) in rows)}")
