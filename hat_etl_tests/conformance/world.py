"""PLS tables full of every kind of value that the contract speaks of, coherent enough that much of it is loaded.

Deterministic: the same seed makes the same rows.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Any

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import Column, Entity, Kind
from hat_etl_tests.conformance import model
from hat_etl_tests.conformance.model import DELETED, RECNO, STAMP, Pls, PlsRow
from hat_etl_tests.views import pls as physical

STAMPLESS = ("BAQ", "BA3", "BDL", "BFO")
"""Tables for which the operator has not switched row stamps on; BA3 is joined to BA1."""
WIDER = 4
"""Characters by which fields are wider than the contract has them, where a value may be too long."""

PEOPLE = ("Ana Conceição", "José d'Ávila", "Zoë “Zô” Brandão", "Ítalo — €uro", "Maria  das Dores", "\u00a0Luís")
CPFS = ("52998224725", "11144477735", "00000000191")
CNPJS = ("11222333000181", "12ABC34501DE35")
CNSS = ("700000000001249", "100000000000007", "898000000000000")


def widths() -> dict[str, int]:
    """Characters of every text field. Parts of a concatenation have their size, others have room for long values."""
    exact = {
        name
        for entity in ENTITIES
        for column in entity.columns
        if column.source.is_concatenation
        for name in column.source.fields
    }
    found = {}
    for names in physical.tables().values():
        for name in names:
            if not physical.is_number(name):
                found[name] = physical.width(name) + (0 if name in exact else WIDER)
    return found


class World:
    """Makes ``pls``, and changes it as an ERP changes."""

    def __init__(self, seed: int, today: date) -> None:
        self.random = random.Random(seed)
        self.today = today
        self.pls = Pls(widths(), STAMPLESS)
        self.core: dict[str, list[dict[str, str]]] = {}
        """Table to what its view shows of the rows that are good and that others refer to."""
        self._numbers: dict[str, int] = {}
        for entity in ENTITIES:
            self._populate(entity)

    # -- making rows -------------------------------------------------------------------------------------------------

    def _populate(self, entity: Entity) -> None:
        core = [self.add(entity, self.clean(entity)) for _ in range(self._core_size(entity))]
        self._sweep(entity)
        self._duplicates(entity)
        self._orphans(entity)
        self.core[entity.table] = [self._shown(entity, row) for row in core]
        for _ in range(12):
            self.add(entity, self.clean(entity, self._everything))
        for _ in range(12):
            row = self.clean(entity)
            for column in self.random.sample(entity.columns, min(3, len(entity.columns))):
                self._spoil(row, column)
            self.add(entity, row)
        if entity.reads[0] == "BR4":
            for row in self.pls.rows("BR4"):
                row["BR4_SEGMEN"] = self.random.choice(["", "001", "002", "a", "B", "0"])

    def _sweep(self, entity: Entity) -> None:
        """Every nasty value of every column: of those that decide a row's fate alone, of the others side by side."""
        deciding = [column for column in entity.columns if column.required]
        for column in deciding:
            for value in nasty(column, self.today):
                row = self.clean(entity)
                write(self.pls, row, column, value)
                self.add(entity, row)
        others = {column: nasty(column, self.today) for column in entity.columns if column not in deciding}
        for number in range(max((len(values) for values in others.values()), default=0)):
            row = self.clean(entity)
            for column, values in others.items():
                if number < len(values):
                    write(self.pls, row, column, values[number])
            self.add(entity, row)

    @staticmethod
    def _core_size(entity: Entity) -> int:
        if entity.table == "health_insurers":
            return 2  # few, so that much belongs together
        narrow = all(entity[column].width == 1 for column in entity.key)
        return 5 if narrow else 20

    def _shown(self, entity: Entity, row: PlsRow) -> dict[str, str]:
        return {
            column.name: str(model.source_value(self.pls, column, row, None) or "").rstrip(" ")
            for column in entity.columns
            if not column.numeric_source
        }

    def _everything(self, table: str) -> list[dict[str, str]]:
        """A dozen rows of any fate."""
        entity = BY_TABLE[table]
        return [self._shown(entity, row) for row in self.random.choices(self.pls.rows(entity.reads[0]), k=12)]

    def _core(self, table: str) -> list[dict[str, str]]:
        return self.core[table]

    def clean(self, entity: Entity, parents: Any = None) -> PlsRow:
        """A row that is good and refers to ``parents`` (the core ones), with a key of its own as far as that goes."""
        number = self._numbers[entity.table] = self._numbers.get(entity.table, -1) + 1
        row: PlsRow = {}
        stride = number
        for parent in sorted(entity.parents, key=lambda parent: not model.is_hard(entity, parent)):
            have = self._known(entity, row)
            fitting = [
                candidate
                for candidate in (parents or self._core)(parent.table)
                if all(
                    have.get(ours, candidate[theirs]) == candidate[theirs]
                    for ours, theirs in zip(parent.columns, parent.parent_columns, strict=True)
                )
            ]
            if not fitting:
                continue
            if model.is_hard(entity, parent) and parents is None:
                chosen = fitting[stride % len(fitting)]
                stride //= len(fitting)
            else:
                chosen = self.random.choice(fitting)
            for ours, theirs in zip(parent.columns, parent.parent_columns, strict=True):
                write(self.pls, row, entity[ours], chosen[theirs])
        have = self._known(entity, row)
        for column in entity.columns:
            if column.name in have or not column.source.fields:
                continue
            in_key = any(column.name in key for key in entity.keys)
            if column.source.is_concatenation and in_key and any(name in row for name in column.source.fields):
                continue  # its parts are columns too
            value = code(column, number) if in_key else self._good(column)
            if column.name == "health_insurer_id" and self.core:
                # A code of health_insurers also where the contract has no reference: rows below refer to both.
                value = self.random.choice(self.core["health_insurers"])[column.name]
            write(self.pls, row, column, value)
        for column in entity.columns:
            if column.rule("check_digit"):
                *body, digit = column.source.fields
                row[digit] = model.card_digit("".join(row[name] for name in body))
        return row

    def _known(self, entity: Entity, row: PlsRow) -> dict[str, str]:
        return {
            column.name: str(model.source_value(self.pls, column, row, None)).rstrip(" ")
            for column in entity.columns
            if column.source.fields and all(name in row for name in column.source.fields)
        }

    def _good(self, column: Column) -> Any:
        pick = self.random.choice
        if column.kind is Kind.DATE:
            years = (2021, 2030) if column.rule("not_before") else (1930, 2020)
            return f"{self.random.randint(*years)}{pick(('0131', '0229', '0615', '1231'))}".replace("0229", "0228")
        if column.numeric_source:
            return float(pick((0, 1, 2, 30, 180))) + (pick((0.0, 0.25, 0.5)) if column.kind is Kind.AMOUNT else 0.0)
        if rule := column.rule("in") or column.rule("map"):
            return pick([item.partition("=")[0] for item in rule.argument.split(",")])
        for rule, values in GOOD.items():
            if column.rule(rule):
                return pick(values)
        if self.random.random() < 0.2 and not column.required:
            return ""
        text = pick(PEOPLE) if column.width > 20 else code(column, self.random.randint(1, 99))
        return text[: column.width]

    def add(self, entity: Entity, row: PlsRow, recno: int | None = None) -> PlsRow:
        alias = entity.reads[0]
        rows = self.pls.rows(alias)
        row[RECNO] = recno or max((other[RECNO] for other in rows), default=0) + self.random.choice((1, 1, 1, 7))
        row[f"{alias}_FILIAL"] = self.random.choice(("", "", "01"))
        row.setdefault(DELETED, " ")
        row[STAMP] = self.random.choice([None, *[datetime(2024, 1, 1)] * 9])
        if row[STAMP] is not None:
            row[STAMP] += timedelta(microseconds=self.random.randrange(10**14))
        rows.append(row)
        return row

    def _spoil(self, row: PlsRow, column: Column) -> None:
        values = nasty(column, self.today)
        if values:
            write(self.pls, row, column, self.random.choice(values))

    def _spoilers(self, entity: Entity) -> list[tuple[Column, Any]]:
        """Values that reject a row and leave all of its keys as they are."""
        in_keys = {column for key in entity.keys for column in key}
        found: list[tuple[Column, Any]] = [
            (column, "") for column in entity.columns if column.required and column.name not in in_keys
        ]
        found += [(c, "?") for c in entity.columns if (rule := c.rule("in")) and rule.rejects and c.name not in in_keys]
        touched = {name for key in entity.keys for column in key for name in entity[column].source.fields}
        return [(column, value) for column, value in found if not touched.intersection(column.source.fields)]

    def _duplicates(self, entity: Entity) -> None:
        spoilers = self._spoilers(entity)

        def several(*makings: str) -> None:
            first = self.clean(entity)
            for making in makings:
                row = {name: value for name, value in first.items() if name not in (RECNO, STAMP)}
                if making == "bad" and spoilers:
                    write(self.pls, row, *self.random.choice(spoilers))
                if making == "deleted":
                    row[DELETED] = "*"
                if making == "other":  # another natural key, the same alternate keys
                    self._move(entity, row)
                if making == "empty":
                    self._move(entity, row, to_blank=True)
                if making == "warned":
                    self._warn(entity, row)
                self.add(entity, row)

        for makings in (
            ("good", "good"), ("good", "warned"), ("warned", "good", "good"), ("good", "bad"), ("bad", "good"),
            ("bad", "good", "bad"), ("good", "deleted"), ("deleted", "good"), ("deleted", "bad", "deleted"),
        ):  # fmt: skip
            several(*makings)
        if entity.alternate_keys:
            for makings in (
                ("good", "other"), ("good", "other", "bad"), ("good", "other", "good"), ("good", "empty"),
                ("good", "other", "empty"), ("empty", "good"), ("other", "deleted", "good"), ("good", "other", "other"),
            ):  # fmt: skip
                several(*makings)

    def _move(self, entity: Entity, row: PlsRow, *, to_blank: bool = False) -> None:
        alternate = {name for key in entity.alternate_keys for column in key for name in entity[column].source.fields}
        own = [name for column in entity.key for name in entity[column].source.fields if name not in alternate]
        for name in own:
            row[name] = "" if to_blank else code_of(self.random.randrange(10), self.pls.widths[name])

    def _warn(self, entity: Entity, row: PlsRow) -> None:
        in_keys = {name for key in entity.keys for column in key for name in entity[column].source.fields}
        spare = [c for c in entity.columns if not c.required and not in_keys.intersection(c.source.fields)]
        if spare:
            self._spoil(row, self.random.choice(spare))

    def _orphans(self, entity: Entity) -> None:
        for parent in entity.parents:
            for column in parent.columns:
                row = self.clean(entity)
                write(self.pls, row, entity[column], "~" * entity[column].width)
                self.add(entity, row)
                row = self.clean(entity)
                if not entity[column].required:
                    write(self.pls, row, entity[column], "")
                self.add(entity, row)

    # -- changing rows -----------------------------------------------------------------------------------------------

    def change(self, tables: Iterable[str] = (), *, share: float = 0.25) -> None:
        """What happens in an ERP between two loads, to about ``share`` of the rows of ``tables`` (all)."""
        chosen = set(tables)
        for entity in ENTITIES:
            if chosen and entity.table not in chosen:
                continue
            rows = self.pls.rows(entity.reads[0])
            for row in list(rows):
                if self.random.random() < share:
                    self._change(entity, rows, row)
            for _ in range(3):
                self.add(entity, self.clean(entity, self._everything))
            if spoilers := self._spoilers(entity):
                for row in self.random.sample(rows, len(rows) // 10):
                    write(self.pls, row, *self.random.choice(spoilers))
                if entity.alternate_keys:
                    self._rivals(entity, rows)

    def _change(self, entity: Entity, rows: list[PlsRow], row: PlsRow) -> None:
        match self.random.randrange(6):
            case 0:
                row[DELETED] = "*"
            case 1:
                row[DELETED] = " "
            case 2:
                rows.remove(row)
            case 3:  # re-included under a new Recno
                again = {name: value for name, value in row.items() if name not in (RECNO, STAMP)}
                row[DELETED] = "*"
                again[DELETED] = " "
                self.add(entity, again)
            case 4:
                for column in entity.columns:  # mended
                    in_key = any(column.name in key for key in entity.keys)
                    if column.source.fields and not in_key and not column.source.is_concatenation:
                        write(self.pls, row, column, self._good(column))
            case 5:
                self._spoil(row, self.random.choice(entity.columns))

    def _rivals(self, entity: Entity, rows: list[PlsRow]) -> None:
        """New rows that take an alternate key of older ones, some of them bad."""
        for row in self.random.sample(rows, 20):
            rival = {name: value for name, value in row.items() if name not in (RECNO, STAMP, DELETED)}
            self._move(entity, rival)
            if self.random.random() < 0.5:
                write(self.pls, rival, *self.random.choice(self._spoilers(entity)))
            self.add(entity, rival)


GOOD = {
    "cpf": CPFS,
    "cnpj": CNPJS,
    "cpf_or_cnpj": (*CPFS, *CNPJS),
    "cns": CNSS,
    "cep": ("01310100", "30140071"),
    "uf": ("SP", "mg", "Rj"),
    "ans_registry": ("412345", "000027"),
    "cnes": ("2077485", "0000001"),
    "email": ("a@b.com.br", "josé.lima@hospital.org"),
    "upper": ("CRM", "cro", "Coren"),
    "digits": ("1", "0", "7"),
}


def write(pls: Pls, row: PlsRow, column: Column, value: Any) -> None:
    """Put ``value`` where the column comes from, as far as the driving row goes."""
    source = column.source
    if source.is_concatenation:
        start = 0
        for name in source.fields:
            row[name] = value[start : start + pls.widths[name]].rstrip(" ")
            start += pls.widths[name]
    elif source.fields and not source.slice:
        row[source.fields[0]] = value if column.numeric_source else value[: pls.widths[source.fields[0]]].rstrip(" ")


def code(column: Column, number: int) -> Any:
    """The ``number``th good value of a key column."""
    if column.numeric_source:
        return float(number)
    if column.kind is Kind.DATE:
        return f"{date(2000, 1, 1) + timedelta(days=number):%Y%m%d}"
    if rule := column.rule("in"):
        values = rule.argument.split(",")
        return values[number % len(values)]
    return code_of(number, column.width, digits=column.width > 2 or bool(column.rule("digits")))


def code_of(number: int, width: int, *, digits: bool = True) -> str:
    if digits:
        return str(number % 10**width).zfill(width)
    symbols = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ" + "abcdefghijklmnopqrstuvwxyz"
    text = ""
    for _ in range(width):
        number, rest = divmod(number, len(symbols))
        text = symbols[rest] + text
    return text


def nasty(column: Column, today: date) -> list[Any]:
    """Values at the borders of what is good for the column, and beyond."""
    source = column.source
    if not source.fields or source.slice:
        return []
    if column.numeric_source:
        return list(NUMBERS)
    if source.is_concatenation:
        n = column.width
        body = "12345678901234567890"[:n]
        return [
            body[: n - 1],
            " " + body[1:],
            body[:3] + " " + body[4:],
            body[:3] + "\x02" + body[4:],
            "A" + body[1:],
            "",
        ]
    if column.kind is Kind.DATE:
        return [*DATES, f"{today:%Y%m%d}", f"{today + timedelta(days=1):%Y%m%d}", f"{today - timedelta(days=1):%Y%m%d}"]
    if column.kind in (Kind.SMALLINT, Kind.INTEGER):
        return ["", "1", "2", "3", "x", "99999", "0", "-1"]
    n = column.width or 1
    texts = [
        "",
        " x"[: n + 1],
        "\x01",
        "é",
        "\u0085",
        "7\x7f",
        "\u00a0",
        "ab",
        "L" * n,
        "L" * (n + 1),
        "M" * (n - 1) + "  Z",
    ]
    texts += ["0" * n, "9" * n, "5" * (n + 2), "a\tb", " 1", "1 "]
    for rule in column.rules:
        texts += NASTY.get(rule.name, [])
        if rule.name in ("in", "map"):
            texts += [item.partition("=")[0] for item in rule.argument.split(",")]
            texts += ["?", "s", "10", "\x031"]
    return list(dict.fromkeys(texts))


NUMBERS = (
    0.0, -0.0, 1.0, 1.005, 2.675, 0.5, 1.5, 2.5, -0.4, -0.5, -2.5, 0.004, 0.005, -0.004, -0.005, 0.00005, 12345.67855,
    32767.0, 32767.4, 32767.5, -32768.4, -32769.0, 2147483647.4, 2147483647.5, 99999999999999.98, 999999999999.99995,
    1e14, 1e15, 1e300, 5e-324, float("nan"), float("inf"), float("-inf"), 1e22, 0.1 + 0.2,
)  # fmt: skip
DATES = (
    "", "00000000", "0000", "20240229", "20230229", "19000229", "20000229", "18991231", "19000101", "21991231",
    "22000101", "20241301", "20240431", "20240100", "2024-1-1", "abcdefgh", "2024011", "202401011", " 20240101",
    "202401 1", "2024\x0111", "00000001",
)  # fmt: skip
NASTY = {
    "cpf": ["52998224724", "11111111111", "5299822472", "529982247251", "529.982.247", "5299822472a"],
    "cnpj": [
        "11222333000180",
        "00000000000000",
        "1122233300018",
        "12abc34501de35",
        "12ABC34501DE3A",
        "11222333000181 ",
    ],
    "cpf_or_cnpj": [*CPFS, *CNPJS, "52998224724", "11222333000180", "123456789012", "00000000000", "11222333 00018"],
    "cns": ["700000000001248", "300000000000000", "70000000000124", "100000000000007", "000000000000000"],
    "cep": ["00000000", "0131010", "013101000", "01310-10", "99999999"],
    "uf": ["sp", "XX", "S", "é", "SPX"],
    "ans_registry": ["41234", "4123456", "41234a", "000000"],
    "cnes": ["207748", "20774850", "207748x"],
    "digits": ["12a", "-1", "1.0", "1 2"],
    "email": ["a@b", "@b.c", "a@@b.c", "a b@c.d", "a@b.c", "ab.c", "a@b@c.d", "x" * 70 + "@y.z"],
}
