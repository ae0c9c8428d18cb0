"""A client that has logged in: its statements are answered one after the other until it leaves."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

import psycopg

from hat_etl.sandbox.oracle import messages
from hat_etl.sandbox.oracle.codec import OracleType, Reader
from hat_etl.sandbox.oracle.errors import OracleError
from hat_etl.sandbox.oracle.faults import CutOff, EndEarly, HangUp
from hat_etl.sandbox.oracle.guest import Guest
from hat_etl.sandbox.oracle.messages import NO_DATA, Bind, Execute, Function, ResultColumn
from hat_etl.sandbox.oracle.packets import Channel, Closed
from hat_etl.sandbox.oracle.rows import Raw, Rows, told
from hat_etl.sandbox.oracle.translation import READ_ONLY, SCN_QUERIES, Query, translate

if TYPE_CHECKING:
    from hat_etl.sandbox.oracle.server import OracleServer


@dataclass
class _Cursor:
    """A statement that the client has open."""

    sql: str
    bind_types: tuple[OracleType, ...]
    columns: tuple[ResultColumn, ...]
    messages: Iterator[bytes]
    """Its rows that were not sent yet."""
    connection: psycopg.Connection | None
    """Holds the rows; None once they need none."""
    sent: int = 0


class Session(Guest):
    """Serves one connection from a database of PostgreSQL."""

    def __init__(self, server: OracleServer, channel: Channel) -> None:
        super().__init__(server, channel)
        self._server = server
        self._cursors: dict[int, _Cursor] = {}
        self._numbers = count(1)
        self._idle: list[psycopg.Connection] = []
        self._read_only: int | None = None
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> None:
        try:
            super().run()
        finally:
            for cursor in self._cursors.values():
                self._release(cursor)
            for connection in self._idle:
                connection.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    # -- calls -------------------------------------------------------------------------------------------------------

    def _piggyback(self, function: int, reader: Reader) -> None:
        match function:
            case Function.CLOSE_CURSORS:
                for number in messages.read_closed_cursors(reader):
                    self._close(number)
            case Function.END_TO_END:
                messages.skip_end_to_end(reader)
            case Function.SESSION_STATE:
                reader.number()
            case _:
                raise OracleError(600, f"piggyback {function}")

    def _call(self, function: int, reader: Reader) -> None:
        match function:
            case Function.EXECUTE:
                self._execute(messages.read_execute(reader, self._profile))
            case Function.FETCH:
                number, rows = reader.number(), reader.number()
                self._send_rows(number, rows, b"")
            case Function.REEXECUTE | Function.REEXECUTE_AND_FETCH:
                number, rows = reader.number(), reader.number()
                bind_types = self._cursor(number).bind_types
                self._run_again(number, bind_types, messages.read_again(reader, bind_types))
                self._send_rows(number, rows, b"")
            case Function.PING:
                self._answer(self._status())
            case Function.COMMIT | Function.ROLLBACK:
                self._read_only = None
                self._answer(self._status())
            case Function.LOGOFF:
                self._answer(self._status())
                raise Closed
            case _:
                raise OracleError(600, f"function {function}")

    # -- statements --------------------------------------------------------------------------------------------------

    def _execute(self, asked: Execute) -> None:
        if asked.defines:
            raise OracleError(600, "define")
        if asked.sql is not None:
            sql = asked.sql.strip()
            if self._command(sql):
                self._answer(messages.PARAMETERS + self._status())
                return
            number = next(self._numbers)
            self._cursors[number] = cursor = self._open(sql, asked.bind_types, asked.binds)
            head = messages.describe(cursor.columns, self._profile)
        else:
            number, head = asked.cursor, b""
            self._run_again(number, asked.bind_types, asked.binds)
        if asked.fetches and asked.rows:
            self._send_rows(number, asked.rows, head)
        else:
            self._answer(head + messages.PARAMETERS + self._status(cursor=number))

    def _command(self, sql: str) -> bool:
        """Whether the statement sets up the session. Raises what the planted faults say."""
        if READ_ONLY.fullmatch(sql):
            self._read_only = self._server.moments.take()
        elif not self._server.command(sql):
            return False
        self._server.faults.strike_at_once(sql)
        return True

    def _open(self, sql: str, bind_types: tuple[OracleType, ...], binds: tuple[Bind, ...]) -> _Cursor:
        query = self._scn_query(sql) if sql.upper() in SCN_QUERIES else translate(sql, binds)
        self._server.heard(sql, query.scn)
        self._authorise(query)
        results = self._server.results if query.is_of_past else None
        kept = results.find(query) if results else None
        if kept is not None:
            return _Cursor(sql, bind_types, kept.columns, iter(kept.messages), None)
        rows = self._rows(sql, query)
        found = rows.messages(self._patiently)
        if results:
            found = results.keeping(query, rows.columns, found)
        return _Cursor(sql, bind_types, rows.columns, found, rows.connection)

    def _rows(self, sql: str, query: Query) -> Rows:
        connection = self._idle.pop() if self._idle else psycopg.connect(self._server.dsn, autocommit=True)
        try:
            scn = query.scn if query.scn is not None else self._read_only
            if scn is None:
                connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            else:
                self._server.moments.go_back(connection, scn, query.relations if query.is_of_past else ())
            return Rows(connection, query.sql, self._server.faults, sql)
        except psycopg.Error as error:
            connection.close()
            raise told(error) from None
        except OracleError:
            connection.close()
            raise

    def _scn_query(self, sql: str) -> Query:
        right = SCN_QUERIES[sql.upper()]
        if right is not None and not getattr(self._account, right):
            raise OracleError(904, '"DBMS_FLASHBACK"."GET_SYSTEM_CHANGE_NUMBER"') if "DBMS" in sql else OracleError(942)
        return Query(f"SELECT {self._server.moments.take()}::int8 AS scn", (), None)

    def _authorise(self, query: Query) -> None:
        assert self._account is not None
        if query.is_of_past and not self._account.flashback:
            raise OracleError(1031)
        if not self._account.dynamic_views and any(name.startswith(("v$", "gv$")) for _, name in query.relations):
            raise OracleError(942)

    def _cursor(self, number: int) -> _Cursor:
        if number not in self._cursors:
            raise OracleError(1001)
        return self._cursors[number]

    def _run_again(self, number: int, bind_types: tuple[OracleType, ...], binds: tuple[Bind, ...]) -> None:
        cursor = self._cursor(number)
        self._release(cursor)
        self._cursors[number] = self._open(cursor.sql, bind_types, binds)

    def _close(self, number: int) -> None:
        cursor = self._cursors.pop(number, None)
        if cursor is not None:
            self._release(cursor)

    def _release(self, cursor: _Cursor) -> None:
        """Give the connection of a cursor back for the next one."""
        if cursor.connection is not None and not cursor.connection.closed:
            cursor.connection.execute("ROLLBACK")
            self._idle.append(cursor.connection)
        cursor.connection = None

    # -- rows --------------------------------------------------------------------------------------------------------

    def _send_rows(self, number: int, wanted: int, head: bytes) -> None:
        """Up to ``wanted`` rows of a cursor, after ``head``, and whether there are more."""
        cursor = self._cursor(number)
        parts = [head, messages.ROW_HEADER]
        sent = 0
        try:
            for message in islice(cursor.messages, wanted):
                parts.append(message)
                sent += 1
        except EndEarly:
            pass
        except CutOff:
            self._channel.cut_off(b"".join(parts))
            raise HangUp from None
        except psycopg.Error as error:
            raise told(error) from None
        cursor.sent += sent
        complete = sent < wanted
        if complete:
            self._release(cursor)  # clients keep their cursors for a next time
        parts.append(messages.PARAMETERS)
        code, text = (NO_DATA, str(OracleError(NO_DATA))) if complete else (0, "")
        parts.append(self._status(code, text, cursor=number, rows=cursor.sent))
        self._answer(b"".join(parts))

    def _patiently(self, rows: Rows) -> list[Raw]:
        """The next rows of a query; a client that interrupts it ends it. Raises Interrupted."""
        outcome: Future[list[Raw]] = Future()

        def fetch() -> None:
            try:
                outcome.set_result(rows.fetch())
            except BaseException as error:  # noqa: BLE001 - handed to the session's thread, which raises it
                outcome.set_exception(error)
            os.write(self._wake_write, b".")

        threading.Thread(target=fetch, daemon=True).start()
        ready, _, _ = select.select([self._channel.fileno(), self._wake_read], [], [])
        while self._wake_read not in ready:
            rows.connection.cancel_safe()  # does nothing where the server has not begun yet
            ready, _, _ = select.select([self._wake_read], [], [], 0.1)
        os.read(self._wake_read, 1)
        if isinstance(outcome.exception(), psycopg.errors.QueryCanceled):
            self._channel.receive()  # the marker that interrupts, or the end of the connection
        return outcome.result()
