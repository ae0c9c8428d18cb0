"""Procedures, coverage groups, waiting classes, and the rules of subcontracts and products (levels 5 to 8)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from hat_etl.sandbox import words
from hat_etl.sandbox.arrays import chosen, floats, join, padded, pick, spread, when
from hat_etl.sandbox.population.operator import (
    COVERAGE_GROUPS,
    INSURER,
    WAITING_CLASSES,
    Operator,
    class_code,
    company_code,
    group_code,
)
from hat_etl.sandbox.rows import Rows

_TABLES = (
    ("22", "PROCEDIMENTOS E EVENTOS EM SAÚDE"),
    ("19", "MATERIAIS E OPME"),
    ("20", "MEDICAMENTOS"),
    ("18", "DIÁRIAS, TAXAS E GASES MEDICINAIS"),
    ("00", "TABELA PRÓPRIA"),
)
_TYPE_OF_TABLE = {"22": "0", "19": "1", "20": "2", "18": "4", "00": "6"}
_DEFAULT_WAITS = (
    (24, "1"),
    (30, "2"),
    (30, "2"),
    (6, "3"),
    (6, "3"),
    (300, "2"),
    (90, "2"),
    (60, "2"),
    (90, "2"),
    (180, "2"),
)
_GROUP_PROCEDURES = 90


def generate(operator: Operator) -> Iterator[Rows]:
    yield _procedure_tables()
    yield _waiting_classes()
    yield _procedures(operator)
    yield _groups()
    yield _group_procedures(operator)
    yield from _subcontract_rules(operator)
    yield from _product_rules(operator)


def rule(rng: np.random.Generator, rows: int) -> dict[str, pa.Array | str | float]:
    """The fields that all rules on a procedure share, whatever the level. Levels of 0 mean no limit."""
    waits, limited, spaced = rng.random(rows) < 0.6, rng.random(rows) < 0.4, rng.random(rows) < 0.3
    return {
        "BENUTL": pick(["1", "1", "1", "1", "0"], rng.integers(0, 5, rows)),
        "AUTORI": chosen(rng, ("0", "1", "2", "3", "4", "5", "6"), rows),
        "CARENC": floats(np.where(waits, rng.choice([24, 30, 90, 180, 300], rows), 0)),
        "UNCAR": when(waits, chosen(rng, ("1", "2", "3"), rows)),
        "CLACAR": when(rng.random(rows) < 0.5, class_code(rng.integers(0, 99, rows))),
        "NIVCAR": chosen(rng, ("0", "1"), rows),
        "QTD": floats(np.where(limited, rng.integers(1, 40, rows), 0)),
        "UNCA": when(limited, chosen(rng, ("2", "3", "4"), rows)),
        "PERIOD": floats(np.where(spaced, rng.integers(1, 60, rows), 0)),
        "UNPERI": when(spaced, chosen(rng, ("2", "3"), rows)),
        "SEXO": pick(["3", "3", "3", "1", "2"], rng.integers(0, 5, rows)),
        "IDAMIN": floats(rng.choice([0, 0, 0, 18, 40], rows)),
        "IDAMAX": floats(rng.choice([0, 0, 12, 65, 120], rows)),
    }


def age_units(rng: np.random.Generator, rows: int) -> dict[str, pa.Array]:
    return {"UNIMIN": chosen(rng, ("", "4"), rows), "UNIMAX": chosen(rng, ("", "4"), rows)}


def counters(rng: np.random.Generator, rows: int) -> dict[str, pa.Array]:
    """Whether interval and quantity are counted by specialty, provider, disease."""
    names = ("PTRESP", "PTRMED", "PTRPAT", "QTDESP", "QTDMED", "QTDPAT")
    return {name: pick(["0", "0", "0", "1", ""], rng.integers(0, 5, rows)) for name in names}


def _procedure_tables() -> Rows:
    """Every table once, the common ones again by segment: the view shows the smallest segment."""
    rows = [*((code, text, "") for code, text in _TABLES), *((c, f"{t} II", "002") for c, t in _TABLES[:2])]
    columns = {name: pa.array([row[i] for row in rows]) for i, name in enumerate(("CODPAD", "DESCRI", "SEGMEN"))}
    return Rows("BR4", len(rows), columns)


def _waiting_classes() -> Rows:
    index = np.arange(len(WAITING_CLASSES))
    return Rows(
        "BDL",
        len(index),
        {
            "CODINT": INSURER,
            "CODIGO": class_code(index),
            "DESCRI": pa.array(list(WAITING_CLASSES)),
            "CARENC": floats([wait for wait, _ in _DEFAULT_WAITS]),
            "UNCAR": pa.array([unit for _, unit in _DEFAULT_WAITS]),
        },
    )


def _procedures(operator: Operator) -> Rows:
    table = operator.procedures
    rows = len(table)
    rng = operator.rng("BR8")
    analytic = np.arange(rows) >= table.groups
    shared = {name: value for name, value in rule(rng, rows).items() if name != "NIVCAR"}
    name = join(
        chosen(rng, words.ACTS, rows), chosen(rng, words.SITES, rows), chosen(rng, words.DETAILS, rows), separator=" "
    )
    return Rows(
        "BR8",
        rows,
        {
            **shared,
            **age_units(rng, rows),
            "CODPAD": table.table,
            "CODPSA": table.code,
            "DESCRI": when(analytic, name, join("GRUPO ", table.code, " ", pick(words.SITES, np.arange(rows)))),
            "TPPROC": pa.array([_TYPE_OF_TABLE[code] for code in table.table.to_pylist()]),
            "ANASIN": when(analytic, "1", "0"),
            "NIVEL": table.level,
            "REGATD": chosen(rng, ("1", "2", "3"), rows),
            "CODROL": when(rng.random(rows) < 0.5, padded(np.arange(rows), 6)),
            "CODEDI": pa.array([code[:10] for code in table.code.to_pylist()]),
        },
        vanished={"CODPSA": "99999999"},
    )


def _groups() -> Rows:
    index = np.arange(COVERAGE_GROUPS)
    return Rows(
        "BG7",
        COVERAGE_GROUPS,
        {
            "CODINT": INSURER,
            "CODGRU": group_code(index),
            "DESCRI": join(
                "GRUPO DE COBERTURA ", pick([name for name, _ in words.SPECIALTIES], index), " ", group_code(index)
            ),
        },
    )


def _group_procedures(operator: Operator) -> Rows:
    rng = operator.rng("BG8")
    group = np.repeat(np.arange(COVERAGE_GROUPS), _GROUP_PROCEDURES)
    table, code = operator.procedures.some(
        spread(rng, COVERAGE_GROUPS, _GROUP_PROCEDURES, operator.procedures.executable)
    )
    rows = len(group)
    return Rows(
        "BG8",
        rows,
        {
            **rule(rng, rows),
            **counters(rng, rows),
            "CODINT": INSURER,
            "CODGRU": group_code(group),
            "CODPAD": table,
            "CODPSA": code,
            "NIVEL": "4",
        },
    )


def _subcontract_rules(operator: Operator) -> Iterator[Rows]:
    rng = operator.rng("subcontract rules")
    for alias, each, share in (("BT8", 4, 0.3), ("BT7", 2, 0.6), ("BA6", 3, 0.3)):
        subcontract = np.flatnonzero(rng.random(operator.subcontracts) < share)
        if not len(subcontract):
            subcontract = np.array([0])
        code, version = operator.product(operator.subcontract_products(np.repeat(subcontract, each), np.array([0])))
        rows = len(subcontract) * each
        keys = {
            "CODINT": INSURER,
            "CODIGO": company_code(operator.subcontract_company[np.repeat(subcontract, each)]),
            **operator.subcontract(np.repeat(subcontract, each)),
            "CODPRO": code,
            "VERPRO": version,
        }
        if alias == "BT8":
            index = spread(rng, len(subcontract), each, operator.procedures.executable)
            table, procedure = operator.procedures.some(index)
            keys |= {"CODPAD": table, "CODPSA": procedure, "NIVEL": "4", **operator.procedures.tree(index)}
            keys |= {"DESCRI": chosen(rng, words.SITES, rows), "TIPAUT": "1", **rule(rng, rows)}
        elif alias == "BT7":
            keys |= {"CODGRU": group_code(spread(rng, len(subcontract), each, COVERAGE_GROUPS))}
            keys |= {"CARENC": floats(rng.choice([0, 30, 90], rows)), "UNCAR": "2"}
        else:
            keys |= {"CLACAR": class_code(spread(rng, len(subcontract), each, len(WAITING_CLASSES)))}
            keys |= {"CARENC": floats(rng.choice([0, 30, 90], rows)), "UNICAR": "2"}
        yield Rows(alias, rows, keys)


def _product_rules(operator: Operator) -> Iterator[Rows]:
    rng = operator.rng("product rules")
    products = np.arange(operator.products)
    for alias, each in (("BB2", 40), ("BRV", 20), ("BAE", 6)):
        rows = len(products) * each
        code, version = operator.product(np.repeat(products, each))
        key = {"BB2": "CODIGO", "BRV": "CODPLA", "BAE": "CODIGO"}[alias]
        columns: dict[str, pa.Array | str | float] = {key: join(INSURER, code), "VERSAO": version}
        if alias == "BB2":
            index = spread(rng, len(products), each, operator.procedures.executable)
            table, procedure = operator.procedures.some(index)
            columns |= {"CODPAD": table, "CODPSA": procedure, "NIVEL": "4", **operator.procedures.tree(index)}
            columns |= rule(rng, rows) | counters(rng, rows)
        elif alias == "BRV":
            columns |= {"CODGRU": group_code(spread(rng, len(products), each, COVERAGE_GROUPS))}
        else:
            columns |= {"CODGRU": "001", "CLACAR": class_code(spread(rng, len(products), each, len(WAITING_CLASSES)))}
            columns |= {"CARENC": floats(rng.choice([30, 90, 180], rows)), "UNCAR": "2"}
        yield Rows(alias, rows, columns)
