"""Reading one column of a raw batch: clean, convert, check. One class per kind of column."""

from __future__ import annotations

import datetime
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import pyarrow as pa

from hat_etl.entities.model import Column, Kind
from hat_etl.transform import clean, convert, rules
from hat_etl.transform.convert import Values
from hat_etl.transform.findings import Findings
from hat_etl.transform.texts import Mask, Rows, Texts, is_text
from hat_etl.transform.vocabulary import Vocabulary

_Check = TypeVar("_Check")


@dataclass(frozen=True)
class Read:
    """A column as HAT will hold it; for dates also what comparing it with another column takes."""

    array: pa.Array
    source: Texts | None = None
    values: Values | None = None


class Reader(ABC):
    """Reads one column; made once, called with every batch."""

    def __init__(self, column: Column) -> None:
        self.column = column
        codes = column.rule("in")
        self._codes = Vocabulary(codes.values) if codes else None

    @abstractmethod
    def __call__(self, raw: pa.Array, findings: Findings) -> Read:
        """The column's values; what fails is noted in ``findings``."""

    def _clean(self, raw: pa.Array, findings: Findings) -> Texts:
        if not is_text(raw.type):
            raise TypeError(f"{self.column.name}: text is expected and {raw.type} arrives")
        source, controlled = clean.clean(raw)
        findings.add(self.column, "control_character", controlled, source.take, rejects=False)
        return source

    def _check_codes(self, texts: Texts, source: Texts, findings: Findings) -> None:
        """The rule ``in``, which asks the source text whatever becomes of the value."""
        if self._codes:
            self._check("in", self._codes.unlisted(texts), source.take, findings)

    def _check(self, rule: str, failed: Mask, take: Callable[[Rows], pa.Array], findings: Findings) -> None:
        declared = self.column.rule(rule)
        findings.add(self.column, rule, failed, take, rejects=declared is not None and declared.rejects)

    def _require(self, empty: Mask, take: Callable[[Rows], pa.Array], findings: Findings) -> None:
        if self.column.required:
            findings.add(self.column, "required", empty, take, rejects=True)


class TextReader(Reader):
    def __init__(self, column: Column, *, keyed: bool) -> None:
        """``keyed``: the column belongs to a key or a hard reference, where nothing may be cut."""
        super().__init__(column)
        self._keyed = keyed
        self._upper = column.rule("upper") is not None
        self._checks = _checks(column, rules.TEXT_CHECKS, but=("in", "upper"))

    def __call__(self, raw: pa.Array, findings: Findings) -> Read:
        column = self.column
        source = texts = self._clean(raw, findings)
        if column.source.is_concatenation:
            texts = texts.without(clean.incomplete(texts, column.width))
        if column.source.constant:
            texts = clean.fill(texts, column.source.constant)
        if self._upper:
            texts = clean.upper(texts)
        self._require(~texts.filled, source.take, findings)
        coded = texts
        long = clean.too_long(texts, column.width)
        texts = texts.without(long) if self._keyed else clean.cut(texts, long, column.width)
        findings.add(column, "too_long", long, source.take, rejects=self._keyed)
        self._check_codes(coded, source, findings)
        for rule, check in self._checks:
            self._check(rule, check(texts), source.take, findings)
        return Read(texts.array)


class DateReader(Reader):
    def __init__(self, column: Column, *, today: datetime.date) -> None:
        super().__init__(column)
        not_future = partial(rules.not_future, today=convert.day_number(today))
        self._checks = _checks(column, {"not_future": not_future}, but=("not_before",))
        constant = column.source.constant
        self._blank = datetime.datetime.strptime(constant, "%Y%m%d").date() if constant else None

    def __call__(self, raw: pa.Array, findings: Findings) -> Read:
        source = self._clean(raw, findings)
        values = convert.days(source, self._blank)
        findings.add(self.column, "invalid_date", values.unreadable, source.take, rejects=self.column.required)
        self._require(~values.filled & ~values.unreadable, source.take, findings)
        for rule, check in self._checks:
            self._check(rule, check(values), source.take, findings)
        return Read(values.array(self.column.arrow_type), source, values)

    def compare(self, own: Read, other: Read, findings: Findings) -> None:
        """The rule ``not_before``, once both columns are read."""
        if own.source is None or own.values is None or other.values is None:
            raise ValueError(f"{self.column.name}: not_before compares dates only")
        self._check("not_before", rules.not_before(own.values, other.values), own.source.take, findings)


class NumberReader(Reader):
    """Numbers arrive as doubles, as whole numbers, or as decimal text."""

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        self._checks = _checks(column, rules.NUMBER_CHECKS, but=() if column.numeric_source else ("in",))

    def __call__(self, raw: pa.Array, findings: Findings) -> Read:
        if pa.types.is_decimal(raw.type):
            raw = raw.cast(pa.string())
        if self.column.numeric_source and not is_text(raw.type):
            return self._checked(convert.numbers(raw, self.column), partial(_written, raw), findings)
        source = self._clean(raw, findings)
        read = self._checked(convert.decimals(source, self.column), source.take, findings)
        self._check_codes(source, source, findings)
        return read

    def _checked(self, values: Values, take: Callable[[Rows], pa.Array], findings: Findings) -> Read:
        findings.add(self.column, "invalid_number", values.unreadable, take, rejects=self.column.required)
        self._require(~values.filled & ~values.unreadable, take, findings)
        for rule, check in self._checks:
            self._check(rule, check(values), take, findings)
        return Read(values.array(self.column.arrow_type))


class FlagReader(Reader):
    """Flags arrive as codes, which the rule ``map`` translates."""

    def __init__(self, column: Column) -> None:
        super().__init__(column)
        rule = column.rule("map")
        if rule is None:
            raise ValueError(f"{column.name}: a flag needs the rule map")
        _checks(column, {}, but=("map",))
        self._map, self._stored = Vocabulary(rule.mapping), tuple(rule.mapping.values())
        self._rejects = rule.rejects or column.required

    def __call__(self, raw: pa.Array, findings: Findings) -> Read:
        source = self._clean(raw, findings)
        array, unlisted = convert.flags(source, self._map, self._stored)
        findings.add(self.column, "map", unlisted, source.take, rejects=self._rejects)
        self._require(~source.filled, source.take, findings)
        return Read(array)


def reader(column: Column, *, keyed: bool, today: datetime.date) -> Reader:
    """The reader for the kind of ``column``."""
    match column.kind:
        case Kind.TEXT:
            return TextReader(column, keyed=keyed)
        case Kind.DATE:
            return DateReader(column, today=today)
        case Kind.FLAG:
            return FlagReader(column)
        case Kind.SMALLINT | Kind.INTEGER | Kind.AMOUNT:
            return NumberReader(column)


def _checks(column: Column, known: Mapping[str, _Check], *, but: Container[str]) -> tuple[tuple[str, _Check], ...]:
    """The checks that the rules of ``column`` ask for, by rule name; those of ``but`` are seen to elsewhere."""
    found = []
    for rule in column.rules:
        if rule.name in but:
            continue
        token = rule.token.removesuffix("!")
        if token not in known:
            raise ValueError(f"{column.name}: rule {rule.token} does not fit a column of kind {column.kind.value}")
        found.append((rule.name, known[token]))
    return tuple(found)


def _written(raw: pa.Array, rows: Rows) -> pa.Array:
    """Numbers of ``rows`` as text."""
    return raw.take(pa.array(rows)).cast(pa.string())
