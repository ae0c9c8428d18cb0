"""The contract's rules in plain Python, a row at a time: slow, evident, and written apart from the product's engine.

It reads the views' texts straight from the sandbox and says what a load has to report.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import psycopg

from hat_etl.entities import ENTITIES
from hat_etl.entities.model import Column, Entity, Kind
from hat_etl.protheus.dictionary import physical_name

VIEWS = Path(__file__).parents[2] / "views_sql"
STATES = set(re.findall("..", "ACALAMAPBACEDFESGOMAMGMSMTPAPBPEPIPRRJRNRORRRSSCSESPTO"))
SMALL = {Kind.SMALLINT: 2**15 - 1, Kind.INTEGER: 2**31 - 1}

Issue = tuple[str, int, str, str, str | None]
"""Table, recno, rule, severity, column."""


class Unreadable(ValueError):
    """Carries the rule that an unreadable value breaks."""


@dataclass
class Row:
    recno: int
    values: dict[str, Any]
    sources: dict[str, str]
    issues: list[Issue]


def view_sql(entity: Entity, schema: str, company: str) -> str:
    text = (VIEWS / f"{entity.view}.sql").read_text(encoding="utf-8")
    text = re.sub(r"\{bytes ([^}]+)\}", r'\1 COLLATE "C"', text)
    return re.sub(r"\{([A-Z0-9]{3})\}", lambda m: f"{schema}.{physical_name(m[1], company)}", text)


def report(connection: psycopg.Connection, company: str, today: date) -> list[Issue]:
    """Every reject, held row and warning of a load of all tables."""
    issues: list[Issue] = []
    loaded: dict[str, list[Row]] = {}
    for entity in ENTITIES:
        rows = [_read(entity, recno, values, today) for recno, values in _live(connection, entity, company)]
        losers = _losers(entity, rows)
        good = []
        for row in rows:
            if row.recno in losers:
                issues.append((entity.table, row.recno, "duplicate_key", "reject", None))
            elif any(severity == "reject" for *_, severity, _ in row.issues):
                issues += [issue for issue in row.issues if issue[3] == "reject"]
            else:
                good.append(row)
        loaded[entity.table] = _with_parents(entity, good, loaded, issues)
        for row in loaded[entity.table]:
            issues += row.issues
    return issues


def _live(connection: psycopg.Connection, entity: Entity, company: str) -> Iterator[tuple[int, dict[str, Any]]]:
    cursor = connection.execute(view_sql(entity, "protheus", company))
    names = [column.name for column in cursor.description or ()]
    for record in cursor:
        row = dict(zip(names, record, strict=True))
        if not row["excluido"]:
            yield row["recno"], {column.name: row[column.alias.lower()] for column in entity.columns}


def _read(entity: Entity, recno: int, raw: dict[str, Any], today: date) -> Row:
    row = Row(recno, {}, {}, [])

    def tell(rule: str, rejects: bool, column: Column) -> None:
        row.issues.append((entity.table, recno, rule, "reject" if rejects else "warning", column.name))

    for column in entity.columns:
        value = raw[column.name]
        source = "" if value is None else str(value)
        if re.search(r"[\x00-\x1f\x7f-\x9f]", source):
            tell("control_character", False, column)
            source = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", source)
        row.sources[column.name] = source.strip(" ")
        try:
            row.values[column.name] = _convert(column, source, value)
        except Unreadable as error:
            row.values[column.name] = None
            tell(str(error), column.required, column)
            continue
        text = row.values[column.name]
        if text is None and column.required:
            tell("required", True, column)
        if column.kind is Kind.TEXT and text is not None and len(text) > column.width:
            tell("too_long", column.name in entity.key_columns, column)
            row.values[column.name] = text[: column.width].rstrip(" ")
    for column in entity.columns:
        for rule in column.rules:
            # A flag that no code of the map stands for is NULL by now, and reported here.
            held_back = rule.name == "map" and row.sources[column.name]
            if row.values[column.name] is None and not held_back:
                continue
            if not _passes(rule.name, rule.argument, column, row, today):
                tell(rule.name, rule.rejects, column)
    return row


def _convert(column: Column, source: str, value: Any) -> Any:
    text = source.strip(" ")
    if column.numeric_source:
        return _number(column, Decimal(repr(float(value))) if value is not None else None)
    match column.kind:
        case Kind.TEXT:
            if column.source.is_concatenation and (len(text) != column.width or " " in text):
                return None
            text = text.upper() if column.rule("upper") else text
            return text or None
        case Kind.DATE:
            return _date(text)
        case Kind.FLAG:
            rule = column.rule("map")
            assert rule is not None
            return rule.mapping.get(text)
        case _:
            try:
                return _number(column, Decimal(text)) if text else None
            except InvalidOperation:
                raise Unreadable("invalid_number") from None


def _date(text: str) -> date | None:
    if not text.strip("0 "):
        return None
    try:
        if not re.fullmatch(r"\d{8}", text):
            raise ValueError
        day = date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        raise Unreadable("invalid_date") from None
    if not date(1900, 1, 1) <= day <= date(2199, 12, 31):
        raise Unreadable("invalid_date")
    return day


def _number(column: Column, value: Decimal | None) -> Decimal | None:
    if value is None:
        return None
    if not value.is_finite():
        raise Unreadable("invalid_number")
    rounded = value.quantize(Decimal(1).scaleb(-column.scale), ROUND_HALF_UP)
    limit = SMALL.get(column.kind, 10 ** (column.width - column.scale) - 1)
    if abs(int(rounded)) > limit:
        raise Unreadable("invalid_number")
    return rounded


def _passes(rule: str, argument: str, column: Column, row: Row, today: date) -> bool:
    value = row.values[column.name]
    match rule:
        case "upper":
            return True
        case "cpf":
            return is_cpf(value)
        case "cnpj":
            return is_cnpj(value)
        case "cpf_or_cnpj":
            return is_cpf(value) if len(value) == 11 else is_cnpj(value)
        case "cns":
            return is_cns(value)
        case "cep":
            return re.fullmatch(r"\d{8}", value) is not None and value != "00000000"
        case "uf":
            return value in STATES
        case "ans_registry":
            return re.fullmatch(r"\d{6}", value) is not None
        case "cnes":
            return re.fullmatch(r"\d{7}", value) is not None
        case "digits":
            return re.fullmatch(r"\d+", value) is not None
        case "email":
            return re.fullmatch(r"[^@\s]+@[^@\s]*\.[^@\s]*", value) is not None
        case "in":
            return row.sources[column.name] in argument.split(",")
        case "map":
            return value is not None
        case "not_future":
            return value <= today
        case "not_before":
            other = row.values[argument]
            return other is None or value >= other
        case "positive":
            return value > 0
        case "non_negative":
            return value >= 0
        case "check_digit":
            return re.fullmatch(r"\d{17}", value) is not None and value[16] == _card_digit(value[:16])
    raise AssertionError(f"rule {rule} is not known here")


def _modulo_11(values: list[int], weights: list[int]) -> int:
    return sum(v * w for v, w in zip(values, weights, strict=True)) % 11


def is_cpf(text: str) -> bool:
    if not re.fullmatch(r"\d{11}", text) or len(set(text)) == 1:
        return False
    digits = [int(d) for d in text]
    return all(digits[n] == _modulo_11(digits[:n], list(range(n + 1, 1, -1))) * 10 % 11 % 10 for n in (9, 10))


def is_cns(text: str) -> bool:
    if not re.fullmatch(r"[12789]\d{14}", text):
        return False
    return _modulo_11([int(d) for d in text], list(range(15, 0, -1))) == 0


def is_cnpj(text: str) -> bool:
    if not re.fullmatch(r"[0-9A-Z]{12}\d\d", text) or (text.isdigit() and len(set(text)) == 1):
        return False
    values = [ord(c) - 48 for c in text]
    weights = [6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2]
    return all(values[n] == _modulo_11(values[:n], weights[13 - n :]) * 10 % 11 % 10 for n in (12, 13))


def _card_digit(card: str) -> str:
    weights = [9, 8, 7, 6, 5, 4, 3, 2] * 2
    digit = 11 - _modulo_11([int(d) for d in card], weights)
    return "0" if digit > 9 else str(digit)


def _losers(entity: Entity, rows: list[Row]) -> set[int]:
    losers: set[int] = set()
    for key in entity.keys:
        best: dict[tuple[Any, ...], int] = {}
        for row in sorted(rows, key=lambda row: -row.recno):
            parts = tuple(row.values[column] for column in key)
            if None not in parts and best.setdefault(parts, row.recno) != row.recno:
                losers.add(row.recno)
    return losers


def _with_parents(entity: Entity, rows: list[Row], loaded: dict[str, list[Row]], issues: list[Issue]) -> list[Row]:
    known = {
        parent: {tuple(row.values[column] for column in parent.parent_columns) for row in loaded[parent.table]}
        for parent in entity.parents
    }
    kept = []
    for row in rows:
        missing = []
        for parent in entity.parents:
            parts = tuple(row.values[column] for column in parent.columns)
            if None not in parts and parts not in known[parent]:
                missing.append(parent)
        if any(entity.is_hard(parent) for parent in missing):
            issues.append((entity.table, row.recno, "parent_missing", "held", None))
            continue
        row.issues += [(entity.table, row.recno, "parent_missing", "warning", None) for _ in missing]
        kept.append(row)
    return kept
