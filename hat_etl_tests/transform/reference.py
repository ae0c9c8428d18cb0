"""The contract's rules for one row at a time, in the plainest Python: what the vectorised transform is held against.

Nothing here is shared with the transform except the entities' declarations.
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from hat_etl.entities.model import Column, Entity, Kind, Rule

STATES = [
    "AC", "AL", "AP", "AM", "BA", "CE", "DF", "ES", "GO", "MA", "MT", "MS", "MG", "PA",
    "PB", "PR", "PE", "PI", "RJ", "RN", "RS", "RO", "RR", "SC", "SP", "SE", "TO",
]  # fmt: skip


@dataclass(frozen=True)
class Issue:
    column: str
    rule: str
    severity: str
    value: str | None


@dataclass
class Row:
    """What becomes of one live row; amounts are in units of their last place, to stay exact."""

    values: dict[str, Any] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)

    @property
    def rejected(self) -> bool:
        return any(issue.severity == "reject" for issue in self.issues)

    def key(self, entity: Entity) -> str | None:
        parts = [self.values[name] for name in entity.key]
        if all(part is None for part in parts):
            return None
        return "|".join("" if part is None else str(part) for part in parts)


def transform(entity: Entity, raw: dict[str, Any], today: datetime.date) -> Row:
    row = Row()
    for column in entity.columns:
        _column(entity, column, raw[column.name], row, today)
    for column in entity.columns:
        rule = column.rule("not_before")
        own, other = row.values[column.name], rule and row.values[rule.argument]
        if rule and own and other and own < other:
            _fail(row, column, "not_before", rule.rejects, _trimmed(raw[column.name])[0])
    order = [column.name for column in entity.columns]
    row.issues.sort(key=lambda issue: order.index(issue.column))
    return row


def _fail(row: Row, column: Column, rule: str, rejects: bool, value: str | None) -> None:
    row.issues.append(Issue(column.name, rule, "reject" if rejects else "warning", None if column.secret else value))


def _column(entity: Entity, column: Column, raw: Any, row: Row, today: datetime.date) -> None:
    source, controlled = _trimmed(raw) if raw is None or isinstance(raw, str) else (written(raw), False)
    if controlled:
        _fail(row, column, "control_character", False, source)
    stored: Any = source
    unreadable = None
    if column.source.is_concatenation and source is not None and (len(source) != column.width or " " in source):
        stored = None
    if column.source.constant and (stored is None or (column.kind is Kind.DATE and set(stored) == {"0"})):
        stored = column.source.constant
    if column.rule("upper") and stored is not None:
        stored = stored.upper()
    coded = stored  # what `in` asks: the text before it is cut or converted
    match column.kind:
        case Kind.TEXT:
            if stored is not None and len(stored) > column.width:
                if column.name in entity.key_columns:
                    unreadable, stored = "too_long", None
                else:
                    _fail(row, column, "too_long", False, source)
                    stored = stored[: column.width].strip(" ")
        case Kind.DATE:
            stored = None if stored is None or set(stored) == {"0"} else stored
            if stored is not None and (stored := day(stored)) is None:
                unreadable = "invalid_date"
        case Kind.FLAG:
            mapping = column.rule("map").mapping
            if stored is not None and stored not in mapping:
                unreadable = "map"
            stored = mapping.get(stored)
        case _:
            if raw is not None and stored is not None and (stored := units(raw, column)) is None:
                unreadable = "invalid_number"
    if unreadable:
        _fail(row, column, unreadable, column.required or unreadable == "too_long", source)
    elif stored is None and column.required:
        _fail(row, column, "required", True, source)
    for rule in column.rules:
        asked = coded if rule.name == "in" else stored
        if asked is not None and rule.name not in ("map", "upper", "not_before") and not good(rule, asked, today):
            _fail(row, column, rule.name, rule.rejects, source)
    row.values[column.name] = stored


def _trimmed(text: str | None) -> tuple[str | None, bool]:
    if text is None:
        return None, False
    cleaned = "".join(" " if is_control(character) else character for character in text)
    return cleaned.strip(" ") or None, cleaned != text


def is_control(character: str) -> bool:
    return ord(character) <= 0x1F or 0x7F <= ord(character) <= 0x9F


def written(number: float | int) -> str:
    """A number as text: without the point where it is whole."""
    return repr(number).removesuffix(".0")


def day(text: str) -> datetime.date | None:
    if not re.fullmatch("[0-9]{8}", text) or not 1900 <= int(text[:4]) <= 2199:
        return None
    try:
        return datetime.date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        return None


def units(raw: float | int | str, column: Column) -> int | None:
    """The number in units of the column's last place; None when there is none or it is out of range."""
    text = _trimmed(raw)[0] if isinstance(raw, str) else repr(raw)
    form = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?" if column.numeric_source else "[+-]?[0-9]+"
    if not re.fullmatch(form, text):
        return None
    exact = Fraction(text.rstrip(".")) if "e" not in text.lower() else Fraction(re.sub(r"\.([eE])", r"\1", text))
    rounded = int(abs(exact) * 10**column.scale + Fraction(1, 2)) * (-1 if exact < 0 else 1)
    match column.kind:
        case Kind.SMALLINT:
            inside = -(2**15) <= rounded < 2**15
        case Kind.INTEGER:
            inside = -(2**31) <= rounded < 2**31
        case _:
            inside = abs(rounded) < 10**column.width
    return rounded if inside else None


