"""What a load must bring about, told one row at a time.

A second, slow statement of the contract to hold the fast one against. It takes the tables' declarations from
``hat_etl.entities`` and nothing else from hat_etl: no code that reads, cleans, judges or writes a row.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Column, Entity, Kind, Parent, Rule

RECNO, DELETED, STAMP = "R_E_C_N_O_", "D_E_L_E_T_", "S_T_A_M_P_"

PlsRow = dict[str, Any]
"""Field to value; fields that are not named are blank, or 0."""
Value = str | int | bool | date | Decimal | None
Key = tuple[Value, ...]


@dataclass
class Pls:
    """The tables of an ERP: alias to rows. ``widths`` are the characters of a text field; ``stampless`` tables have no
    S_T_A_M_P_."""

    widths: Mapping[str, int]
    stampless: Collection[str] = ()
    tables: dict[str, list[PlsRow]] = field(default_factory=dict)

    def rows(self, alias: str) -> list[PlsRow]:
        return self.tables.setdefault(alias, [])

    def padded(self, row: PlsRow | None, name: str) -> str | None:
        return None if row is None else str(row.get(name, "")).ljust(self.widths.get(name, 0))

    def stamp(self, alias: str, row: PlsRow | None) -> datetime | None:
        return None if row is None or alias in self.stampless else row.get(STAMP)


@dataclass(frozen=True, order=True)
class Entry:
    """One line of the list of rejects, without its reason."""

    table: str
    recno: int
    key: str
    column: str
    rule: str
    severity: str


@dataclass
class Counts:
    read: int = 0
    loaded: int = 0
    rejected: int = 0
    held: int = 0
    deleted: int = 0
    warnings: int = 0


@dataclass(frozen=True)
class HatRow:
    values: Mapping[str, Value]
    source_recno: int
    source_stamp: datetime | None
    loaded_run: int

    def key(self, columns: Collection[str]) -> Key:
        return tuple(self.values[column] for column in columns)


@dataclass
class Hat:
    """The HAT database after a load: rows by natural key, the list of rejects, the counts of the run."""

    rows: dict[str, dict[Key, HatRow]] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    counts: dict[str, Counts] = field(default_factory=dict)
    behind: dict[str, dict[Key, int]] = field(default_factory=dict)
    """Recno of the good row of the ERP that a row shows; none is behind the last good version of a rejected one."""


@dataclass
class Judged:
    """A live row and what is wrong with it: (column, rule, severity)."""

    row: HatRow
    problems: list[tuple[str, str, str]]

    @property
    def is_bad(self) -> bool:
        return any(severity == "reject" for _, _, severity in self.problems)


# -- views -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """A row of an extraction view; ``raw`` by HAT column name, None where a joined row is missing."""

    recno: int
    deleted: bool
    stamp: datetime | None
    raw: Mapping[str, Any]


def view(pls: Pls, entity: Entity) -> Iterator[Shown]:
    """The rows that the entity's view shows."""
    driving = entity.reads[0]
    for row in pls.rows(driving):
        if not passes_filter(pls, driving, row):
            continue
        stamps = [pls.stamp(driving, row)]
        joined = None
        if len(entity.reads) > 1:
            on = next(column.source.join for column in entity.columns if column.source.join)
            joined = join(pls, entity.reads[1], on, row)
            # The joined row counts even where no column takes a value from it.
            stamps.append(pls.stamp(entity.reads[1], joined))
        raw = {column.name: source_value(pls, column, row, joined) for column in entity.columns}
        known = [stamp for stamp in stamps if stamp is not None]
        stamp = None if pls.stampless and set(entity.reads) & set(pls.stampless) else max(known, default=None)
        yield Shown(row[RECNO], row.get(DELETED, " ") == "*", stamp, raw)


def passes_filter(pls: Pls, alias: str, row: PlsRow) -> bool:
    """The filters of BR4, BCI and BEA: the only ones. They look at deleted rows as at others."""
    if alias == "BCI":
        return bool(str(row.get("BCI_LOTGUI", "")).strip(" "))
    if alias == "BEA":
        return bool(str(row.get("BEA_CANEDI", "")).strip(" "))
    if alias == "BR4":
        segments = [
            segment(other)
            for other in pls.rows("BR4")
            if other.get(DELETED, " ") != "*" and trailing(other, "BR4_CODPAD") == trailing(row, "BR4_CODPAD")
        ]
        return not any(other < segment(row) for other in segments)
    return True


