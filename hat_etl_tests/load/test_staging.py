"""Writing a range when the connection breaks in the middle of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress

import psycopg
import pyarrow as pa
import pytest

from hat_etl.entities import BY_TABLE
from hat_etl.source.reader import Range
from hat_etl.target import staging
from hat_etl.target.database import Connection
from hat_etl.target.staging import RangeWriter
from hat_etl.transform import ISSUES, Transformed, rejected_schema
from hat_etl_tests.load.conftest import Site

ENTITY = BY_TABLE["persons"]
ROWS, WIDTH = 1_000, 50_000


@pytest.fixture
def connection(site: Site) -> Iterator[Connection]:
    """A connection to a database with a stage whose table of issues takes no row until its session ends."""
    with site.hat("postgres") as admin:
        admin.execute("DROP DATABASE IF EXISTS staging")
        admin.execute("CREATE DATABASE staging")
    with psycopg.connect(site.sandbox.url("staging", "postgres"), autocommit=True) as connection:
        staging.create(connection, 1, [ENTITY])
        connection.execute(
            "CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_sleep(3600); RETURN NEW; END $$"
        )
        connection.execute(
            "CREATE TRIGGER stand_still BEFORE INSERT ON hat_etl_stage.issues"
            " FOR EACH ROW EXECUTE FUNCTION stand_still()"
        )
        yield connection
    with site.hat("postgres") as admin:
        admin.execute("DROP DATABASE staging")


def rejects() -> tuple[pa.RecordBatch, Transformed]:
    """More than the buffers between client and server hold."""
    raw = pa.record_batch({
        "source_recno": pa.array(range(ROWS), pa.int64()),
        "source_stamp": pa.nulls(ROWS, pa.timestamp("us")),
        "deleted": pa.array([0] * ROWS, pa.int64()),
    })  # fmt: skip
    issue = {"rule": "digits", "severity": "reject", "reason": "x" * WIDTH}
    issues = pa.RecordBatch.from_pylist([{"recno": recno, **issue} for recno in range(ROWS)], schema=ISSUES)
    good, rejected = (pa.RecordBatch.from_pylist([], schema=s) for s in (ENTITY.schema, rejected_schema(ENTITY)))
    return raw, Transformed(good, rejected, issues, read=ROWS, deleted=0)


def test_a_connection_that_breaks_while_rejects_are_written_can_be_given_back(
    site: Site, connection: Connection
) -> None:
    """The COPY kept the connection's lock, and the next range on that connection waited for it for ever."""
    session = connection.info.backend_pid

    def cut() -> None:
        with site.hat("postgres") as admin:
            sleeping = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep')"
            while admin.execute(sleeping, (session,)).fetchone() == (False,):
                pass
            admin.execute("SELECT pg_terminate_backend(%s)", (session,))

    cutting = threading.Thread(target=cut)
    writer = RangeWriter(connection, ENTITY)
    writer.write(*rejects())
    cutting.start()
    with pytest.raises(psycopg.OperationalError) as kept:  # as the pool keeps it, with all frames
        writer.close(1, Range(1, ROWS), 0.0, "")
    cutting.join()
    with suppress(psycopg.OperationalError):
        writer.abandon()
    assert kept.value.__traceback__ is not None
    assert not connection.lock.locked()
