"""Why a key of a HAT table is as it is: from the row in HAT back to the fields of the ERP.

Values are part of the answer, for whoever asks about one row has to see it; they go nowhere else. Columns that are
secret are never shown.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa

from hat_etl.entities.model import Column, Entity
from hat_etl.errors import ConfigurationError, DecisionNeeded, SourceError
from hat_etl.protheus.dictionary import physical_name
from hat_etl.source.erp import open_source
from hat_etl.source.reader import Source
from hat_etl.source.view_check import inspect
from hat_etl.sync import window
from hat_etl.sync.explanation import ColumnStory, Explanation, Seen, Version, rules_of, steps_of
from hat_etl.sync.plan import select
from hat_etl.sync.view_texts import made_anew, with_digests
from hat_etl.target.database import TenantDatabase, errors
from hat_etl.target.lookup import RECNO, RUN, STAMP, Backing, Event, Lookup, Row
from hat_etl.tenants.config import Tenant
from hat_etl.transform import Transformer
from hat_etl.transform.columns import reader
from hat_etl.transform.findings import Findings, key_texts

HIDDEN = "***"
"""Stands for every value of a secret column, an empty one, too."""

_PARTED = "|"


def explain(tenant: Tenant, table: str, *key: str, outside_windows: bool = False) -> Explanation:
    """Tell of one key of a table, given as reports show it or part by part. Changes nothing.

    Raises ConfigurationError (no such table, or not a key of it), DecisionNeeded (nothing is loaded yet) and
    TargetError. An ERP that cannot be asked, or may not be read now, is a note in the answer.
    """
    (entity,) = select([table], tenant.name)
    command = ["hat-etl", "explain", tenant.name, table]
    parts = _parts(tenant, entity, key, shlex.join(command))
    database = TenantDatabase(tenant)
    erp = tenant.erp
    owner = f"{erp.schema_name}." if erp.schema_name else ""
    tables = tuple(f"{owner}{physical_name(alias, erp.company)}" for alias in entity.reads)
    told = Explanation(tenant.name, table, _PARTED.join(key), entity.view, tables, entity.row_filter)
    may_read = outside_windows or window.is_open(tenant)
    if not may_read:
        told.notes.append(
            f"The ERP was not read, for its windows are closed ({window.hours(tenant)}). If the operator agrees that it"
            f" is read now: {shlex.join([*command, *key])} {window.OPTION}"
        )
    with database.connect() as connection, errors(tenant.name, table, again=f"{shlex.join(command)} KEY"):
        connection.execute("SET default_transaction_read_only = on")
        if not database.check_identity(connection):
            raise DecisionNeeded("Nothing is loaded yet.", f"Load first: hat-etl load {tenant.name}", tenant.name)
        lookup = Lookup(connection, database.schema, entity, parts)
        _Telling(tenant, entity, lookup, told, may_read).tell()
    return told


def _parts(tenant: Tenant, entity: Entity, key: Sequence[str], command: str) -> list[str]:
    parts = key[0].split(_PARTED) if len(key) == 1 < len(entity.key) else list(key)
    if len(parts) != len(entity.key):
        raise ConfigurationError(
            f"The key of {entity.table} has {len(entity.key)} parts, and {len(parts)} came.",
            f"Write it as {_PARTED.join(entity.key)} (in quotes, for the shell), as hat-etl rejects shows it. Where a"
            f" part itself holds {_PARTED}: {command} {' '.join(name.upper() for name in entity.key)}",
            tenant=tenant.name,
            table=entity.table,
        )
    return parts


@dataclass
class _Telling:
    tenant: Tenant
    entity: Entity
    lookup: Lookup
    told: Explanation
    may_read: bool
    """Whether the ERP may be read now."""

    def __post_init__(self) -> None:
        self.today = datetime.now(ZoneInfo(self.tenant.erp.timezone)).date()
        self.horizon: datetime | None = None
        self.row: Row | None = None
        self.image: Row | None = None
        self.backing: Backing | None = None
        self.recnos: set[int] = set()
        self.is_read_whole = False
        """Whether the next sync reads the table whole: the view has another text, or an undo has touched the table."""
        self.has_looked = False
        """Whether the view was looked through, so that what was not found is not there."""

    def tell(self) -> None:
        lookup, told = self.lookup, self.told
        told.key = lookup.key
        self.horizon = lookup.horizon()
        if lookup.is_there():
            self.row, self.image = lookup.row() or (None, None)
            self.backing = lookup.backing()
        else:
            told.notes.append("HAT does not have this table: it was never loaded.")
        events = lookup.events()
        self.recnos = self._recnos_known(events)
        told.rejects = [self._shown(entry) for entry in lookup.rejects(self._recnos_now())]
        told.versions = self._versions(events, lookup.entry_events(self.recnos))
        told.in_view = self._ask_erp() if self.may_read else []
        chosen = self._chosen()
        told.columns = [self._story(column, chosen) for column in self.entity.columns]
        self._describe_hat()
        self._judge(events)

    # -- what the tenant database knows ------------------------------------------------------------------------------

    def _recnos_now(self) -> set[int]:
        """Of the live row behind the row of HAT."""
        if self.row is None:
            return set()
        if self.backing is None:
            return {int(self.row[RECNO])}
        return set() if self.backing.recno is None else {self.backing.recno}

    def _recnos_known(self, events: Sequence[Event]) -> set[int]:
        """All Recnos that the key ever had, as far as can be told."""
        found = self._recnos_now() | {int(entry["recno"]) for entry in self.lookup.rejects(())}
        if self.row is not None:
            found.add(int(self.row[RECNO]))
        for event in events:
            image = event.before or {}
            found |= {int(image[name]) for name in (RECNO, "recno") if image.get(name) is not None}
        return found

    def _shown(self, entry: Row) -> Row:
        name = entry["column"]
        secret = name is not None and name in self.entity.schema.names and self.entity[name].secret
        return {**entry, "value": HIDDEN} if secret else entry

    def _describe_hat(self) -> None:
        if self.row is None:
            return
        self.told.hat = {
            RECNO: self.row[RECNO],
            STAMP: self.row[STAMP],
            RUN: self.row[RUN],
            "run": self.lookup.run(int(self.row[RUN])),
            "recno_behind": next(iter(self._recnos_now()), None),
        }

    def _versions(self, events: Sequence[Event], entries: Iterable[Event]) -> list[Version]:
        """The events of the row with what each changed, then those of its quarantine mixed in: latest first."""
        after = self.image
        known, versions = True, list[Version]()
        for event in events:
            if event.kind == "load":
                known = False  # no image tells what the load found
                versions.append(_version(event, "the whole table was replaced"))
                continue
            if event.kind == "backing":
                versions.append(_version(event, _backing_told(event)))
                continue
            columns = self._differences(event.before, after) if known and event.kind == "update" else None
            versions.append(_version(event, _ROW_TOLD[event.kind], columns))
            after, known = event.before, True
        versions += [_version(event, _entries_told(event)) for event in entries]
        return sorted(versions, key=lambda version: -version.run)

    def _differences(self, before: Row | None, after: Row | None) -> dict[str, tuple[Any, Any]]:
        before, after = before or {}, after or {}
        return {
            column.name: ((HIDDEN, HIDDEN) if column.secret else (before.get(column.name), after.get(column.name)))
            for column in self.entity.columns
            if before.get(column.name) != after.get(column.name)
        }

    # -- what the ERP says -------------------------------------------------------------------------------------------

    def _ask_erp(self) -> list[Seen]:
        one = self.tenant.erp.model_copy(update={"connections": 1})
        try:
            with closing(
                open_source(self.tenant.model_copy(update={"erp": one}), f"hat-etl explain {self.tenant.name}")
            ) as source:
                return self._look(source)
        except (SourceError, ConfigurationError) as error:
            self.told.notes.append(f"The ERP could not be asked; what it holds now is not told. {error.cause}")
            return []

    def _look(self, source: Source) -> list[Seen]:
        shape = source.describe(self.entity)
        faults = [finding for finding in inspect(source, self.tenant, shape) if finding.level == "error"]
        if faults:
            told = " ".join(fault.message for fault in faults)
            self.told.notes.append(f"The view {self.entity.view} cannot be read as it is: {told}")
            return []
        (digested,) = with_digests(source, [shape])
        self.is_read_whole = made_anew(digested, self.lookup.view_digest()) or self.lookup.wants_all()
        with source.snapshot() as snapshot:
            batches = snapshot.rows(shape, np.array(sorted(self.recnos), dtype=np.int64))
            found = {row.recno: row for row in self._see(batches)}
            if not any(row.key == self.told.key and not row.deleted for row in found.values()):
                key = {name: text for name, text in zip(self.entity.key, self.lookup.parts, strict=True) if text}
                for row in self._see(snapshot.matching(shape, key) if key else ()):
                    if row.key == self.told.key:
                        found[row.recno] = row
        self.has_looked = True
        return sorted(found.values(), key=lambda row: (row.key != self.told.key, row.deleted, -row.recno))

    def _see(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Seen]:
        transform = Transformer(self.entity, run=0, today=self.today)
        for raw in batches:
            issues: dict[int, list[Row]] = {}
            for issue in transform(raw).issues.to_pylist():
                issues.setdefault(issue.pop("recno"), []).append(self._shown(issue))
            values = _transformed(self.entity, raw, self.today)
            keys = key_texts([values[name] for name in self.entity.key]).to_pylist()
            plain = pa.table(values).to_pylist()
            for number, row in enumerate(raw.to_pylist()):
                recno, stamp = row["source_recno"], row["source_stamp"]
                if stamp is not None and stamp.tzinfo is None:
                    stamp = stamp.replace(tzinfo=UTC)
                found = tuple(issues.get(recno, ()))
                yield Seen(recno, row.get("deleted") == 1, stamp, keys[number], row, plain[number], found)

    def _chosen(self) -> Seen | None:
        """The row of the view that stands for the key now; else the one that did."""
        mine = [row for row in self.told.in_view if row.key == self.told.key]
        if mine:
            return mine[0]
        now = self._recnos_now() or self.recnos
        return next((row for row in self.told.in_view if row.recno in now), None)

    def _story(self, column: Column, seen: Seen | None) -> ColumnStory:
        def shown(row: Row | None) -> Any:
            if row is None:
                return None
            return HIDDEN if column.secret else row.get(column.name)

        company = self.tenant.erp.company
        return ColumnStory(
            column=column.name,
            type=column.sql_type,
            alias=column.alias,
            source=column.source.text,
            fields=tuple(f"{physical_name(name[:3], company)}.{name}" for name in column.source.all_fields),
            steps=tuple(steps_of(column, keyed=column.name in self.entity.key_columns)),
            rules=tuple(rules_of(column)),
            in_view=shown(seen.raw if seen else None),
            becomes=shown(seen.becomes if seen else None),
            in_hat=shown(self.row),
        )

    # -- the verdict -------------------------------------------------------------------------------------------------

    def _judge(self, events: Sequence[Event]) -> None:
        told, say = self.told, self.told.why.append
        live = [row for row in told.in_view if row.key == told.key and not row.deleted]
        severities = {entry["severity"] for entry in told.rejects if entry["key"] == told.key}
        left = next((event for event in events if event.kind in _ROW_TOLD), None)
        if self.row is not None:
            self._judge_present(live)
        elif "held" in severities:
            told.state = "held"
            say("The row is held until its parent is there.")
        elif "reject" in severities:
            told.state = "rejected"
            say("The row is rejected, and HAT has no good version of before.")
        elif left is not None and left.kind == "delete":
            told.state = "deleted"
            say(f"Run {left.run} ({left.mode}) removed the row.")
        elif live:
            told.state = "waiting"
            say("No run has read the row of the view yet.")
        elif any(row.key == told.key for row in told.in_view):
            told.state = "deleted"
            say("The row is marked as deleted in the ERP (D_E_L_E_T_).")
        else:
            told.state = "never seen"
            say("Not in HAT, not in quarantine, in no before-image that is kept" + self._not_in_view())
        for entry in told.rejects:
            if entry["severity"] != "warning":
                say(f"Recno {entry['recno']} is not in HAT: {entry['reason']}")
        self._judge_source(live)

    def _not_in_view(self) -> str:
        if not self.has_looked:
            return "."
        there = f", and not in the view {self.entity.view}."
        return there + (f" The view shows: {self.entity.row_filter}." if self.entity.row_filter else "")

    def _judge_present(self, live: Sequence[Seen]) -> None:
        assert self.row is not None
        told, say, written = self.told, self.told.why.append, int(self.row[RECNO])
        if self.backing is not None and self.backing.recno is None:
            told.state = "kept"
            say("The last good version is kept, for the live row is rejected.")
        else:
            told.state = "in HAT"
            if self.backing is not None:
                say(f"The live row behind it is Recno {self.backing.recno}: equal to what Recno {written} had brought.")

    def _judge_source(self, live: Sequence[Seen]) -> None:
        """What the rows of the view mean for the next sync."""
        told, say = self.told, self.told.why.append
        moved = [row for row in told.in_view if row.key != told.key and row.recno in self._recnos_now()]
        if self.row is None and self.recnos and self.lookup.is_there():
            for key, recno in self.lookup.other_keys(self.recnos).items():
                say(f"Recno {recno} is in HAT under another key: {key}")
        for row in moved:
            say(f"In the ERP, Recno {row.recno} has another key now.")
        for row in told.in_view:
            if row.key == told.key and row.deleted and told.state in ("in HAT", "kept") and not live:
                say(f"In the ERP, Recno {row.recno} is marked as deleted. {self._when(None)}")
        if len(live) > 1:
            say(f"The view shows {len(live)} live rows with this key; the highest Recno ({live[0].recno}) wins.")
        if not live:
            return
        row = live[0]
        if row.is_rejected:
            if told.state not in ("kept", "rejected"):
                say(f"As it is now, Recno {row.recno} would be rejected: {_first(row)} {self._when(row)}")
            return
        if self.row is not None and told.state == "in HAT":
            differ = [c.name for c in self.entity.columns if self.row[c.name] != row.becomes[c.name]]
            if differ:
                say(f"The ERP now has other values of {', '.join(differ)}. {self._when(row)}")
            else:
                say("HAT shows what the ERP has now.")
        elif not any(entry["recno"] == row.recno and entry["severity"] == "held" for entry in told.rejects):
            say(f"As it is now, Recno {row.recno} is good by itself. {self._when(None)}, unless a parent is missing.")

    def _when(self, changed: Seen | None) -> str:
        """What brings it: a row that ``changed`` is found by its stamp, one that came or left by its Recno alone."""
        sync = f"hat-etl sync {self.tenant.name}"
        lookback = timedelta(minutes=self.tenant.sync.lookback_minutes)
        if self.horizon is None:
            return f"The table was never loaded: hat-etl load {self.tenant.name}"
        stamp = None if changed is None or self.is_read_whole else changed.stamp
        if stamp is None or stamp >= self.horizon - lookback:
            return f"The next sync brings it: {sync}"
        return f"Its stamp is older than what was read already, so everything has to be read: {sync} --full"


_ROW_TOLD = {"insert": "the row came", "update": "the row changed", "delete": "the row left"}


def _version(event: Event, told: str, columns: Mapping[str, tuple[Any, Any]] | None = None) -> Version:
    return Version(event.run, event.mode, event.at, event.kind, told, columns, event.undone_by)


def _backing_told(event: Event) -> str:
    if event.before is None:
        return "the live row behind it changed; before: the one of its Recno"
    recno = event.before["recno"]
    before = "none, a last good version" if recno is None else f"Recno {recno}"
    return f"the live row behind it changed; before: {before}"


def _entries_told(event: Event) -> str:
    entries = ", ".join(f"{e['severity']} {e['rule']} {e['column'] or ''}".strip() for e in event.before or ())
    return f"entries of Recno {event.recno} in quarantine changed; before: {entries or 'none'}"


def _first(row: Seen) -> str:
    return str(next(issue["reason"] for issue in row.issues if issue["severity"] == "reject"))


def _transformed(entity: Entity, raw: pa.RecordBatch, today: date) -> dict[str, pa.Array]:
    """Every column as a run would store it, of rejected rows, too."""
    unheard = Findings(raw.num_rows, None, entity.columns)
    return {
        column.name: reader(column, keyed=column.name in entity.key_columns, today=today)(
            raw.column(column.name), unheard
        ).array
        for column in entity.columns
    }