def segment(row: PlsRow) -> bytes:
    return trailing(row, "BR4_SEGMEN").encode()


def trailing(row: PlsRow, name: str) -> str:
    return str(row.get(name, "")).rstrip(" ")


def join(pls: Pls, alias: str, on: Collection[tuple[str, str]], row: PlsRow) -> PlsRow | None:
    """Of the live rows that are equal on the join's fields, the one with the highest Recno."""
    found = [
        other
        for other in pls.rows(alias)
        if other.get(DELETED, " ") != "*" and all(trailing(row, own) == trailing(other, theirs) for own, theirs in on)
    ]
    return max(found, key=lambda other: other[RECNO], default=None)


def source_value(pls: Pls, column: Column, row: PlsRow, joined: PlsRow | None) -> Any:
    source = column.source
    if column.numeric_source:
        return row.get(source.fields[0], 0.0)
    if source.joined:
        own = source.condition or (source.fields[0] if source.fields else None)
        if own and (pls.padded(row, own) or "").strip(" "):
            return pls.padded(row, source.fields[0])
        return pls.padded(joined, source.joined)
    if source.is_concatenation:
        return "".join(pls.padded(row, name) or "" for name in source.fields)
    text = pls.padded(row, source.fields[0]) or ""
    if source.slice:
        first, last = source.slice
        return text[first - 1 : last]
    return text


# -- values ----------------------------------------------------------------------------------------------------------

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
STATES = "AC AL AM AP BA CE DF ES GO MA MG MS MT PA PB PE PI PR RJ RN RO RR RS SC SE SP TO"
LIMITS = {Kind.SMALLINT: 15, Kind.INTEGER: 31}


class Unreadable(Exception):
    """The value is none; the argument is the rule to report."""


def judge(entity: Entity, shown: Shown, today: date, run: int) -> Judged:
    """The row as HAT would have it, and what is wrong with it as far as the row alone can tell."""
    values: dict[str, Value] = {}
    sources: dict[str, str | None] = {}
    problems: list[tuple[str, str, str]] = []
    for column in entity.columns:
        found: list[tuple[str, str]] = []
        value, sources[column.name] = read(entity, column, shown.raw[column.name], found)
        values[column.name] = value
        if value is None and column.required and not any(severity == "reject" for _, severity in found):
            found.append(("required", "reject"))
        problems += [(column.name, rule, severity) for rule, severity in found]
    for column in entity.columns:
        for rule in column.rules:
            if not is_good(rule, values[column.name], sources[column.name], values, today):
                problems.append((column.name, rule.name, "reject" if rule.rejects else "warning"))
    return Judged(HatRow(values, shown.recno, shown.stamp, run), problems)


def read(entity: Entity, column: Column, raw: Any, found: list[tuple[str, str]]) -> tuple[Value, str | None]:
    """The value of a column and, where it was text, its trimmed source text; what fails goes to ``found``."""
    fate = "reject" if column.required else "warning"
    text: str | None = None
    try:
        if column.numeric_source:
            return None if raw is None else number(column, raw), None
        text = plain(raw, found)
        if column.source.constant and not (text or "").strip("0" if column.kind is Kind.DATE else ""):
            text = column.source.constant  # what becomes a blank is blank, and in a date so are zeros
        if column.source.is_concatenation and text is not None and (len(text) != column.width or " " in text):
            text = None
        if text is None:
            return None, None
        match column.kind:
            case Kind.DATE:
                return day(text), text
            case Kind.SMALLINT | Kind.INTEGER:
                return number(column, text), text
            case Kind.FLAG:
                return flag(column, text, found), text
        return fitting(entity, column, text, found), text
    except Unreadable as failure:
        found.append((str(failure), fate))
        return None, text


