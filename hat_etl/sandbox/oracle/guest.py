"""One client from the first packet to the login, and what its calls have in common; a subclass answers the calls."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from hat_etl.sandbox.oracle import messages
from hat_etl.sandbox.oracle.codec import Incomplete, Reader
from hat_etl.sandbox.oracle.errors import OracleError
from hat_etl.sandbox.oracle.faults import HangUp, Silence
from hat_etl.sandbox.oracle.logon import Account, Challenge
from hat_etl.sandbox.oracle.messages import Function, Message
from hat_etl.sandbox.oracle.packets import Channel, Closed, Interrupted, Refused

if TYPE_CHECKING:
    from hat_etl.sandbox.oracle.listener import Listener


class Guest(ABC):
    """Serves one connection. ``run`` returns when the client has gone."""

    def __init__(self, host: Listener, channel: Channel) -> None:
        self._host = host
        self._profile = host.profile
        self._channel = channel
        self._sequence = 0
        self._user = ""
        self._challenge: Challenge | None = None
        self._account: Account | None = None

    def run(self) -> None:
        try:
            self._greet()
            while True:
                self._serve()
        except Refused as refusal:
            self._channel.refuse(refusal.code)
        except Closed:
            pass

    def _greet(self) -> None:
        asked = re.search(r"SERVICE_NAME=([^)]*)", self._channel.greet(), re.IGNORECASE)
        if asked is None or asked[1].upper() != self._host.service:
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
            self._piggyback(self._header(reader), reader)
            kind = reader.byte()
        match kind:
            case Message.PROTOCOL:
                self._channel.answer(messages.protocol(self._profile, self._host.charset), ends_response=False)
            case Message.DATA_TYPES:
                self._channel.answer(messages.DATA_TYPES, ends_response=False)
            case Message.FUNCTION:
                self._function(self._header(reader), reader)
            case _:
                raise OracleError(600, f"message {kind}")

    def _header(self, reader: Reader) -> int:
        function, self._sequence = reader.byte(), reader.byte()
        if self._profile.has_tokens:
            reader.number()
        return function

    def _function(self, function: int, reader: Reader) -> None:
        match function:
            case Function.LOGIN:
                self._login(reader)
            case Function.LOGIN_PROOF:
                self._prove(reader)
            case _ if self._account is None:
                raise Closed
            case _:
                self._call(function, reader)

    @abstractmethod
    def _piggyback(self, function: int, reader: Reader) -> None:
        """Do what travels in front of a call and is not answered by itself."""

    @abstractmethod
    def _call(self, function: int, reader: Reader) -> None:
        """Answer a call of somebody who has logged in."""

    def _status(self, code: int = 0, text: str = "", *, cursor: int = 0, rows: int = 0) -> bytes:
        return messages.status(self._profile, self._sequence, code, text, cursor=cursor, rows=rows)

    # -- login -------------------------------------------------------------------------------------------------------

    def _login(self, reader: Reader) -> None:
        user, _ = messages.read_login(reader)
        self._user = user.upper()
        self._challenge = Challenge(self._host.accounts.get(self._user))
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
            "AUTH_SC_SERVICE_NAME": self._host.service,
            "AUTH_SC_DBUNIQUE_NAME": self._host.service,
            "AUTH_INSTANCENAME": self._host.service.lower(),
            "AUTH_MAX_OPEN_CURSORS": "300",
            "AUTH_MAX_IDEN_LENGTH": "128",
            "AUTH_SVR_RESPONSE": proof,
        }
        self._answer(messages.named_values({name: (value, 0) for name, value in facts.items()}) + self._status())

    def _acting(self, client: str | None) -> Account:
        """The account whose rights count: that of the user who logged in, or of the client whom that one acts for."""
        if client is None:
            return self._host.accounts[self._user]
        account = self._host.accounts.get(client.upper())
        if account is None or self._user not in account.proxies:
            raise OracleError(28150)
        if account.locked:
            raise OracleError(28000)
        return account
