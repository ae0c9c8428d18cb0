"""The skeleton that all areas share: who has how many families, which products and procedures exist."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hat_etl.sandbox import arrays
from hat_etl.sandbox.arrays import Integers, join, padded, pick, stream

INSURER = "0001"
"""Code of the operator itself: entity type 0, insurer 001."""

COVERAGE_GROUPS = 40
WAITING_CLASSES = ("URGÊNCIA", "CONSULTAS", "EXAMES SIMPLES", "EXAMES ESPECIAIS", "INTERNAÇÃO", "PARTO", "TERAPIAS",
                   "ODONTOLOGIA", "CIRURGIA AMBULATORIAL", "ALTA COMPLEXIDADE")  # fmt: skip
PRODUCTS = 18
_FAMILY_SIZES, _FAMILY_SHARES = (1, 2, 3, 4, 5, 6), (0.32, 0.20, 0.20, 0.16, 0.08, 0.04)
_INDIVIDUAL_SHARE = 0.25


@dataclass(frozen=True)
class Procedures:
    """The standard table: groups of the procedure tree first, then what can be executed."""

    table: pa.Array
    code: pa.Array
    level: pa.Array
    groups: int

    def __len__(self) -> int:
        return len(self.code)

    @property
    def executable(self) -> int:
        return len(self) - self.groups

    def some(self, index: Integers) -> tuple[pa.Array, pa.Array]:
        """Table and code of executable procedures; any whole number is a valid index."""
        place = pa.array(index.ravel() % self.executable + self.groups)
        return self.table.take(place), self.code.take(place)

    def tree(self, index: Integers) -> dict[str, pa.Array]:
        """The level codes (CDNV01-03) of those procedures; materials and the like have no tree."""
        table, code = self.some(index)
        in_tree = pc.equal(table, "22")
        return {
            f"CDNV0{level + 1}": pc.if_else(in_tree, pc.utf8_slice_codeunits(code, 0, width), "")
            for level, width in enumerate((1, 3, 5))
        }


@dataclass(frozen=True)
class Operator:
    """Sizes and codes of one generated operator; everything else follows from them and the seed."""

    seed: int
    today: int
    """Days since 1970."""
    beneficiaries: int
    family_sizes: Integers
    company_families: Integers
    """First family of each company, and the number of families at the end. Company 0 is for individual plans."""
    subcontract_company: Integers
    subcontract_number: Integers
    subcontract_contract_version: Integers
    """Subcontracts, in order of company."""
    company_subcontracts: Integers
    """First subcontract of each company, and the number of subcontracts at the end."""
    product_number: Integers
    product_version: Integers
    procedures: Procedures
    providers: int

    @property
    def companies(self) -> int:
        return len(self.company_families) - 1

    @property
    def products(self) -> int:
        return len(self.product_number)

    @property
    def subcontracts(self) -> int:
        return len(self.subcontract_company)

    def rng(self, name: str, part: int = 0) -> np.random.Generator:
        return stream(self.seed, name, part)

    def product(self, index: Integers) -> tuple[pa.Array, pa.Array]:
        """Code and version of products."""
        return padded(self.product_number[index], 4), padded(self.product_version[index], 3)

    def subcontract_products(self, subcontract: Integers, choice: Integers) -> Integers:
        """Product of a subcontract, by ``choice`` from 0 to 1: every subcontract offers two."""
        return (subcontract * 5 + choice * 7) % self.products

    def subcontract(self, index: Integers) -> dict[str, pa.Array]:
        """The fields that name a subcontract in all tables below it."""
        company = self.subcontract_company[index]
        return {
            "NUMCON": padded(company + 1, 12),
            "VERCON": padded(self.subcontract_contract_version[index], 3),
            "SUBCON": padded(self.subcontract_number[index], 9),
            "VERSUB": pick(["001"], index),
        }


def company_code(index: Integers) -> pa.Array:
    return padded(index + 1, 4)


def class_code(index: Integers) -> pa.Array:
    """Code of a waiting class; any whole number is a valid index."""
    return padded(index.ravel() % len(WAITING_CLASSES) + 1, 3)


def group_code(index: Integers) -> pa.Array:
    """Code of a coverage group; any whole number is a valid index."""
    return padded(index.ravel() % COVERAGE_GROUPS + 1, 3)


def found(seed: int, beneficiaries: int, today: date) -> Operator:
    """Draw the skeleton of an operator with so many live beneficiaries."""
    sizes = _families(seed, beneficiaries)
    families = len(sizes)
    corporate = int(np.clip(families * (1 - _INDIVIDUAL_SHARE) / 120, 3, 3000))
    # A few large companies and many small ones.
    weights = 1 / (np.arange(corporate) + 5)
    shares = np.concatenate([[_INDIVIDUAL_SHARE], (1 - _INDIVIDUAL_SHARE) * weights / weights.sum()])
    company_families = np.concatenate([[0], np.round(np.cumsum(shares) * families).astype(np.int64)])

    rng = stream(seed, "subcontracts")
    versions = np.where(rng.random(corporate) < 0.2, 2, 1)
    per_version = rng.integers(1, 4, corporate)
    count = np.concatenate([[0], versions * per_version])  # individual plans have none
    company = np.repeat(np.arange(corporate + 1), count)
    place = np.arange(len(company)) - np.repeat(np.cumsum(count) - count, count)
    per_company = np.concatenate([[1], per_version])[company]
    return Operator(
        seed=seed,
        today=arrays.day(today),
        beneficiaries=beneficiaries,
        family_sizes=sizes,
        company_families=company_families,
        subcontract_company=company,
        subcontract_number=place % per_company + 1,
        subcontract_contract_version=place // per_company + 1,
        company_subcontracts=np.concatenate([[0], np.cumsum(count)]),
        product_number=np.concatenate([np.arange(1, PRODUCTS + 1), np.arange(1, PRODUCTS // 2 + 1)]),
        product_version=np.repeat([1, 2], [PRODUCTS, PRODUCTS // 2]),
        procedures=_procedures(),
        providers=max(40, beneficiaries // 400),
    )


def _families(seed: int, beneficiaries: int) -> Integers:
    rng = stream(seed, "family sizes")
    sizes = rng.choice(_FAMILY_SIZES, beneficiaries, p=_FAMILY_SHARES)
    families = int(np.searchsorted(np.cumsum(sizes), beneficiaries)) + 1
    sizes = sizes[:families].astype(np.int64)
    sizes[-1] -= sizes.sum() - beneficiaries
    return sizes


def _procedures() -> Procedures:
    """Chapter, group and subgroup make the tree of table 22; the other tables are flat."""
    chapter, group, subgroup, number = (a.ravel() for a in np.indices((4, 6, 6, 20)))
    first = number == 0
    one = padded(chapter + 1, 1)
    three = join(one, padded(group + 1, 2))
    five = join(three, padded(subgroup + 1, 2))
    eight = join(five, padded(number + 1, 2), padded((chapter + group + subgroup + number) % 10, 1))
    tree = [
        (one, first & (subgroup == 0) & (group == 0), 1),
        (three, first & (subgroup == 0), 2),
        (five, first, 3),
    ]
    code = [codes.filter(pa.array(chosen)) for codes, chosen, _ in tree]
    level = [np.full(len(codes), number) for codes, (_, _, number) in zip(code, tree, strict=True)]
    groups = sum(len(codes) for codes in code)
    flat = {
        "22": eight,
        "19": padded(70_000_000 + np.arange(600) * 13, 8),
        "20": padded(90_000_000 + np.arange(600) * 17, 8),
        "18": padded(60_000_000 + np.arange(200) * 11, 8),
        "00": padded(np.arange(1, 51), 10),
    }
    tables = ["22"] * groups + [table for table, codes in flat.items() for _ in range(len(codes))]
    return Procedures(
        table=pa.array(tables),
        code=pa.concat_arrays([*code, *flat.values()]),
        level=padded(np.concatenate([*level, *(np.full(len(codes), 4) for codes in flat.values())]), 1),
        groups=groups,
    )
