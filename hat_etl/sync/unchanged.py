"""Rows of a view that HAT shows as they are, told by their hashes: they need not go there once more.

Such a row is left out of the merge, as a window leaves out what has not changed.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from hat_etl.entities.model import Entity
from hat_etl.source.reader import Recnos
from hat_etl.sync.differences import NOT_GOOD
from hat_etl.sync.hat_side import HatSide
from hat_etl.target.intake import multiplied
from hat_etl.target.rowhash import row_hashes
from hat_etl.target.rows import among
from hat_etl.transform import Transformed


class Unchanged:
    """Some rows of a view beside those of HAT.

    ``doubtful``: Recnos, ascending, for which equal columns do not tell that nothing is to be done. Neither do they
    where several rows of HAT name one Recno.
    """

    def __init__(self, entity: Entity, side: HatSide, doubtful: Recnos) -> None:
        self._entity, self._side, self._doubtful = entity, side, doubtful
        self._twice = side.recnos[1:][side.recnos[1:] == side.recnos[:-1]]

    def take_out(self, raw: pa.RecordBatch, out: Transformed) -> tuple[pa.RecordBatch, Transformed, Recnos]:
        """What is left of a batch without the rows that HAT shows as they are, and the Recnos of these.

        Raises DataError when the view has shown a row of HAT before.
        """
        read = raw.column("source_recno").to_numpy(zero_copy_only=False)
        if not self._side.meet(read):
            raise multiplied(self._entity)
        recnos = out.good.column("source_recno").to_numpy(zero_copy_only=False)
        _, equal = self._side.look_up(recnos, row_hashes(out.good.columns[: len(self._entity.columns)]))
        warned = np.unique(out.issues.column("recno").to_numpy(zero_copy_only=False))
        for others in (self._doubtful, self._twice, warned):
            equal &= ~among(recnos, others)
        unchanged = recnos[equal]
        return (
            raw.filter(pa.array(~among(read, np.sort(unchanged)))),
            replace(out, good=out.good.filter(pa.array(~equal))),
            unchanged,
        )

    def gone(self) -> Recnos:
        """Rows of HAT that no batch has brought; of those that are ``doubtful`` this tells nothing."""
        recnos, states = self._side.unseen()
        gone = np.unique(recnos[states == NOT_GOOD])
        return gone[~among(gone, self._doubtful)]