def plain(raw: str | None, found: list[tuple[str, str]]) -> str | None:
    """Control characters to blanks, blanks trimmed at both ends, nothing left is none."""
    if raw is None:
        return None
    text = CONTROL.sub(" ", raw)
    if text != raw:
        found.append(("control_character", "warning"))
    return text.strip(" ") or None


def fitting(entity: Entity, column: Column, text: str, found: list[tuple[str, str]]) -> str:
    if column.rule("upper"):
        text = text.upper()
    if len(text) <= column.width:
        return text
    if column.name in identifying(entity):
        raise Unreadable("too_long")
    found.append(("too_long", "warning"))
    return text[: column.width].strip(" ")


def identifying(entity: Entity) -> set[str]:
    """The columns of the natural key, of alternate keys and of hard references: never cut."""
    hard = [parent.columns for parent in entity.parents if is_hard(entity, parent)]
    return {column for columns in (entity.key, *entity.alternate_keys, *hard) for column in columns}


def is_hard(entity: Entity, parent: Parent) -> bool:
    return all(entity[column].required for column in parent.columns)


def day(text: str) -> date | None:
    if not text.strip("0"):
        return None
    if not re.fullmatch("[0-9]{8}", text):
        raise Unreadable("invalid_date")
    try:
        found = date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        raise Unreadable("invalid_date") from None
    if not 1900 <= found.year <= 2199:
        raise Unreadable("invalid_date")
    return found


def flag(column: Column, text: str, found: list[tuple[str, str]]) -> bool | None:
    mapping = column.rule("map")
    assert mapping is not None
    codes = dict(pair.split("=") for pair in mapping.argument.split(","))
    if text not in codes:
        found.append(("map", "reject" if mapping.rejects else "warning"))
        return None
    return codes[text] == "true"


def number(column: Column, raw: float | int | Decimal | str) -> int | Decimal:
    """Rounded to the column's scale, half away from zero, from the shortest decimal that reads back as the double."""
    if isinstance(raw, float) and not math.isfinite(raw):
        raise Unreadable("invalid_number")
    try:
        exact = Decimal(raw) if isinstance(raw, str | int | Decimal) else Decimal(repr(raw))
    except ArithmeticError:
        raise Unreadable("invalid_number") from None
    if not exact.is_finite() or exact.adjusted() > 40:
        raise Unreadable("invalid_number")
    value = rounded(exact, column.scale)
    if column.kind is Kind.AMOUNT:
        if abs(value) >= Decimal(10) ** (column.width - column.scale):
            raise Unreadable("invalid_number")
        return value
    limit = 2 ** LIMITS[column.kind]
    if not -limit <= value < limit:
        raise Unreadable("invalid_number")
    return int(value)


def rounded(exact: Decimal, scale: int) -> Decimal:
    """To so many places, half away from zero; without a sign on zero."""
    return exact.quantize(Decimal(1).scaleb(-scale), ROUND_HALF_UP) + 0


# -- rules -----------------------------------------------------------------------------------------------------------


def is_good(rule: Rule, value: Value, source: str | None, row: Mapping[str, Value], today: date) -> bool:
    if rule.name == "in":  # looks at what stood there, whatever became of it
        return source is None or source in rule.argument.split(",")
    if value is None or rule.name in ("upper", "map"):  # no checks: they make the value
        return True
    match rule.name:
        case "not_future":
            assert isinstance(value, date)
            return value <= today
        case "not_before":
            start = row[rule.argument]
            assert isinstance(value, date)
            return start is None or (isinstance(start, date) and value >= start)
        case "positive":
            assert isinstance(value, int | Decimal)
            return value > 0
        case "non_negative":
            assert isinstance(value, int | Decimal)
            return value >= 0
    assert isinstance(value, str)
    return TEXT_RULES[rule.name](value)


def weighted(digits: str, weights: Collection[int]) -> int:
    return sum((ord(digit) - 48) * weight for digit, weight in zip(digits, weights, strict=True))


def two_digits(text: str, first: list[int]) -> bool:
    """Whether the last two characters are the check digits that the Receita Federal puts behind the others."""
    body = text[:-2]
    for weights in (first, [first[0] + 1, *first] if len(text) == 11 else [6, *first]):
        rest = weighted(body, weights) % 11
        body += str(0 if rest < 2 else 11 - rest)
    return body == text


