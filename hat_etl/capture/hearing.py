"""What a client says, in words: enough to tell one call from another, and nothing of its login."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hat_etl.sandbox.oracle import messages
from hat_etl.sandbox.oracle.codec import Incomplete, Reader
from hat_etl.sandbox.oracle.messages import Execute, Function, Message
from hat_etl.sandbox.oracle.packets import PacketType
from hat_etl.sandbox.oracle.profiles import Profile

LOGIN, LOGIN_PROOF, LEAVES = "login", "login proof", "leaves"
OWNER = "OWNER"
"""Stands for the schema of the tables: the user who made them, or the one who replays."""

_DATA_FLAGS = 2


class NotUnderstood(Exception):
    """The client said what is not known here; the text says what."""


class Hearing:
    """Listens to one client whose tables are in ``schema``."""

    def __init__(self, schema: str) -> None:
        self._own = f'"{schema}".'
        self._profile = Profile("", protocol=0, fields=0, version=0)

    @property
    def fields(self) -> int:
        """Field version on which client and server agreed; 0 as long as they have not."""
        return self._profile.fields

    def words(self, packets: Sequence[tuple[int, bytes]]) -> str:
        """A message, given type and body of each of its packets. Raises NotUnderstood."""
        kind = packets[0][0]
        if kind == PacketType.MARKER:
            return f"marker {packets[0][1][2]}"
        if kind != PacketType.DATA:
            raise NotUnderstood(f"a packet of type {kind}")
        try:
            words = self._message(Reader(message(packets)))
        except (Incomplete, ValueError) as error:
            raise NotUnderstood(f"a message of another form ({type(error).__name__})") from None
        return words.replace(self._own, f'"{OWNER}".')

    def _message(self, reader: Reader) -> str:
        if reader.is_at_end:
            return LEAVES
        while (kind := reader.byte()) == Message.PIGGYBACK:
            self._piggyback(self._function(reader), reader)
        match kind:
            case Message.PROTOCOL:
                return "protocol"
            case Message.DATA_TYPES:
                reader.take(5)  # character sets and flags; then the capabilities, as they were agreed on
                self._profile = replace(self._profile, fields=reader.octets()[7])
                return "data types"
            case Message.FUNCTION:
                return self._call(self._function(reader), reader)
            case _:
                raise NotUnderstood(f"message {kind}")

    def _function(self, reader: Reader) -> int:
        function, _ = reader.byte(), reader.byte()
        if self._profile.has_tokens:
            reader.number()
        return function

    def _piggyback(self, function: int, reader: Reader) -> None:
        """It has no answer, and a driver may send it or not: no words are made of it."""
        match function:
            case Function.CLOSE_CURSORS:
                messages.read_closed_cursors(reader)
            case Function.END_TO_END:
                messages.skip_end_to_end(reader)
            case Function.SESSION_STATE:
                reader.number()
            case _:
                raise NotUnderstood(f"piggyback {function}")

    def _call(self, function: int, reader: Reader) -> str:
        match function:
            case Function.LOGIN:
                return LOGIN
            case Function.LOGIN_PROOF:
                return LOGIN_PROOF
            case Function.EXECUTE:
                return _told(messages.read_execute(reader, self._profile))
            case Function.FETCH:
                return f"fetch {reader.number()}: {reader.number()} rows"
            case Function.REEXECUTE | Function.REEXECUTE_AND_FETCH:
                return f"again {reader.number()}: {reader.number()} rows, {reader.rest().hex()}"
            case Function.PING | Function.COMMIT | Function.ROLLBACK | Function.LOGOFF:
                return Function(function).name.lower()
            case _:
                raise NotUnderstood(f"function {function}")


def message(packets: Sequence[tuple[int, bytes]]) -> bytes:
    """What data packets carry together."""
    return b"".join(body[_DATA_FLAGS:] for _, body in packets)


def _told(asked: Execute) -> str:
    binds = [value if isinstance(value, str | None) else str(value) for value in asked.binds]
    defines = [kind.name for kind in asked.defines]
    return f"execute {asked.sql or asked.cursor}: {asked.rows} rows, binds {binds}, defines {defines}"
