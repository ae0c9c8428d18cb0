"""What happens to every text before it means anything: control characters, blanks, case, length."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hat_etl.transform.texts import BLANK, Mask, Rows, Texts

_CONTROL = r"[\x{0}-\x{1F}\x{7F}-\x{9F}]"
_DELETE = 0x7F
_C1_LEAD, _C1_LAST = 0xC2, 0x9F
"""U+0080 to U+009F are the first byte followed by one from 0x80 to the second."""


def clean(array: pa.Array) -> tuple[Texts, Mask]:
    """Control characters made blanks, then blanks removed at both ends; also the rows that had control characters."""
    texts = _trim(Texts(array))  # first, as padding can be most of the bytes
    controlled = _has_control(texts)
    if controlled.any():
        texts = _trim(texts.change(controlled, lambda some: pc.replace_substring_regex(some, _CONTROL, " ")))
    return texts, controlled


def upper(texts: Texts) -> Texts:
    """Letters in upper case, one for one (the length does not change)."""
    return Texts(pc.utf8_upper(texts.array))


def too_long(texts: Texts, width: int) -> Mask:
    """Rows whose text has more than ``width`` characters."""
    if texts.longest <= width:
        return np.zeros(len(texts), dtype=bool)
    return texts.characters() > width


def cut(texts: Texts, where: Mask, width: int) -> Texts:
    """The texts of these rows cut to ``width`` characters and trimmed again."""
    if not where.any():
        return texts
    return texts.change(where, lambda some: pc.ascii_trim(pc.utf8_slice_codeunits(some, 0, width), " "))


def fill(texts: Texts, constant: str) -> Texts:
    """``constant`` where the text is empty."""
    return texts if texts.filled.all() else Texts(texts.array.fill_null(constant))


def incomplete(texts: Texts, width: int) -> Mask:
    """Rows of a concatenation that does not fill its ``width``, or has a blank inside: a part is missing."""
    broken: Mask = texts.filled & (texts.characters() != width)
    if texts.lowest <= BLANK:
        broken |= _holding(texts, np.flatnonzero(texts.body == BLANK))
    return broken


def _has_control(texts: Texts) -> Mask:
    body = texts.body
    places = []
    if texts.lowest < BLANK:
        places.append(np.flatnonzero(body < BLANK))
    if texts.highest >= _DELETE:
        places.append(np.flatnonzero(body == _DELETE))
    if texts.highest >= _C1_LEAD:
        leads = np.flatnonzero(body == _C1_LEAD)
        places.append(leads[body[leads + 1] <= _C1_LAST])
    return _holding(texts, np.concatenate(places)) if places else np.zeros(len(texts), dtype=bool)


def _holding(texts: Texts, places: Rows) -> Mask:
    """Rows whose text holds one of these places of the body."""
    holding = np.zeros(len(texts), dtype=bool)
    if places.size:
        holding[np.searchsorted(texts.offsets, places, side="right") - 1] = True
    return holding


def _trim(texts: Texts) -> Texts:
    return Texts(pc.ascii_trim(texts.array, " ")) if _any_outer_blank(texts) else texts


def _any_outer_blank(texts: Texts) -> bool:
    """Whether any text begins or ends with a blank.

    An empty text looks at its neighbour's byte instead (or at the last of all), which is an end of a text as well.
    """
    if texts.lowest > BLANK or not texts.body.size:
        return False
    last = texts.body[texts.offsets[1:] - 1]
    if (last == BLANK).any():
        return True
    first = texts.body.take(texts.offsets[:-1], mode="clip")
    return bool((first == BLANK).any())
