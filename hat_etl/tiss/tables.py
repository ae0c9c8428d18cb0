"""Codes of the standard that programs decide by or people read."""

from __future__ import annotations

STATUSES = {
    "1": "Recebido",
    "2": "Em análise",
    "3": "Liberado para pagamento",
    "4": "Encerrado sem pagamento",
    "5": "Analisado e aguardando liberação para pagamento",
    "6": "Pagamento efetuado",
    "7": "Não localizado",
    "8": "Aguardando informação complementar",
    "9": "Cancelado",
    "10": "Bloqueio judicial - prestador",
}
"""Terminology table 45: the status of a protocol and of a guide. 9 from version 4.01 on, 10 from 4.02 on."""

FINAL_STATUSES = frozenset({"4", "6", "9"})
"""Statuses after which nothing more is expected; yet a payment that is taken back moves 6 to 3."""

NOT_FOUND = "7"

SERVER_FAULT = "ErroInesperadoServidor"
"""The one fault of a tissFault that does not say that the request was wrong."""

FAULTS = {
    "DestinatarioInvalido": "5004",
    "RemetenteInvalido": "5003",
    "LoginInvalido": "5003",
    "VersaoInvalida": "5028",
    "HashInvalido": "5014",
    "SchemaInvalido": "5001",
    SERVER_FAULT: "5012",
}
"""The faults, and the message of terminology table 38 nearest to each."""


def fault(text: str) -> str | None:
    """The fault of the standard that a text names, without regard to capitals and blanks; None: none of them."""
    return _FAULTS.get("".join(text.split()).casefold())


_FAULTS = {name.casefold(): name for name in FAULTS}