def good(rule: Rule, value: Any, today: datetime.date) -> bool:
    match rule.name:
        case "in":
            return value in rule.argument.split(",")
        case "not_future":
            return value <= today
        case "positive":
            return value > 0
        case "non_negative":
            return value >= 0
        case name:
            return text_is_good(name, value)


def text_is_good(rule: str, text: str) -> bool:
    match rule:
        case "digits":
            return re.fullmatch("[0-9]+", text) is not None
        case "ans_registry":
            return re.fullmatch("[0-9]{6}", text) is not None
        case "cnes":
            return re.fullmatch("[0-9]{7}", text) is not None
        case "cep":
            return re.fullmatch("[0-9]{8}", text) is not None and set(text) != {"0"}
        case "uf":
            return text in STATES
        case "email":
            before, _, domain = text.partition("@")
            return text.count("@") == 1 and before != "" and "." in domain and " " not in text
        case "cpf":
            return (
                re.fullmatch("[0-9]{11}", text) is not None and len(set(text)) > 1 and text[9:] == cpf_digits(text[:9])
            )
        case "cnpj":
            return (
                re.fullmatch("[0-9A-Z]{12}[0-9]{2}", text) is not None
                and len(set(text)) > 1
                and text[12:] == cnpj_digits(text[:12])
            )
        case "cpf_or_cnpj":
            return text_is_good({11: "cpf", 14: "cnpj"}.get(len(text), "nothing"), text)
        case "cns":
            return re.fullmatch("[12789][0-9]{14}", text) is not None and cns_sum(text) % 11 == 0
        case "check_digit":
            return re.fullmatch("[0-9]{17}", text) is not None and text[16] == card_digit(text[:16])
        case _:
            return False


def cpf_digits(nine: str) -> str:
    first = _mod11(sum(int(digit) * weight for digit, weight in zip(nine, range(10, 1, -1), strict=True)))
    return first + _mod11(sum(int(d) * weight for d, weight in zip(nine + first, range(11, 1, -1), strict=True)))


def cnpj_digits(twelve: str) -> str:
    weights = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]
    values = [ord(character) - 48 for character in twelve]
    first = _mod11(sum(v * weight for v, weight in zip(values, weights[1:], strict=True)))
    return first + _mod11(sum(v * weight for v, weight in zip([*values, int(first)], weights, strict=True)))


def cns_sum(fifteen: str) -> int:
    return sum(int(digit) * (15 - place) for place, digit in enumerate(fifteen))


def card_digit(sixteen: str) -> str:
    return _mod11(sum(int(digit) * (2 + place % 8) for place, digit in enumerate(reversed(sixteen))))


def _mod11(total: int) -> str:
    digit = 11 - total % 11
    return "0" if digit >= 10 else str(digit)
