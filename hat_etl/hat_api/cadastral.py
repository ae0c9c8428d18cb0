"""Changes of rows to HAT's cadastral API: each sent once, its answer waited for and written down.

HAT answers a write with a token, under which its verdict is found later. A write whose reply is lost may have been
done: HAT is asked for the row before it is sent again. Where HAT cannot be asked for a row, sending the same contents
again leaves the same row, as these APIs include or change by key. A call that an earlier run has left so stays open:
the row is sent as it is by now, even where it looks as if HAT had it.
"""

from __future__ import annotations

import json
import random
import re
import time
import unicodedata
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from hat_etl.entities.model import Entity
from hat_etl.errors import HatApiError
from hat_etl.hat_api.bodies import IntegrationAnswer
from hat_etl.hat_api.client import HatApi, Receipt
from hat_etl.hat_api.resources import RESOURCES, Resource
from hat_etl.hat_api.transport import LONGEST_PAUSE, Refused, Unreachable
from hat_etl.target import calls as ledger
from hat_etl.target.calls import Calls, OpenCall
from hat_etl.target.sink import CHANGE, EXCLUDE, INCLUDE, Change, Refusal
from hat_etl.tenants.config import Tenant

_OF_THE_ROW = frozenset({400, 409, 412, 422})
"""Answers of HTTP that speak of the row; others speak of the call, and end the run."""

_PATIENCE = 5
"""Calls in a row that HAT may leave without an answer of its own: then it is not this row or that."""

_LONGEST_REASON = 500
_LONG_NUMBER, _WORD, _HIDDEN = re.compile(r"\(?\d(?:[ ./()-]{0,3}\d){5,}"), re.compile(r"[^\W\d_]{3,}"), "(…)"
_FOUND = "found in HAT"
_REFUSED = "O HAT recusou este registro: {told}. Corrija-o no Protheus ou no HAT; ele é enviado de novo a cada carga."
_IN_DOUBT = (
    "O HAT ainda não respondeu ao envio deste registro. A próxima carga consulta a resposta antes de enviá-lo de novo."
)
_TURNED_AWAY = (
    "Algo diante do HAT (gateway ou firewall) recusou o envio deste registro (HTTP {status}). Verifique o caminho até"
    " api_url; o registro é enviado de novo na próxima carga."
)
_AWAITED = (
    "HAT does not tell yet what became of {rows} of {table} that an earlier run has sent. Nothing more of them is sent"
    " before; every sync by API asks again (state 'sent' in hat_etl.api_calls)."
)


class _TokenLost(HatApiError):
    """HAT does not know the token that it gave: the row has to be asked for."""


