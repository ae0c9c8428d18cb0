"""One moment of an Oracle ERP: queries on the connections that show it, and what becomes of those that fail."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import oracledb
import pyarrow as pa

from hat_etl.entities.model import RECNO
from hat_etl.errors import SourceError
from hat_etl.parallel import taken
from hat_etl.source import oracle_errors, oracle_refusals, oracle_sql, refusals
from hat_etl.source.oracle_fetcher import FetcherDied, FetcherSession
from hat_etl.source.oracle_session import EXACT, Binds, OracleSession
from hat_etl.source.oracle_sql import Selected
from hat_etl.source.reader import BUCKET, WORD, Fingerprint, Range, Recnos, ViewShape
from hat_etl.tenants.config import Tenant

RECONNECTS = 3
"""How often a lost connection is made anew without one new row in between, before the run gives up."""

LISTED = (1, 10, 100, 1_000)
"""Recnos asked for in one query, 1,000 being what Oracle takes in a list; few lengths, so that statements repeat."""

Session = OracleSession | FetcherSession


@dataclass
class OracleSnapshot:
    """One moment and the sessions that show it, lent to one range at a time."""

    tenant: Tenant
    again: str
    clock: datetime
    horizon: datetime
    scn: int | None
    """None: the only session holds the moment in its transaction."""
    sessions: Sequence[Session]
    _free: queue.SimpleQueue[Session] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        for session in self.sessions:
            self._free.put(session)

    # -- reading -----------------------------------------------------------------------------------------------------

    def bounds(self, shape: ViewShape) -> Range | None:
        recno = oracle_sql.name(shape, RECNO)
        low, high = self._ask(shape, f"MIN({recno}), MAX({recno})")[0]
        return None if low is None else Range(int(low), int(high))

    def fingerprint(self, shape: ViewShape, range_: Range) -> Fingerprint:
        where, binds = _between(shape, range_)
        found = Fingerprint()
        with closing(self._select(shape, oracle_sql.fingerprints(shape), where, binds)) as batches:
            for batch in batches:
                found += Fingerprint.of(batch)
        return found

    def stream(self, shape: ViewShape, range_: Range) -> Iterator[pa.RecordBatch]:
        where, binds = _between(shape, range_)
        rows = 0
        with closing(self._select(shape, oracle_sql.whole_rows(shape), where, binds)) as batches:
            for batch in batches:
                rows += batch.num_rows
                yield batch
        ((announced,),) = self._ask(shape, "COUNT(*)", where, binds)
        if rows != announced:
            raise SourceError(
                f"The ERP counts {announced:,} rows from Recno {range_.low} to {range_.high} of {shape.entity.view},"
                f" and {rows:,} arrived.",
                f"Nothing of this range was taken over. Go on with: {self.again}. If it happens again, have the"
                " network between this machine and the ERP looked at.",
                tenant=self.tenant.name,
                table=shape.entity.table,
            )

    def changed(self, shape: ViewShape, since: datetime) -> Iterator[pa.RecordBatch]:
        stamp = oracle_sql.stamp(shape)
        moment = since.astimezone(UTC).replace(tzinfo=None)
        where = f"({stamp} >= :since OR {stamp} IS NULL)"
        yield from self._select(shape, oracle_sql.whole_rows(shape), where, {"since": moment})

    def rows(self, shape: ViewShape, recnos: Recnos) -> Iterator[pa.RecordBatch]:
        name = oracle_sql.name(shape, RECNO)
        for start in range(0, recnos.size, LISTED[-1]):
            asked = recnos[start : start + LISTED[-1]].tolist()
            length = next(size for size in LISTED if size >= len(asked))
            asked += asked[-1:] * (length - len(asked))
            binds = {f"r{place}": recno for place, recno in enumerate(asked)}
            where = f"{name} IN ({', '.join(f':{bind}' for bind in binds)})"
            yield from self._select(shape, oracle_sql.whole_rows(shape), where, binds)

    def matching(self, shape: ViewShape, key: Mapping[str, str]) -> Iterator[pa.RecordBatch]:
        where, binds = oracle_sql.matching(shape, key)
        yield from self._select(shape, oracle_sql.whole_rows(shape), where, binds)

    def live(self, shape: ViewShape) -> tuple[int, int]:
        ((rows, recnos),) = self._ask(
            shape, f"COUNT(*), SUM({oracle_sql.name(shape, RECNO)})", oracle_sql.is_live(shape)
        )
        return int(rows), int(recnos or 0) % WORD

    def live_by_bucket(self, shape: ViewShape) -> dict[int, tuple[int, int]]:
        recno = oracle_sql.name(shape, RECNO)
        bucket = f"FLOOR({recno} / {BUCKET})"
        found = self._ask(shape, f"{bucket}, COUNT(*), SUM({recno})", f"{oracle_sql.is_live(shape)} GROUP BY {bucket}")
        return {int(number): (int(rows), int(recnos) % WORD) for number, rows, recnos in found}

    def live_recnos(self, shape: ViewShape, ranges: Sequence[Range]) -> Generator[pa.Array, None, None]:
        recno = oracle_sql.name(shape, RECNO)
        parts: list[str] = []
        binds: dict[str, int] = {}
        for place, range_ in enumerate(ranges):
            parts.append(f"{recno} BETWEEN :low{place} AND :high{place}")
            binds |= {f"low{place}": range_.low, f"high{place}": range_.high}
        where = f"{oracle_sql.is_live(shape)} AND ({' OR '.join(parts) or '1 = 1'})"
        with closing(self._select(shape, oracle_sql.recnos(shape), where, binds)) as batches:
            for batch in batches:
                yield batch.column(0)

    # -- asking ------------------------------------------------------------------------------------------------------

    def _from(self, shape: ViewShape, where: str, binds: Binds) -> tuple[str, Binds]:
        as_of = "" if self.scn is None else " AS OF SCN :scn"
        moment = {} if self.scn is None else {"scn": self.scn}
        return f" FROM {oracle_sql.relation(shape)}{as_of} WHERE {where}", {**moment, **binds}

    def _ask(self, shape: ViewShape, what: str, where: str = "1 = 1", binds: Binds | None = None) -> list[Any]:
        query, all_binds = self._from(shape, where, binds or {})
        with self._lent() as session:
            lost = 0
            while True:
                try:
                    return session.rows(f"SELECT {what}{query}", all_binds)
                except (oracledb.Error, OSError) as error:
                    lost += 1
                    self._mend(session, shape, error, lost)

    def _select(
        self, shape: ViewShape, selected: Selected, where: str, binds: Binds
    ) -> Generator[pa.RecordBatch, None, None]:
        """The rows of a query, each once.

        Where the connection is lost, or a number does not fit, the query is asked again, and the rows that were handed
        on already are left out.
        """
        query, all_binds = self._from(shape, where, binds)
        handed_on: list[Recnos] = []
        with self._lent() as session:
            lost = 0
            while True:
                known = np.concatenate(handed_on) if handed_on else None
                try:
                    with closing(
                        session.batches(f"SELECT {selected.sql}{query}", all_binds, selected.types, selected.rows)
                    ) as batches:
                        for batch in batches:
                            raw = oracle_sql.raw_batch(batch, selected)
                            recnos = raw.column(0).to_numpy(zero_copy_only=False)
                            if known is not None:
                                new = ~np.isin(recnos, known)
                                raw, recnos = raw.filter(pa.array(new)), recnos[new]
                            handed_on.append(recnos)
                            if raw.num_rows:
                                lost = 0
                                yield raw
                    return
                except (oracledb.Error, OSError) as error:
                    if oracle_errors.code(error) == oracle_errors.TOO_LARGE and EXACT in selected.types:
                        selected = selected.with_numbers_as_text()
                        continue
                    lost += 1
                    self._mend(session, shape, error, lost)

    @contextmanager
    def _lent(self) -> Iterator[Session]:
        session = taken(self._free)
        try:
            yield session
        finally:
            self._free.put(session)

    def _mend(self, session: Session, shape: ViewShape, error: oracledb.Error | OSError, lost: int) -> None:
        """Give the session a new connection where that helps. Raises SourceError where it does not."""
        if oracle_errors.is_dead(error) and self.scn is not None and lost <= RECONNECTS:
            threading.Event().wait(lost - 1)
            try:
                session.reconnect()
                return
            except (oracledb.Error, OSError) as refused:
                if lost < RECONNECTS and not oracle_errors.is_locked_out(refused):
                    return  # the next use fails at once, and leads here again
                error = refused
        raise self._failed(shape, error) from None

    def _failed(self, shape: ViewShape, error: oracledb.Error | OSError) -> SourceError:
        tenant, table, code = self.tenant.name, shape.entity.table, oracle_errors.code(error)
        if isinstance(error, FetcherDied):
            return oracle_refusals.fetcher_died(tenant, table, self.again)
        if oracle_errors.is_expired(error):
            return refusals.SnapshotExpired(
                f"The ERP can no longer show the moment that is read ({code}): its undo was overwritten.",
                f"Go on with: {self.again}. If it happens again, read when the ERP is quiet, or ask the DBA for a"
                " larger UNDO_RETENTION.",
                tenant=tenant,
                table=table,
            )
        if code == oracle_errors.CHANGED:
            return SourceError(
                f"The view {shape.entity.view}, or a table below it, was redefined while it was read ({code}).",
                f"See with the DBA what is being changed (an update of Protheus?). When it is over: {self.again}",
                tenant=tenant,
                table=table,
            )
        return refusals.read_failed(tenant, table, oracle_errors.cause(error), self.again)


def _between(shape: ViewShape, range_: Range) -> tuple[str, dict[str, int]]:
    return f"{oracle_sql.name(shape, RECNO)} BETWEEN :low AND :high", {"low": range_.low, "high": range_.high}
