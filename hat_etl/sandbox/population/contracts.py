"""Insurers, companies, products, contracts and subcontracts, code lists, co-payment of products."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from hat_etl.sandbox import documents, words
from hat_etl.sandbox.arrays import chosen, cut, days, floats, join, padded, pick, spread, when
from hat_etl.sandbox.population.operator import INSURER, PRODUCTS, Operator, company_code
from hat_etl.sandbox.rows import Rows

_INSURERS = (
    ("OPERADORA DEMONSTRAÇÃO DE SAÚDE LTDA", "412345"),
    ("COOPERATIVA MÉDICA DO VALE", "301337"),
    ("SAÚDE LITORAL ASSISTÊNCIA MÉDICA S/A", "317144"),
    ("COOPERATIVA DE TRABALHO MÉDICO DA SERRA", "352501"),
    ("CAIXA DE ASSISTÊNCIA DOS SERVIDORES", "346659"),
    ("PLANO SÃO LUCAS DE SAÚDE", "359017"),
)
"""The operator itself, then those with which it exchanges services."""

_USER_TYPES = (("T", "TITULAR"), ("D", "DEPENDENTE"), ("A", "AGREGADO"))
KINSHIPS = (
    ("01", "TITULAR", "1", "3"),
    ("02", "CÔNJUGE", "3", "3"),
    ("03", "COMPANHEIRO(A)", "3", "3"),
    ("04", "FILHO(A)", "4", "3"),
    ("05", "ENTEADO(A)", "6", "3"),
    ("06", "PAI", "8", "1"),
    ("07", "MÃE", "8", "2"),
    ("08", "OUTROS", "10", "3"),
)
_PLAN_NAMES = ("ESSENCIAL", "CLÁSSICO", "PLENO", "EXECUTIVO", "REGIONAL", "NACIONAL", "JOVEM", "SÊNIOR", "ODONTO")


def generate(operator: Operator) -> Iterator[Rows]:
    yield _insurers()
    yield _companies(operator)
    yield _products(operator)
    yield _list("BIH", CODTIP=[t[0] for t in _USER_TYPES], DESCRI=[t[1] for t in _USER_TYPES])
    yield _list(
        "BRP", **{name: [k[i] for k in KINSHIPS] for i, name in enumerate(("CODIGO", "DESCRI", "CODSIB", "SEXO"))}
    )
    yield _contracts(operator)
    yield _subcontracts(operator)
    yield _subcontract_products(operator)
    yield _product_copayments(operator)


def _list(alias: str, **columns: list[str]) -> Rows:
    return Rows(alias, len(next(iter(columns.values()))), {name: pa.array(values) for name, values in columns.items()})


def _insurers() -> Rows:
    number = np.arange(len(_INSURERS))
    city = [words.CITIES[i] for i in number]
    return Rows(
        "BA0",
        len(number),
        {
            "CODIDE": "0",
            "CODINT": padded(number + 1, 3),
            "NOMINT": pa.array([name for name, _ in _INSURERS]),
            "CLAINT": "01",
            "GRUOPE": "01",
            "SUSEP": pa.array([registry for _, registry in _INSURERS]),
            "CGC": documents.cnpj(11_222_333 + number * 1_357),
            "INCEST": "ISENTO",
            "EMAIL": join("contato", padded(number, 2), "@operadora.com.br"),
            "SITE": "www.operadora.com.br",
            "DATFUN": "19940310",
            "TIPLOG": "AV",
            "CEP": pa.array([c.zip_prefix + "100" for c in city]),
            "END": pick(words.STREETS, number),
            "NUMEND": padded(100 + number * 37, 4),
            "COMPEN": pick(words.COMPLEMENTS, number + 2),
            "BAIRRO": pick(words.DISTRICTS, number),
            "CODMUN": pa.array([c.code for c in city]),
            "CIDADE": pa.array([c.name for c in city]),
            "EST": pa.array([c.state for c in city]),
            "TELEF1": pa.array([f"{c.area_code} 3344-5500" for c in city]),
            "MODOPE": pick(["01", "02", "03"], number),
        },
    )


def _companies(operator: Operator) -> Rows:
    number = np.arange(operator.companies)
    rng = operator.rng("BG9")
    head = chosen(rng, words.COMPANY_HEADS, len(number))
    name = join(
        head, chosen(rng, words.SURNAMES, len(number)), chosen(rng, words.COMPANY_TAILS, len(number)), separator=" "
    )
    individual = number == 0
    return Rows(
        "BG9",
        len(number),
        {
            "CODINT": INSURER,
            "CODIGO": company_code(number),
            "DESCRI": when(individual, "PLANOS INDIVIDUAIS E FAMILIARES", name),
            "NREDUZ": when(individual, "PESSOA FÍSICA", cut(name, 40)),
            "TIPO": when(individual, "1", "2"),
        },
    )


def _products(operator: Operator) -> Rows:
    number = operator.product_number - 1
    code, version = operator.product(np.arange(operator.products))
    name = join("PLANO ", pick(_PLAN_NAMES, number), pick([" ENFERMARIA", " APARTAMENTO"], number // len(_PLAN_NAMES)))
    return Rows(
        "BI3",
        operator.products,
        {
            "CODINT": INSURER,
            "CODIGO": code,
            "VERSAO": version,
            "DESCRI": name,
            "NREDUZ": cut(name, 30),
            "SUSEP": join(padded(460_000_000 + number * 731, 9), version),
            "TIPCON": pick(["1", "3", "4"], number),
            "CODSEG": pick(["001", "002", "003"], number),
            "CODACO": pick(["001", "002"], number // len(_PLAN_NAMES)),
            "ABRANG": pick(["01", "02", "03"], number),
            "MODPAG": pick(["1", "1", "2"], number),
        },
    )


def _contracts(operator: Operator) -> Rows:
    # The first subcontract of each contract version stands for the contract.
    first = np.flatnonzero(operator.subcontract_number == 1)
    keys = operator.subcontract(first)
    rng = operator.rng("BT5")
    return Rows(
        "BT5",
        len(first),
        {
            "CODINT": INSURER,
            "CODIGO": company_code(operator.subcontract_company[first]),
            "NUMCON": keys["NUMCON"],
            "VERSAO": keys["VERCON"],
            "DATCON": days(operator.today - rng.integers(4_500, 7_000, len(first))),
            "TIPCON": chosen(rng, ("3", "4"), len(first)),
        },
    )


def _subcontracts(operator: Operator) -> Rows:
    index = np.arange(operator.subcontracts)
    company = operator.subcontract_company
    rng = operator.rng("BQC")
    signed = operator.today - rng.integers(4_400, 6_000, len(index))
    blocked = rng.random(len(index)) < 0.03
    letters = company % 17 == 3
    return Rows(
        "BQC",
        len(index),
        {
            "CODINT": INSURER,
            "CODEMP": company_code(company),
            "CODIGO": join(INSURER, company_code(company)),
            **operator.subcontract(index),
            "DESCRI": join("FILIAL ", pick([c.name for c in words.CITIES], company + index)),
            "CNPJ": when(
                letters, documents.cnpj(company * 97 + 41, 1, letters=True), documents.cnpj(company * 8_191 + 2_345, 1)
            ),
            "DATCON": days(signed),
            "VALID": days(signed + 3_650 * 2, rng.random(len(index)) < 0.4),
            "DATBLO": days(operator.today - rng.integers(-60, 400, len(index)), blocked),
            "CODBLO": when(blocked, "001"),
            "QUACOB": chosen(rng, ("0", "1"), len(index)),
        },
    )


def _subcontract_products(operator: Operator) -> Rows:
    subcontract, choice = (a.ravel() for a in np.indices((operator.subcontracts, 2)))
    code, version = operator.product(operator.subcontract_products(subcontract, choice))
    return Rows(
        "BT6",
        len(subcontract),
        {
            "CODINT": INSURER,
            "CODIGO": company_code(operator.subcontract_company[subcontract]),
            **operator.subcontract(subcontract),
            "CODPRO": code,
            "VERSAO": version,
            "CODPTU": join("PTU", code),
        },
    )


def _product_copayments(operator: Operator) -> Rows:
    """Two products of three charge a co-payment, each on a dozen procedures and by a general rule."""
    each = 12
    product = np.repeat(np.arange(0, operator.products, 3), each)
    rng = operator.rng("BGD")
    rows = len(product)
    table, code = operator.procedures.some(spread(rng, rows // each, each, operator.procedures.executable))
    general = np.arange(rows) % each == 0
    percentage = rng.choice([10, 20, 30, 50], rows)
    open_ended = rng.random(rows) < 0.7
    start = operator.today - rng.integers(800, 2_000, rows)
    product_code, version = operator.product(product)
    return Rows(
        "BGD",
        rows,
        {
            "CODIGO": join(INSURER, product_code),
            "VERSAO": version,
            "CODMUN": when(np.arange(rows) % 5 == 1, words.CITIES[0].code),
            "TIPO": chosen(rng, ("", "1", "2", "3"), rows),
            "QTD": floats(rng.choice([0, 4, 12], rows)),
            "PERCOP": floats(percentage),
            "CODTAB": INSURER + "001",
            "TXADM": floats(rng.choice([0, 2.5], rows)),
            "PAGATO": chosen(rng, ("0", "1"), rows),
            "VALUS": floats(rng.choice([0.0, 0.3125, 1.005], rows)),
            "CODPAD": when(general, "", table),
            "CODPRO": when(general, "", code),
            "TIPUSR": chosen(rng, ("", "T", "D"), rows),
            "GRAUPA": chosen(rng, ("", "", "04"), rows),
            "IDAINI": 0.0,
            "IDAFIN": floats(rng.choice([0, 59, 120], rows)),
            "RDACRE": chosen(rng, ("", "1", "2"), rows),
            "RDAPRE": chosen(rng, ("", "1", "2"), rows),
            "PERCO2": floats(percentage / 2),
            "VLRCO2": floats(rng.integers(0, 5_000, rows) / 100),
            "VALCOP": floats(rng.integers(0, 9_000, rows) / 100),
            "VLRMIN": floats(rng.integers(0, 1_000, rows) / 100),
            "ACUMUL": chosen(rng, ("1", "2"), rows),
            "VIGINI": days(start, rng.random(rows) < 0.9),
            "VIGFIN": days(start + 400, ~open_ended),
        },
    )


__all__ = ["KINSHIPS", "PRODUCTS", "generate"]