class Cadastral:
    """The sink of one run. Close it at the end."""

    def __init__(self, tenant: Tenant, calls: Calls, run: int) -> None:
        self._api = HatApi(tenant)
        self._settings, self._registry = tenant.hat.api, tenant.ans_registry
        self._calls, self._run = calls, run
        self._in_doubt: set[tuple[str, tuple[str, ...]]] = set()
        self._gone: set[tuple[str, tuple[str, ...]]] = set()
        self._silences = 0
        """Calls in a row that HAT has not answered itself."""

    def close(self) -> None:
        self._api.close()

    def settle_doubts(self) -> list[str]:
        """Find out what became of the calls that an earlier run has left without an outcome; gives what is to be told.

        Raises Refused when HAT does not take the Mastertoken.
        """
        calls = self._calls.in_doubt()
        for call in random.sample(calls, len(calls)):  # so that none waits for good behind others that are not told
            told = self._silences < _PATIENCE and (
                self._look(call) if call.token is None else self._is_told(call, call.token)
            )
            if not told and call.token is not None:
                self._in_doubt.add((call.table, call.change.key))
        self._gone = self._calls.excluded()
        waiting = Counter(table for table, _ in self._in_doubt)
        return [_AWAITED.format(rows=f"{rows} row{'s' * (rows > 1)}", table=table) for table, rows in waiting.items()]

    def _is_told(self, call: OpenCall, token: str) -> bool:
        """Whether the row of a call has to wait no more for the answer under its token."""
        try:
            return self._verdict(call.id, call.change, self._ask(token, wait=False)) is not None
        except _TokenLost:
            self._calls.note_token(call.id, None)
            self._look(call)
            return True
        except HatApiError as error:
            if _is_of_the_token(error):
                raise
            return self._look(call)

    def _look(self, call: OpenCall) -> bool:
        """Whether HAT has what was sent. Else the call stays open, for HAT may yet have it, or spell it otherwise."""
        try:
            done = self._is_done(RESOURCES[call.table], call.change)
        except Unreachable:
            self._silences += 1
            done = False
        if done:
            self._calls.close(call.id, ledger.ACCEPTED, _FOUND)
        return done

    def actions(self, entity: Entity) -> frozenset[str]:
        resource = RESOURCES.get(entity.table)
        return frozenset() if resource is None else resource.actions

    def take(self, entity: Entity, changes: Sequence[Change]) -> list[Refusal]:
        """Send the changes of one table, several at a time. Raises HatApiError when HAT cannot be reached."""
        resource = RESOURCES[entity.table]
        with ThreadPoolExecutor(self._settings.workers, "hat") as pool:
            futures = [pool.submit(self._send, resource, change) for change in changes]
            try:
                outcomes = [future.result() for future in futures]
            except BaseException:
                for future in futures:
                    future.cancel()
                raise
        return [refusal for refusal in outcomes if refusal is not None]

    def _send(self, resource: Resource, change: Change) -> Refusal | None:
        if (resource.table, change.key) in self._in_doubt:
            return Refusal(change, "held", _IN_DOUBT)
        if change.action == EXCLUDE and (resource.table, change.key) in self._gone:
            return None  # an earlier run had it done
        refusal = self._call(resource, change)
        if refusal is None or refusal.severity == "held" or not self._is_there(resource, change):
            return refusal
        return self._call(resource, replace(change, action=CHANGE))

    def _is_there(self, resource: Resource, change: Change) -> bool:
        """Whether HAT has the row that it does not include, so that it can be changed."""
        if change.action != INCLUDE or not resource.one_by_one:
            return False
        try:
            return isinstance(self._find(resource, json.loads(change.row)), dict)
        except HatApiError as error:
            if isinstance(error, Unreachable) or _is_of_the_token(error):
                raise
            return False

    def _call(self, resource: Resource, change: Change) -> Refusal | None:
        """Have HAT take a change: a call that is lost is made again once it is clear that nothing was done."""
        call = self._calls.begin(self._run, resource.table, change, resource.code(change.action))
        for attempt in range(1, self._settings.attempts + 1):
            try:
                receipt = self._write(resource, change)
            except Unreachable as error:
                lost: HatApiError = error
            except Refused as error:
                return self._turned_away(change, error)
            else:
                try:
                    return self._outcome(call, change, receipt)
                except _TokenLost as error:
                    lost = error
            if self._is_done(resource, change):
                self._calls.close(call, ledger.ACCEPTED, _FOUND)
                return None
            if attempt == self._settings.attempts:
                raise lost
            pause = self._settings.pause_seconds * 2 ** (attempt - 1) * random.uniform(0.5, 1)
            time.sleep(min(pause, LONGEST_PAUSE))
        raise AssertionError("at least one attempt is made")

    def _turned_away(self, change: Change, error: Refused) -> Refusal:
        """Hold the row of a write that something before HAT has answered. Raises what speaks of all calls."""
        self._silences += 1
        if error.status not in _OF_THE_ROW | {403} or error.is_of_the_token or self._silences >= _PATIENCE:
            raise error
        return Refusal(change, "held", _TURNED_AWAY.format(status=error.status))

    def _write(self, resource: Resource, change: Change) -> Receipt:
        """One attempt. Raises Unreachable, or Refused when it is not HAT's word about the row."""
        row = json.loads(change.row)
        method, path = "POST", resource.address(row)
        body: dict[str, Any] | None = resource.body(row, self._registry)
        if resource.one_by_one and change.action in (CHANGE, EXCLUDE):
            path = resource.own_address(row)
            method, body = ("PUT", body) if change.action == CHANGE else ("DELETE", None)
        try:
            return self._api.write(method, path, body, billing=resource.billing)
        except Refused as error:
            if error.says_absent and method == "DELETE":
                return Receipt(answer=IntegrationAnswer())
            if error.says_absent and method == "PUT":
                # What HAT does not have cannot be changed; the other APIs include it then by themselves.
                return self._write(resource, replace(change, action=INCLUDE))
            if error.is_hats and error.answer is not None and error.status in _OF_THE_ROW:
                return Receipt(answer=error.answer.model_copy(update={"code": str(error.status)}))
            raise

    def _outcome(self, call: int, change: Change, receipt: Receipt) -> Refusal | None:
        answer = receipt.answer
        if receipt.token is None:
            self._silences = 0
        else:
            self._calls.note_token(call, receipt.token)
            try:
                answer = self._ask(receipt.token)
            except HatApiError as error:
                if isinstance(error, _TokenLost) or _is_of_the_token(error) or self._silences >= _PATIENCE:
                    raise
                answer = None  # with its token written down, the next run asks again
        verdict = self._verdict(call, change, answer)
        if verdict is None:
            return Refusal(change, "held", _IN_DOUBT)
        return verdict if isinstance(verdict, Refusal) else None

    def _verdict(self, call: int, change: Change, answer: IntegrationAnswer | None) -> Refusal | bool | None:
        """Write HAT's answer down: True when it has taken the change, the refusal, or None while it has not said."""
        if answer is None:
            return None
        told = _without_data(answer.told, json.loads(change.row))
        if answer.is_good:
            self._calls.close(call, ledger.ACCEPTED, told)
            return True
        self._calls.close(call, ledger.REFUSED, f"{answer.code}: {told}")
        return Refusal(change, "reject", _REFUSED.format(told=told or f"código {answer.code}"))

    def _ask(self, token: str, *, wait: bool = True) -> IntegrationAnswer | None:
        """HAT's answer to a write; None while there is none. Raises _TokenLost."""
        try:
            answer = self._api.answer(token, wait=wait)
        except Refused as error:
            if error.is_hats and error.answer is not None and error.status in _OF_THE_ROW:
                return error.answer.model_copy(update={"code": str(error.status)})
            if error.is_hats and error.status in (404, 410):
                raise _TokenLost(error.cause, error.next_step, error.tenant) from None
            self._silences += 1
            raise
        except HatApiError:
            self._silences += 1
            raise
        self._silences = 0
        return answer

    def _is_done(self, resource: Resource, change: Change) -> bool:
        """Whether HAT says that it has what was sent. Raises Unreachable, or Refused when HAT refuses all calls."""
        if not resource.readable:
            return False
        row = json.loads(change.row)
        try:
            found = self._find(resource, row)
        except HatApiError as error:
            if isinstance(error, Unreachable) or _is_of_the_token(error):
                raise
            return False
        if change.action == EXCLUDE:
            return found is None
        return isinstance(found, dict) and _holds(found, resource.item(row))

    def _find(self, resource: Resource, row: dict[str, Any]) -> Any:
        """The row as HAT has it; None when HAT says that it has none. Raises HatApiError when it does not tell."""
        if resource.one_by_one:
            return self._api.read(resource.own_address(row))
        key = resource.key_of(row)
        listed = self._api.read(resource.path, {**resource.head, **key})
        items = listed.get("items") if isinstance(listed, dict) else None
        return next((item for item in items or () if isinstance(item, dict) and _holds(item, key)), None)


def _is_of_the_token(error: HatApiError) -> bool:
    """Whether HAT refuses whatever this Mastertoken asks for: then nothing goes on."""
    return isinstance(error, Refused) and error.is_of_the_token


def _holds(item: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether a row of HAT has these values; numbers may come as texts."""
    return all(str(item.get(name, "")) == str(value) for name, value in wanted.items())


def _without_data(told: str, row: dict[str, Any]) -> str:
    """HAT's words without those of the row, and without long numbers and days; codes are shorter.

    A long number may be a card, a CPF or a telephone, with or without its dots and dashes.
    """
    own = {_folded(word) for value in row.values() if isinstance(value, str) for word in _WORD.findall(value)}
    said = _WORD.sub(lambda word: _HIDDEN if _folded(word[0]) in own else word[0], _LONG_NUMBER.sub(_HIDDEN, told))
    return said[:_LONGEST_REASON].rstrip(". ")


def _folded(word: str) -> str:
    """A word without regard to capitals and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c)).casefold()