def cpf(text: str) -> bool:
    return bool(re.fullmatch("[0-9]{11}", text)) and len(set(text)) > 1 and two_digits(text, list(range(10, 1, -1)))


def cnpj(text: str) -> bool:
    return (
        bool(re.fullmatch("[0-9A-Z]{12}[0-9]{2}", text))
        and len(set(text)) > 1
        and two_digits(text, [5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])
    )


def cns(text: str) -> bool:
    return bool(re.fullmatch("[12789][0-9]{14}", text)) and weighted(text, range(15, 0, -1)) % 11 == 0


def card_digit(body: str) -> str:
    """Check digit of the first 16 characters of a card."""
    weights = [2 + place % 8 for place in range(len(body))]
    digit = 11 - weighted(body[::-1], weights) % 11
    return "0" if digit > 9 else str(digit)


def email(text: str) -> bool:
    name, _, domain = text.partition("@")
    return text.count("@") == 1 and name != "" and "." in domain and " " not in text


TEXT_RULES = {
    "cpf": cpf,
    "cnpj": cnpj,
    "cpf_or_cnpj": lambda text: cpf(text) if len(text) == 11 else len(text) == 14 and cnpj(text),
    "cns": cns,
    "cep": lambda text: bool(re.fullmatch("[0-9]{8}", text)) and text != "00000000",
    "uf": lambda text: len(text) == 2 and text in STATES,
    "ans_registry": lambda text: bool(re.fullmatch("[0-9]{6}", text)),
    "cnes": lambda text: bool(re.fullmatch("[0-9]{7}", text)),
    "digits": lambda text: bool(re.fullmatch("[0-9]+", text)),
    "email": email,
    "check_digit": lambda text: bool(re.fullmatch("[0-9]{17}", text)) and card_digit(text[:16]) == text[16],
}


# -- tables ----------------------------------------------------------------------------------------------------------


View = Callable[[Pls, Entity], Iterator[Shown]]


def load(
    pls: Pls, *, run: int, today: date, before: Hat | None = None, only: Collection[str] = (), shown_by: View = view
) -> Hat:
    """HAT after a load of ``pls`` over what it held ``before``, through other views where ``shown_by`` says so."""
    before = before or Hat()
    after = Hat(rows={}, entries=[entry for entry in before.entries if only and entry.table not in only])
    chosen = {entity.table for entity in ENTITIES if not only or entity.table in only}
    # Parents stand before children, whether they are loaded or stay as they are.
    for entity in ENTITIES:
        if entity.table in chosen:
            load_table(entity, shown_by(pls, entity), before, after, run, today)
        elif entity.table in before.rows:
            hold_children(entity, before, after)
            warn_anew(entity, after)
    return after


def load_table(entity: Entity, rows_shown: Iterator[Shown], before: Hat, after: Hat, run: int, today: date) -> None:
    counts = after.counts[entity.table] = Counts()
    live: list[Judged] = []
    for shown in rows_shown:
        counts.read += 1
        if shown.deleted:
            counts.deleted += 1
        else:
            live.append(judge(entity, shown, today, run))
    lost = losers(entity, live)
    entries: list[Entry] = []

    def report(row: HatRow, column: str, rule: str, severity: str) -> None:
        entries.append(Entry(entity.table, row.source_recno, key_text(entity, row), column, rule, severity))

    candidates: list[Judged] = []
    for judged in live:
        if judged.row.source_recno in lost:
            counts.rejected += 1
            report(judged.row, "", "duplicate_key", "reject")
            continue
        if judged.is_bad:
            counts.rejected += 1
        else:
            candidates.append(judged)
        for column, rule, severity in judged.problems:
            report(judged.row, column, rule, severity)

    rows: dict[Key, HatRow] = {}
    behind = after.behind[entity.table] = {}
    parents = Parents(after)
    for judged in candidates:
        hard, soft = parents.missing(entity, judged.row)
        if hard:
            counts.held += 1
            report(judged.row, "", "parent_missing", "held")
            continue
        counts.loaded += 1
        rows[judged.row.key(entity.key)] = judged.row
        behind[judged.row.key(entity.key)] = judged.row.source_recno
        for _ in range(soft):
            report(judged.row, "", "parent_missing", "warning")
    for row in last_good(entity, before, live, candidates):
        if not parents.missing(entity, row)[0]:
            rows[row.key(entity.key)] = row
    counts.warnings = sum(entry.severity == "warning" for entry in entries)
    after.rows[entity.table] = rows
    after.entries += entries


