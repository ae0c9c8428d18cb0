"""One client: it logs in, then its calls are answered one after the other until it leaves."""

from __future__ import annotations

import os
import re
import select
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING

import psycopg

from hat_etl.sandbox.oracle import messages
from hat_etl.sandbox.oracle.codec import Incomplete, OracleType, Reader
from hat_etl.sandbox.oracle.errors import OracleError
from hat_etl.sandbox.oracle.faults import CutOff, EndEarly, HangUp, Silence
from hat_etl.sandbox.oracle.logon import Account, Challenge
from hat_etl.sandbox.oracle.messages import NO_DATA, Bind, Execute, Function, Message, ResultColumn
from hat_etl.sandbox.oracle.packets import Channel, Closed, Interrupted, Refused
from hat_etl.sandbox.oracle.rows import Raw, Rows, told
from hat_etl.sandbox.oracle.translation import COMMANDS, READ_ONLY, SCN_QUERIES, Query, translate

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


class Session:
    """Serves one connection. ``run`` returns when the client has gone."""

    def __init__(self, server: OracleServer, channel: Channel) -> None:
        self._server = server
        self._profile = server.profile
        self._channel = channel
        self._sequence = 0
        self._user = ""
        self._challenge: Challenge | None = None
        self._account: Account | None = None
        self._cursors: dict[int, _Cursor] = {}
        self._numbers = count(1)
        self._idle: list[psycopg.Connection] = []
        self._read_only: int | None = None
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> None:
        try:
            self._greet()
            while True:
                self._serve()
        except Refused as refusal:
            self._channel.refuse(refusal.code)
        except Closed:
            pass
        finally:
            for cursor in self._cursors.values():
                self._release(cursor)
            for connection in self._idle:
                connection.close()
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _greet(self) -> None:
        asked = re.search(r"SERVICE_NAME=([^)]*)", self._channel.greet(), re.IGNORECASE)
        if asked is None or asked[1].upper() != self._server.service:
            raise Refused(12514)
        self._channel.accept()

    def _serve(self) -> None:
        """Answer one call."""
        try:
            message = self._channel.receive()
            while True:
                try:
                    return self._dispatch(Reader(message))
                except Incomplete:
                    message += self._channel.receive()
        except Interrupted:
            self._channel.make_up()
            self._fail(OracleError(1013))
        except OracleError as error:
            self._fail(error)
            if error.code in (28, 3113, 28000, 28001, 28150, 1017):
                raise Closed from None
        except HangUp:
            raise Closed from None
        except Silence:
            self._channel.hang()
            raise Closed from None

    def _fail(self, error: OracleError) -> None:
        self._answer(messages.status(self._profile, self._sequence, error.code, str(error)))

    def _answer(self, message: bytes) -> None:
        self._channel.answer(message)

    # -- calls -------------------------------------------------------------------------------------------------------

    def _dispatch(self, reader: Reader) -> None:
        kind = reader.byte()
        while kind == Message.PIGGYBACK:
            self._piggyback(reader)
            kind = reader.byte()
        match kind:
            case Message.PROTOCOL:
                self._channel.answer(messages.protocol(self._profile, self._server.charset), ends_response=False)
            case Message.DATA_TYPES:
                self._channel.answer(messages.DATA_TYPES, ends_response=False)
            case Message.FUNCTION:
                self._call(reader)
            case _:
                raise OracleError(600, f"message {kind}")

    def _header(self, reader: Reader) -> int:
        function, self._sequence = reader.byte(), reader.byte()
        if self._profile.has_tokens:
            reader.number()
        return function

    def _piggyback(self, reader: Reader) -> None:
        """What travels in front of a call and is not answered by itself."""
        function = self._header(reader)
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

    def _call(self, reader: Reader) -> None:
        function = self._header(reader)
        if self._account is None and function not in (Function.LOGIN, Function.LOGIN_PROOF):
            raise Closed
        match function:
            case Function.LOGIN:
                self._login(reader)
            case Function.LOGIN_PROOF:
                self._prove(reader)
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

    def _status(self, code: int = 0, text: str = "", *, cursor: int = 0, rows: int = 0) -> bytes:
        return messages.status(self._profile, self._sequence, code, text, cursor=cursor, rows=rows)

    # -- login -------------------------------------------------------------------------------------------------------

    def _login(self, reader: Reader) -> None:
        user, _ = messages.read_login(reader)
        self._user = user.upper()
        self._challenge = Challenge(self._server.accounts.get(self._user))
        self._answer(messages.named_values(self._challenge.questions()) + self._status())

    def _prove(self, reader: Reader) -> None:
        _, answers = messages.read_login(reader)
        if self._challenge is None:
            raise Closed
        proof = self._challenge.judge(answers)
        self._account = self._acting(answers.get("PROXY_CLIENT_NAME"))
        facts = {
            "AUTH_VERSION_NO": str(self._profile.version),
            "AUTH_SESSION_ID": "1",
            "AUTH_SERIAL_NUM": "1",
            "AUTH_SC_SERVICE_NAME": self._server.service,
            "AUTH_SC_DBUNIQUE_NAME": self._server.service,
            "AUTH_INSTANCENAME": self._server.service.lower(),
            "AUTH_MAX_OPEN_CURSORS": "300",
            "AUTH_MAX_IDEN_LENGTH": "128",
            "AUTH_SVR_RESPONSE": proof,
        }
        self._answer(messages.named_values({name: (value, 0) for name, value in facts.items()}) + self._status())

    def _acting(self, client: str | None) -> Account:
        """The account whose rights count: that of the user who logged in, or of the client whom that one acts for."""
        if client is None:
            return self._server.accounts[self._user]
        account = self._server.accounts.get(client.upper())
        if account is None or self._user not in account.proxies:
            raise OracleError(28150)
        if account.locked:
            raise OracleError(28000)
        return account

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
        """Whether the statement sets up the session."""
        if READ_ONLY.fullmatch(sql):
            self._read_only = self._server.moments.take()
            return True
        return any(command.fullmatch(sql) for command in COMMANDS)

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
