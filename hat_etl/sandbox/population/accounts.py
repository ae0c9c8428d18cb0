"""What PLS has beside the protocols of guides: the files that they came in, and what was denied of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from hat_etl.sandbox.arrays import Booleans, Integers, days, floats, join, padded, pick
from hat_etl.sandbox.population.operator import INSURER
from hat_etl.sandbox.rows import Rows

_REASONS = (
    ("1705", "VALOR APRESENTADO A MAIOR"),
    ("1801", "PROCEDIMENTO INVALIDO"),
    ("1802", "PROCEDIMENTO INCOMPATIVEL COM O SEXO DO BENEFICIARIO"),
    ("1806", "QUANTIDADE SOLICITADA ACIMA DA AUTORIZADA"),
    ("2001", "MATERIAL INVALIDO"),
)
"""Reasons of denial with their codes in table 38 of TISS."""
_OWN_REASONS = 40
"""Codes of the operator's own; several stand for one of TISS."""


def reasons() -> Rows:
    """The catalogue of reasons."""
    index = np.arange(_OWN_REASONS)
    return Rows(
        "BCT",
        _OWN_REASONS,
        {
            "CODOPE": INSURER,
            "PROPRI": "0",
            "CODGLO": padded(index + 1, 3),
            "GLTISS": pick([code for code, _ in _REASONS], index),
        },
    )


def of_protocols(
    index: Integers, provider: Integers, received: Integers, denied: npt.NDArray[np.float64], from_hat: Booleans
) -> Iterator[Rows]:
    """Files and denials of these protocols (0 for the first); ``denied`` is the value of each that was denied."""
    came = np.flatnonzero(from_hat)
    if came.size:
        yield Rows(
            "BXX",
            len(came),
            {
                "CODINT": INSURER,
                "CODRDA": padded(provider[came] + 1, 6),
                "SEQUEN": padded(index[came] + 1, 8),
                "ARQIN": join("LOTE_", padded(700_000 + index[came], 12), ".XML"),
                "STATUS": "3",
                "CODPEG": padded(index[came] + 1, 8),
                "DATMOV": days(received[came]),
            },
        )
    cut = np.flatnonzero(denied > 0)
    if cut.size:
        reason = index[cut] % _OWN_REASONS
        yield Rows(
            "BDX",
            len(cut),
            {
                "CODOPE": INSURER,
                "CODLDP": pick(["0001", "0002", "0010"], index[cut]),
                "CODPEG": padded(index[cut] + 1, 8),
                "NUMERO": padded(index[cut] % 90 + 1, 8),
                "ORIMOV": "1",
                "SEQUEN": "001",
                "CODPAD": "22",
                "CODPRO": "10101012",
                "CODGLO": padded(reason + 1, 3),
                "DESGLO": pick([words for _, words in _REASONS], reason),
                "VLRGLO": floats(denied[cut]),
            },
        )
