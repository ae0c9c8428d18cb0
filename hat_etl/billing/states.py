"""The states of a lot, which follow which, and what the codes of TISS mean for them."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where a lot stands."""

    PULLED = "pulled"
    """Its bytes are in the tenant database."""
    VALIDATED = "validated"
    """Nothing speaks against handing it on."""
    QUEUED = "queued"
    """Its delivery is written into the outbox."""
    SENT = "sent"
    """Its delivery goes on; whoever finds it so afterwards does not know how it ended."""
    UNKNOWN = "unknown"
    """It may have reached the operator or not: the operator is asked before anything is sent again."""
    PROTOCOLLED = "protocolled"
    """The operator has it."""
    UNDER_ANALYSIS = "under analysis"
    FINAL = "final"
    """Paid, closed or cancelled. A payment may be taken back, and then the lot is under analysis again."""
    REFUSED = "refused"
    """By the checks or by the operator, before any analysis; a person may retry it, or say that the operator has it."""
    WITHDRAWN = "withdrawn"
    """The provider has deleted it in HAT before it was delivered. HAT may list it again."""


_S = State

TRANSITIONS: dict[State, frozenset[State]] = {
    _S.PULLED: frozenset({_S.VALIDATED, _S.REFUSED, _S.WITHDRAWN}),
    _S.VALIDATED: frozenset({_S.QUEUED, _S.PULLED, _S.WITHDRAWN, _S.PROTOCOLLED}),
    _S.QUEUED: frozenset({_S.SENT, _S.PULLED, _S.WITHDRAWN, _S.PROTOCOLLED}),
    _S.SENT: frozenset({_S.PROTOCOLLED, _S.REFUSED, _S.QUEUED, _S.UNKNOWN}),
    _S.UNKNOWN: frozenset({_S.PROTOCOLLED, _S.REFUSED, _S.QUEUED, _S.WITHDRAWN}),
    _S.PROTOCOLLED: frozenset({_S.PROTOCOLLED, _S.UNDER_ANALYSIS, _S.FINAL, _S.REFUSED}),
    _S.UNDER_ANALYSIS: frozenset({_S.UNDER_ANALYSIS, _S.PROTOCOLLED, _S.FINAL, _S.REFUSED}),
    _S.FINAL: frozenset({_S.FINAL, _S.UNDER_ANALYSIS, _S.PROTOCOLLED}),
    _S.REFUSED: frozenset({_S.PULLED, _S.WITHDRAWN, _S.PROTOCOLLED}),
    _S.WITHDRAWN: frozenset({_S.PULLED, _S.UNKNOWN}),
}
"""From each state, the states that may follow."""

CHECKED = frozenset({_S.VALIDATED, _S.QUEUED})
"""The lot is about to be sent."""
UNSENT = CHECKED | {_S.PULLED}
"""The operator has not seen the lot, as far as the tenant database knows."""
OPEN = frozenset({_S.PROTOCOLLED, _S.UNDER_ANALYSIS})
"""The operator is at work on it."""
WITH_OPERATOR = OPEN | {_S.FINAL}


def before(state: State) -> list[State]:
    """The states that ``state`` may follow."""
    return [earlier for earlier, later in TRANSITIONS.items() if state in later]


NOT_FOUND = 7
"""Status "Não localizado": says nothing of the lot."""

MEANINGS = {
    1: "Recebido",
    2: "Em análise",
    3: "Liberado para pagamento",
    4: "Encerrado sem pagamento",
    5: "Analisado e aguardando liberação para pagamento",
    6: "Pagamento efetuado",
    7: "Não localizado",
    8: "Aguardando informação complementar",
    9: "Cancelado",
    10: "Bloqueio judicial",
}
"""Status of a protocol in TISS (Tabela 45)."""

_FINAL = frozenset({4, 6, 9})
_IN_HAT = {8: 2, 9: 4, 10: 5}
"""HAT knows 1 to 6 only: what the others come nearest to."""


def state_of(status: int) -> State:
    """The state of a lot whose protocol has this status. A code that nobody knows counts as being worked on."""
    if status == 1:
        return State.PROTOCOLLED
    return State.FINAL if status in _FINAL else State.UNDER_ANALYSIS


def status_in_hat(status: int) -> int:
    """The status, 1 to 6, that HAT shows."""
    return status if status in range(1, 7) else _IN_HAT.get(status, 2)


def analysed(status: int) -> bool:
    """Whether the operator has decided on the guides, so that there is a statement with denials."""
    return status in (3, 4, 5, 6, 10)
