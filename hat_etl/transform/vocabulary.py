"""Looking up the texts of a column in a short list of codes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hat_etl.transform.texts import Mask, Texts


class Vocabulary:
    """A list of codes. Nearly all are one character, which one table of 256 answers for a whole column."""

    def __init__(self, codes: Iterable[str]) -> None:
        self.codes = tuple(codes)
        self._set = pa.array(self.codes, pa.string())
        self._table = np.full(256, -1, dtype=np.int32)
        for place, code in enumerate(self.codes):
            if len(code.encode()) == 1:
                self._table[ord(code)] = place

    def places(self, texts: Texts) -> NDArray[np.int32]:
        """Place of each text in the list, -1 where it is not there or empty."""
        if texts.longest > 1:
            found: NDArray[np.int32] = (
                pc.index_in(texts.array, value_set=self._set).fill_null(-1).to_numpy(zero_copy_only=False)
            )
            return found
        if texts.body.size == len(texts):
            return self._table[texts.body]
        places = np.full(len(texts), -1, dtype=np.int32)
        places[texts.filled] = self._table[texts.body]
        return places

    def unlisted(self, texts: Texts) -> Mask:
        """Rows that have a text which is not in the list."""
        return texts.filled & (self.places(texts) < 0)
