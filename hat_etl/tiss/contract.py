"""What the schemas leave open: that type of transaction, body, direction, sender and receiver belong together."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree

from hat_etl.tiss.document import NS, find, local, locate, text
from hat_etl.tiss.findings import Finding
from hat_etl.tiss.transactions import FAULT_ROOT, FILE_ROOT, TRANSACTIONS, WS_DIRECTIONS, Direction, Transaction

_USUAL_PREFIXES = (None, "ans")


def is_tiss(message: etree._Element) -> bool:
    """Whether the root is one of the standard's messages."""
    name = etree.QName(message)
    return name.namespace == NS and (name.localname in (FILE_ROOT, FAULT_ROOT) or name.localname in WS_DIRECTIONS)


def check(message: etree._Element, registry: str | None) -> Iterator[Finding]:
    """Findings about the frame of a message. ``registry``: the operator's registration with ANS it must go to."""
    if message.prefix not in _USUAL_PREFIXES:
        yield Finding(
            "prefixo.incomum",
            locate(message),
            "O prefixo do namespace não é 'ans' nem vazio; há sistemas de operadoras que leem o arquivo como texto"
            " e só reconhecem esses.",
        )
    kind = text(message, "cabecalho/identificacaoTransacao/tipoTransacao")
    transaction = TRANSACTIONS.get(kind or "")
    if transaction is None:
        yield Finding(
            "transacao.tipo_desconhecido", _place(message, "cabecalho"), "O tipo de transação não é do padrão."
        )
    yield from _body(message, transaction)
    direction = direction_of(message)
    if direction:
        yield from _parties(message, direction, registry)


def body(message: etree._Element) -> etree._Element | None:
    """The element that holds what the message is about, e.g. ``loteGuias``; None when there is none."""
    if local(message) == FILE_ROOT:
        wrapper = next((child for child in message if local(child) in _WRAPPERS), None)
        return wrapper[0] if wrapper is not None and len(wrapper) else None
    return next(
        (child for child in message if local(child) not in ("cabecalho", "hash", "Signature", "Signatures")), None
    )


_WRAPPERS = ("prestadorParaOperadora", "operadoraParaPrestador")


def direction_of(message: etree._Element) -> Direction | None:
    """Who speaks to whom, by the root or, in a file, by the wrapper of the body."""
    if local(message) != FILE_ROOT:
        return WS_DIRECTIONS.get(local(message))
    names = {local(child) for child in message}
    for direction in WS_DIRECTIONS.values():
        if direction in names:
            return direction
    return None


def _body(message: etree._Element, transaction: Transaction | None) -> Iterator[Finding]:
    found = body(message)
    if found is None or (len(found) == 0 and not (found.text or "").strip()):
        yield Finding("corpo.vazio", locate(message if found is None else found), "A mensagem não tem corpo.")
    if transaction is None:
        return
    direction = direction_of(message)
    if direction and direction != transaction.direction:
        yield Finding(
            "transacao.direcao",
            locate(message),
            f"O tipo de transação pede o sentido {transaction.direction}, e a mensagem tem {direction}.",
        )
    elif local(message) == FILE_ROOT and found is not None and local(found) != transaction.body:
        yield Finding(
            "transacao.corpo_divergente",
            locate(found),
            f"O tipo de transação pede o corpo {transaction.body}, e a mensagem tem {local(found)[:60]}.",
        )
    elif local(message) != FILE_ROOT and local(message) != transaction.root:
        yield Finding(
            "transacao.corpo_divergente",
            locate(message),
            f"O tipo de transação pede a mensagem {transaction.root}, e esta é {local(message)}.",
        )


def _parties(message: etree._Element, direction: Direction, registry: str | None) -> Iterator[Finding]:
    to_operator = direction == "prestadorParaOperadora"
    provider, operator = ("origem", "destino") if to_operator else ("destino", "origem")
    codes = {"origem": "origem.invalida", "destino": "destino.invalido"}
    if find(message, f"cabecalho/{provider}/identificacaoPrestador") is None:
        yield Finding(
            codes[provider], _place(message, f"cabecalho/{provider}"), f"Em {provider} deve estar o prestador."
        )
    said = text(message, f"cabecalho/{operator}/registroANS")
    if said is None:
        yield Finding(
            codes[operator],
            _place(message, f"cabecalho/{operator}"),
            f"Em {operator} deve estar o registro ANS da operadora.",
        )
    elif registry is not None and said != registry:
        yield Finding(
            "destino.outra_operadora",
            _place(message, f"cabecalho/{operator}/registroANS"),
            f"O registro ANS em {operator} não é o desta operadora ({registry}).",
        )


def _place(message: etree._Element, path: str) -> str:
    """The place of a path, or of the deepest part of it that is there."""
    while path:
        found = find(message, path)
        if found is not None:
            return locate(found)
        path = path.rpartition("/")[0]
    return locate(message)