def losers(entity: Entity, live: list[Judged]) -> set[int]:
    """Recnos of the rows that share a complete key, natural or alternate, with a higher Recno."""
    lost: set[int] = set()
    for columns in (entity.key, *entity.alternate_keys):
        best: dict[Key, int] = {}
        complete = [judged.row for judged in live if None not in judged.row.key(columns)]
        for row in complete:
            best[row.key(columns)] = max(row.source_recno, best.get(row.key(columns), row.source_recno))
        lost |= {row.source_recno for row in complete if row.source_recno < best[row.key(columns)]}
    return lost


def last_good(entity: Entity, before: Hat, live: list[Judged], candidates: list[Judged]) -> list[HatRow]:
    """Rows that HAT keeps: a live row has their key, none of that key is good, and no good row stands in their way."""
    there = {judged.row.key(entity.key) for judged in live}
    taken = [{judged.row.key(columns) for judged in candidates} for columns in (entity.key, *entity.alternate_keys)]
    return [
        row
        for key, row in before.rows.get(entity.table, {}).items()
        if key in there
        and not any(
            row.key(columns) in keys for columns, keys in zip((entity.key, *entity.alternate_keys), taken, strict=True)
        )
    ]


class Parents:
    """The keys of the tables that HAT holds by now."""

    def __init__(self, hat: Hat) -> None:
        self._hat = hat
        self._keys: dict[Parent, set[Key]] = {}

    def missing(self, entity: Entity, row: HatRow) -> tuple[int, int]:
        """How many hard and how many soft references of the row find no parent."""
        hard = soft = 0
        for parent in entity.parents:
            wanted = row.key(parent.columns)
            if None in wanted or wanted in self._index(parent):
                continue
            hard, soft = (hard + 1, soft) if is_hard(entity, parent) else (hard, soft + 1)
        return hard, soft

    def _index(self, parent: Parent) -> set[Key]:
        if parent not in self._keys:
            rows = self._hat.rows.get(parent.table, {}).values()
            self._keys[parent] = {row.key(parent.parent_columns) for row in rows}
        return self._keys[parent]


def hold_children(entity: Entity, before: Hat, after: Hat) -> None:
    """A table that is not loaded loses the rows whose hard parents have gone."""
    rows = after.rows[entity.table] = {}
    behind = after.behind[entity.table] = {}
    parents = Parents(after)
    for key, row in before.rows[entity.table].items():
        recno = before.behind[entity.table].get(key)
        if not parents.missing(entity, row)[0]:
            rows[key] = row
            if recno is not None:
                behind[key] = recno
        elif recno is not None:
            after.counts.setdefault(entity.table, Counts()).held += 1
            after.entries.append(Entry(entity.table, recno, key_text(entity, row), "", "parent_missing", "held"))


def warn_anew(entity: Entity, after: Hat) -> None:
    """The rows of a table that is not loaded are told of which soft parents they lack by now."""

    def is_soft(entry: Entry) -> bool:
        return entry.table == entity.table and (entry.rule, entry.severity) == ("parent_missing", "warning")

    after.entries = [entry for entry in after.entries if not is_soft(entry)]
    parents = Parents(after)
    for key, recno in after.behind[entity.table].items():
        row = after.rows[entity.table][key]
        entry = Entry(entity.table, recno, key_text(entity, row), "", "parent_missing", "warning")
        after.entries += [entry] * parents.missing(entity, row)[1]


def key_text(entity: Entity, row: HatRow) -> str:
    """The natural key as reports show it; nothing when no part of it is there."""
    if not any(value is not None for value in row.key(entity.key)):
        return ""
    return "|".join("" if value is None else str(value) for value in row.key(entity.key))
