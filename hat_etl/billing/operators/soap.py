"""The operator's TISS web service. It can be asked by protocol only: about a lot without one, another way must tell."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import count
from zoneinfo import ZoneInfo

from hat_etl.billing.operators.base import (
    Absent,
    Denials,
    Letter,
    NoAnswer,
    NotSent,
    Rejected,
    Standing,
    Taken,
    Unclear,
    cause,
)
from hat_etl.errors import ConfigurationError, DataError
from hat_etl.hat_api.bodies import RejectionCause
from hat_etl.tenants.billing import Soap
from hat_etl.tenants.config import Tenant
from hat_etl.tiss import messages
from hat_etl.tiss.messages import MAX_PROTOCOLS, Login, NoHash, Provider, Request, Sender
from hat_etl.tiss.replies import Denial, ProtocolStatus, Receipt, Rejection, Reply, Statement, Statements
from hat_etl.tiss.soap import Answered, Certificate, Refused, SoapClient, Timeouts

_LOT_FAULTS = {"HashInvalido": ("5014", "Hash inválido"), "SchemaInvalido": ("5002", "XML não validado")}
"""Faults that speak of the lot; all others speak of how the operator is called."""

_LOGIN_FAULT = "LoginInvalido"

_NO_HASH = "Há caracteres que o ISO-8859-1 não tem (aspas curvas, travessões, €): troque-os e envie o lote de novo."

_DOUBLE = re.compile(r"j[áa] (foi )?(recebid|submetid|enviad|processad)|duplicad", re.IGNORECASE)
_PART = re.compile(r"(?<!lote de )\b(guias?|ite(m|ns)|procedimentos?)\b", re.IGNORECASE)
_PART_AFTER = re.compile(rf"\w* ([ao]s? )?{_PART.pattern}", re.IGNORECASE)
_PROTOCOL = re.compile(r"protocolo\D{0,20}(\d{1,12})\b", re.IGNORECASE)


class SoapOperator:
    """One operator's web service."""

    statements_at_once = 0

    def __init__(self, tenant: Tenant, settings: Soap) -> None:
        if (settings.user is None) != (settings.password is None):
            raise ConfigurationError(
                "billing.soap: user and password belong together.", "Write both, or neither.", tenant.name
            )
        self._tenant, self._settings = tenant, settings
        self._login = _login(settings)
        try:
            self._client = SoapClient(
                timeouts=Timeouts(settings.connect_seconds, settings.timeout_seconds, settings.total_seconds),
                charset=settings.charset,
                certificate=_certificate(settings),
                authorities=settings.authorities,
            )
        except ConfigurationError as error:
            raise ConfigurationError(f"billing.soap.{error.cause}", error.next_step, tenant.name) from None
        self._sequence = count(int(time.time() * 1000) % 10**12)
        if settings.statement_url is not None:
            self.statements_at_once = MAX_PROTOCOLS

    def close(self) -> None:
        self._client.close()

    def deliver(self, letter: Letter) -> Taken | Rejected | NotSent | Unclear:
        try:
            request = messages.lot(letter.content, login=self._login, hash_encoding=self._settings.hash_encoding)
        except NoHash:
            return Rejected((cause("5014", "Hash não pode ser calculado", _NO_HASH),))
        except DataError:
            return Rejected((cause("5001", "Mensagem fora do padrão TISS", "O arquivo não é um lote que se leia."),))
        outcome = self._client.send(self._address(self._settings.lot_url, letter), request)
        match outcome:
            case Answered(Receipt() as receipt):
                return Taken(receipt.protocol, tuple(map(_denial, receipt.denials)))
            case Answered(Rejection() as rejection):
                return _rejected(rejection, letter)
            case Refused(reason="fault", detail=code) if code in _LOT_FAULTS:
                return Rejected((cause(*_LOT_FAULTS[code], "A operadora recusou a mensagem do lote."),))
            case Refused():
                return NotSent(f"{outcome.reason}: {outcome.detail}")
            case Answered():
                return Unclear(f"an answer of another kind ({type(outcome.reply).__name__})")
            case _:
                return Unclear(outcome.detail)

    def find(self, letter: Letter) -> Taken | Rejected | Absent | NoAnswer:
        return NoAnswer("the web service of TISS has no question about a lot without a protocol")

    def status(self, letter: Letter) -> Standing | Absent | NoAnswer:
        if letter.protocol is None:
            return NoAnswer("the lot has no protocol yet")
        request = messages.status(self._sender(letter), letter.protocol, self._next(), self._now())
        reply = self._ask(self._settings.status_url, letter, request)
        match reply:
            case ProtocolStatus(status=str(status)) if status.strip().isdecimal():
                return Standing(int(status), reply.protocol, reply.processed, reply.denied, reply.released)
            case NoAnswer():
                return reply
            case Rejection():
                return NoAnswer(f"refused with code {reply.code}")
            case _:
                return NoAnswer(f"an answer of another kind ({type(reply).__name__})")

    def statement(self, letters: Sequence[Letter]) -> dict[int, Denials] | NoAnswer:
        asked = [letter for letter in letters if letter.protocol is not None]
        if not asked or self._settings.statement_url is None:
            return {}
        sender = self._sender(asked[0])
        protocols = [str(letter.protocol) for letter in asked]
        now = self._now()
        request = messages.statement(sender, protocols, self._next(), now, now.date())
        reply = self._ask(self._settings.statement_url, asked[0], request)
        if isinstance(reply, NoAnswer):
            return reply
        if isinstance(reply, Statements):
            told = {letter.lot: _of(letter, reply.statements, protocols) for letter in asked}
            return {lot: _denials(statements) for lot, statements in told.items() if statements}
        if len(asked) == 1:
            return {}
        # One lot that is not ready, or not known, hides the others.
        found: dict[int, Denials] = {}
        for letter in asked:
            single = self.statement([letter])
            if isinstance(single, NoAnswer):
                return single
            found |= single
        return found

    def _ask(self, url: str, letter: Letter, request: Request) -> Reply | NoAnswer:
        outcome = self._client.send(self._address(url, letter), request)
        if isinstance(outcome, Answered):
            return outcome.reply
        refused = outcome.reason if isinstance(outcome, Refused) else None
        turned_away = refused == "http" or outcome.detail == _LOGIN_FAULT
        return NoAnswer(outcome.detail, down=refused == "not sent", turned_away=turned_away)

    def _address(self, url: str, letter: Letter) -> str:
        return url.replace("{version}", letter.version or "")

    def _sender(self, letter: Letter) -> Sender:
        kind = letter.origin_kind or "codigoPrestadorNaOperadora"
        provider = Provider(kind, letter.origin_code or letter.provider)  # type: ignore[arg-type]  # as it was read
        return Sender(
            provider, self._tenant.ans_registry, letter.version or "", self._login, self._settings.hash_encoding
        )

    def _next(self) -> str:
        return f"{next(self._sequence) % 10**12:012d}"

    def _now(self) -> datetime:
        return datetime.now(ZoneInfo(self._tenant.erp.timezone)).replace(microsecond=0, tzinfo=None)


def _login(settings: Soap) -> Login | None:
    if settings.user is None or settings.password is None:
        return None
    return Login(settings.user, settings.password.resolve(), settings.password_mode)


def _certificate(settings: Soap) -> Certificate | None:
    if settings.certificate is None:
        return None
    password = settings.certificate_password.resolve() if settings.certificate_password else None
    return Certificate(settings.certificate, settings.certificate_key, password)


def _rejected(rejection: Rejection, letter: Letter) -> Taken | Rejected:
    text = rejection.description or ""
    if letter.again and _is_double(text):
        protocol = _PROTOCOL.search(text)
        return Taken(protocol[1] if protocol else None)
    return Rejected((cause(rejection.code or "5007", text or "Lote recusado pela operadora"),))


def _is_double(text: str) -> bool:
    """Whether the lot is said to be there already, and not a guide or an item, which may have come with another lot."""
    found = _DOUBLE.search(text)
    return found is not None and not (_PART.search(text, 0, found.start()) or _PART_AFTER.match(text, found.end()))


def _of(letter: Letter, statements: Sequence[Statement], asked: Sequence[str]) -> list[Statement]:
    """What was told of a lot: an operator may leave out leading zeros, and give a protocol in several parts."""
    number = (letter.protocol or "").lstrip("0")
    exact = [one for one in statements if one.protocol == letter.protocol]
    alike = [one for one in statements if one.protocol and one.protocol.lstrip("0") == number]
    is_clear = sum(protocol.lstrip("0") == number for protocol in asked) == 1
    return list(dict.fromkeys(exact or (alike if is_clear else [])))


def _denials(statements: Sequence[Statement]) -> Denials:
    causes = tuple(_denial(denial) for statement in statements for denial in statement.denials)
    amounts = ([getattr(one, name) for one in statements] for name in ("processed", "denied", "released"))
    return Denials(causes, *map(_sum, amounts))


def _sum(amounts: Sequence[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal()) if known else None


def _denial(denial: Denial) -> RejectionCause:
    places = (("Guia", denial.guide), ("item", denial.item), ("procedimento", denial.procedure))
    where = ", ".join(f"{name} {value}" for name, value in places if value)
    value = f"R$ {denial.value:.2f}".replace(".", ",") if denial.value is not None else ""
    code = denial.code or "0000"
    return cause(code, denial.description or f"Glosa {code}", ": ".join(part for part in (where, value) if part))
