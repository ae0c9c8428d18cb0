"""Persons, families and cards, and what hangs on them; chunk by chunk, so that memory does not grow with the size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from hat_etl.sandbox import documents, words
from hat_etl.sandbox.arrays import (
    Booleans,
    Integers,
    chosen,
    cut,
    days,
    digit_matrix,
    floats,
    join,
    padded,
    pick,
    spread,
    when,
)
from hat_etl.sandbox.population.coverages import age_units, rule
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

Columns: TypeAlias = Mapping[str, pa.Array]

_CHUNK = 8_000
"""Families at a time."""
_YEAR = 365


@dataclass(frozen=True)
class _Families:
    company: Integers
    number: Integers
    size: Integers
    since: Integers
    blocked_on: Integers
    """Day of the block, or 0."""
    keys: Columns
    contract: Columns
    product: Columns

    @property
    def individual(self) -> Booleans:
        return np.equal(self.company, 0)

    def key(self, index: Integers) -> dict[str, pa.Array | str]:
        return {"CODINT": INSURER, **{name: column.take(pa.array(index)) for name, column in self.keys.items()}}


@dataclass(frozen=True)
class _Cards:
    """Beneficiaries of a chunk; ``family`` and ``person`` are places within the chunk."""

    first: int
    family: Integers
    place: Integers
    person: Integers
    born: Integers
    since: Integers
    blocked_on: Integers
    holder: Booleans

    def __len__(self) -> int:
        return len(self.family)


def generate(operator: Operator) -> Iterator[Rows]:
    first_card = 0
    for part, first in enumerate(range(0, len(operator.family_sizes), _CHUNK)):
        families = _draw_families(operator, part, first)
        cards = _draw_cards(operator, part, first_card, families)
        first_card += len(cards)
        persons = _persons(operator, part, families, cards)
        yield Rows("BTS", *_once(persons, cards), vanished={"MATVID": "99999999"})
        yield _family_rows(operator, part, families)
        yield _card_rows(operator, part, families, cards, persons)
        yield from _family_coverages(operator, part, families)
        yield from _card_coverages(operator, part, families, cards)
        yield _blocks(operator, part, families, cards)


def _draw_families(operator: Operator, part: int, first: int) -> _Families:
    index = np.arange(first, min(len(operator.family_sizes), first + _CHUNK))
    rows = len(index)
    rng = operator.rng("families", part)
    company = np.searchsorted(operator.company_families, index, side="right") - 1
    number = index - operator.company_families[company] + 1
    since = operator.today - rng.integers(40, 12 * _YEAR, rows)
    blocked = rng.random(rows) < 0.04
    start, end = operator.company_subcontracts[company], operator.company_subcontracts[company + 1]
    corporate = end > start
    subcontract = np.where(corporate, start + rng.integers(0, 1 << 30, rows) % np.maximum(end - start, 1), 0)
    offered = operator.subcontract_products(subcontract, rng.integers(0, 2, rows))
    code, version = operator.product(np.where(corporate, offered, rng.integers(0, operator.products, rows)))
    named = operator.subcontract(subcontract)
    return _Families(
        company=company,
        number=number,
        size=operator.family_sizes[index],
        since=since,
        blocked_on=np.where(blocked, rng.integers(since + 1, operator.today), 0),
        keys={"CODEMP": company_code(company), "MATRIC": padded(number, 6)},
        contract={
            "CONEMP": when(corporate, named["NUMCON"]),
            "VERCON": when(corporate, named["VERCON"]),
            "SUBCON": when(corporate, named["SUBCON"]),
            "VERSUB": when(corporate, named["VERSUB"]),
        },
        product={"CODPLA": code, "VERSAO": version},
    )


def _draw_cards(operator: Operator, part: int, first: int, families: _Families) -> _Cards:
    size = families.size
    family = np.repeat(np.arange(len(size)), size)
    place = np.arange(len(family)) - np.repeat(np.cumsum(size) - size, size)
    rng = operator.rng("cards", part)
    rows = len(family)
    holder_born = (operator.today - rng.integers(20 * _YEAR, 78 * _YEAR, len(size)))[family]
    partner_born = holder_born + rng.integers(-6 * _YEAR, 6 * _YEAR, rows)
    child_born = np.minimum(
        holder_born + rng.integers(20 * _YEAR, 36 * _YEAR, rows), operator.today - rng.integers(10, 5 * _YEAR, rows)
    )
    born = np.select(
        [place == 0, place == 1], [holder_born, np.minimum(partner_born, operator.today - 18 * _YEAR)], child_born
    )
    later = np.where((place > 0) & (rng.random(rows) < 0.3), rng.integers(0, 6 * _YEAR, rows), 0)
    since = np.minimum(np.maximum(families.since[family] + later, born + 1), operator.today - 1)
    # A few block dates are still to come.
    own_block = np.where(
        rng.random(rows) < 0.15, operator.today + rng.integers(1, 90, rows), rng.integers(since, operator.today)
    )
    blocked_on = np.where(rng.random(rows) < 0.06, own_block, 0)
    of_family = families.blocked_on[family]
    blocked_on = np.where(of_family > 0, np.maximum(of_family, since), blocked_on)
    # Some holders who live alone are enrolled twice, each time with a card of its own.
    alone = np.flatnonzero(size[family] == 1)
    twice = len(alone) // 25
    person = np.arange(rows)
    if twice:
        person[alone[-twice:]] = alone[:twice]
    return _Cards(first, family, place, person, born[person], since, blocked_on, place == 0)


def _persons(operator: Operator, part: int, families: _Families, cards: _Cards) -> dict[str, pa.Array]:
    """One person per card, in the fields of BTS; a person enrolled twice appears twice here."""
    rng = operator.rng("persons", part)
    rows = len(cards)
    number = cards.first + np.arange(rows)
    count = len(families.size)
    woman = np.where(cards.holder, rng.random(rows) < 0.45, rng.random(rows) < 0.55)
    gender = when(woman, "2", "1")
    first = when(woman, chosen(rng, words.WOMEN, rows), chosen(rng, words.MEN, rows))
    second = when(woman, chosen(rng, words.WOMEN, rows), chosen(rng, words.MEN, rows))
    surname, mother = (rng.integers(0, len(words.SURNAMES), count)[cards.family] for _ in range(2))
    middle = when(rng.random(rows) < 0.35, join(second, " "))
    own = rng.integers(0, len(words.SURNAMES), rows)
    link = chosen(rng, words.LINKS, rows)
    name = join(
        first,
        " ",
        middle,
        pick(words.SURNAMES, np.where(cards.place == 1, own, mother)),
        " ",
        link,
        pick(words.SURNAMES, surname),
    )
    city = rng.integers(0, len(words.CITIES), count)[cards.family]
    minor = cards.born > operator.today - 18 * _YEAR
    scrambled = (number * 7_368_787 + 123_456_791) % 1_000_000_000
    columns = {
        "MATVID": padded(number + 1, 8),
        "NRCRNA": when(rng.random(rows) < 0.8, documents.cns(number * 104_729 % 1_000_000_000_000)),
        "CPFUSR": when(~minor | (rng.random(rows) < 0.7), documents.cpf(scrambled)),
        "DRGUSR": padded(number * 37 % 1_000_000_000, 9),
        "DATNAS": days(cards.born),
        "CEPUSR": join(
            pick([c.zip_prefix for c in words.CITIES], city), padded(rng.integers(0, 1_000, count)[cards.family], 3)
        ),
        "ESTCIV": when(minor, "S", chosen(rng, ("S", "C", "D", "V"), rows)),
        "ESTADO": pick([c.state for c in words.CITIES], city),
        "MUNICI": cut(pick([c.name for c in words.CITIES], city), 10),
        "BAIRRO": cut(pick(words.DISTRICTS, rng.integers(0, 99, count)[cards.family]), 10),
        "ENDERE": cut(pick(words.STREETS, rng.integers(0, 99, count)[cards.family]), 10),
        "NOMUSR": cut(name, 70),
        "CODMUN": pick([c.code for c in words.CITIES], city),
        "EMAIL": when(rng.random(rows) < 0.4, join("pessoa", padded(number + 1, 9), "@exemplo.com.br")),
        "MAE": join(chosen(rng, words.WOMEN, count).take(pa.array(cards.family)), " ", pick(words.SURNAMES, mother)),
        "DDD": pick([c.area_code for c in words.CITIES], city),
        "TELEFO": padded(900_000_000 + rng.integers(0, 99_999_999, rows), 9),
        "SEXO": gender,
        "NOMSOC": when(
            rng.random(rows) < 0.01, join(chosen(rng, words.SOCIAL_NAMES, rows), " ", pick(words.SURNAMES, surname))
        ),
    }
    person = pa.array(cards.person)
    return {field: column.take(person) for field, column in columns.items()}


def _once(persons: Columns, cards: _Cards) -> tuple[int, dict[str, pa.Array]]:
    """Each person just once."""
    new = np.flatnonzero(cards.person == np.arange(len(cards)))
    return len(new), {field: column.take(pa.array(new)) for field, column in persons.items()}


def _family_rows(operator: Operator, part: int, families: _Families) -> Rows:
    rows = len(families.size)
    rng = operator.rng("BA3", part)
    blocked = families.blocked_on > 0
    return Rows(
        "BA3",
        rows,
        {
            **families.key(np.arange(rows)),
            **families.contract,
            **families.product,
            "TIPOUS": when(families.individual, "1", "2"),
            "MATEMP": when(~families.individual, padded(rng.integers(1, 999_999, rows), 8)),
            "MATANT": when(rng.random(rows) < 0.2, padded(rng.integers(1, 1 << 40, rows), 14)),
            "HORACN": "0930",
            "VENCTO": floats(rng.choice([5, 10, 15, 20], rows)),
            "DATBAS": days(families.since),
            "DATCIV": days(families.since),
            "MOTBLO": when(blocked, chosen(rng, ("001", "002", "003"), rows)),
            "DATBLO": days(families.blocked_on, blocked),
        },
        vanished={"MATRIC": "999999"},
    )


def _digit(cards: _Cards, families: _Families) -> Integers:
    parts = (
        np.broadcast_to(digit_matrix(np.array([int(INSURER)]), 4), (len(cards), 4)),
        digit_matrix(families.company[cards.family] + 1, 4),
        digit_matrix(families.number[cards.family], 6),
        digit_matrix(cards.place, 2),
    )
    return documents.card_digit(np.column_stack(parts))


def _card_key(families: _Families, cards: _Cards, index: Integers) -> dict[str, pa.Array | str]:
    return {**families.key(cards.family[index]), "TIPREG": padded(cards.place[index], 2)}


def _card_rows(operator: Operator, part: int, families: _Families, cards: _Cards, persons: Columns) -> Rows:
    rows = len(cards)
    rng = operator.rng("BA1", part)
    family = pa.array(cards.family)
    blocked = cards.blocked_on > 0
    own_product = rng.random(rows) < 0.3
    child = cards.place > 1
    kinship = np.select([cards.holder, ~child, rng.random(rows) < 0.05], [0, 1, 7], 3)
    # fmt: off
    shared = ("MATVID", "NOMUSR", "NOMSOC", "DATNAS", "SEXO", "CPFUSR", "CEPUSR", "CODMUN", "DRGUSR", "ESTCIV",
              "ESTADO", "MUNICI", "BAIRRO", "ENDERE", "MAE", "DDD", "TELEFO")
    # fmt: on
    return Rows(
        "BA1",
        rows,
        {
            **_card_key(families, cards, np.arange(rows)),
            "DIGITO": padded(_digit(cards, families), 1),
            **{name: column.take(family) for name, column in families.contract.items()},
            # Most cards have the product of their family and do not say so again.
            **{name: when(own_product, column.take(family)) for name, column in families.product.items()},
            **{name: persons[name] for name in shared},
            "NREDUZ": cut(persons["NOMUSR"], 20),
            "EMAIL": "",
            "TIPUSU": pick(["T", "D", "A"], np.select([cards.holder, kinship == 7], [0, 2], 1)),
            "GRAUPA": padded(kinship + 1, 2),
            "DATINC": days(cards.since),
            "DATCAR": days(cards.since, rng.random(rows) < 0.95),
            "DTVLCR": days(
                np.maximum(cards.since, operator.today) + rng.integers(1, 2 * _YEAR, rows), rng.random(rows) < 0.9
            ),
            "DATBLO": days(cards.blocked_on, blocked),
            "MOTBLO": when(blocked, chosen(rng, ("001", "002", "003", "005"), rows)),
            "MATANT": when(rng.random(rows) < 0.2, padded(rng.integers(1, 1 << 50, rows), 17)),
            "TKSEED": when(rng.random(rows) < 0.1, padded(rng.integers(1, 1 << 50, rows), 18)),
            "NOMPRE": cut(persons["NOMUSR"], 30),
            "ORGEM": "SSP",
            "PISPAS": padded(rng.integers(1, 10**11, rows), 11),
            "MATEMP": when(~families.individual[cards.family], padded(rng.integers(1, 999_999, rows), 8)),
            "DATADM": days(cards.since, ~families.individual[cards.family]),
            "OPEORI": INSURER,
            "OPEDES": INSURER,
        },
        vanished={"TIPREG": "99"},
    )


def _some(rng: np.random.Generator, rows: int, share: float) -> Integers:
    return np.flatnonzero(rng.random(rows) < share)


def _family_coverages(operator: Operator, part: int, families: _Families) -> Iterator[Rows]:
    rng = operator.rng("family coverages", part)
    count = len(families.size)

    who = _some(rng, count, 0.03)
    if len(who):
        yield Rows(
            "BFC", len(who), {**families.key(who), "CODGRU": group_code(rng.integers(0, COVERAGE_GROUPS, len(who)))}
        )

    who = np.repeat(base := _some(rng, count, 0.02), 2)
    if len(who):
        procedure = spread(rng, len(base), 2, operator.procedures.executable).ravel()
        yield Rows("BFD", len(who), {**families.key(who), **_procedure_rule(operator, rng, procedure)})

    who = np.repeat(base := _some(rng, count, 0.03), 2)
    if len(who):
        classes = class_code(spread(rng, len(base), 2, len(WAITING_CLASSES)))
        wait = {"CLACAR": classes, "CARENC": floats(rng.choice([0, 30, 90], len(who))), "UNICAR": "2"}
        yield Rows("BFJ", len(who), {**families.key(who), **wait})


def _procedure_rule(
    operator: Operator, rng: np.random.Generator, procedure: Integers
) -> dict[str, pa.Array | str | float]:
    rows = len(procedure)
    table, code = operator.procedures.some(procedure)
    return {
        **rule(rng, rows),
        **age_units(rng, rows),
        **operator.procedures.tree(procedure),
        "CODPAD": table,
        "CODPSA": code,
        "NIVEL": "4",
        "CODTAB": join(INSURER, chosen(rng, ("001", "002"), rows)),
    }


def _card_coverages(operator: Operator, part: int, families: _Families, cards: _Cards) -> Iterator[Rows]:
    rng = operator.rng("card coverages", part)
    count = len(cards)

    who = _some(rng, count, 0.03)
    if len(who):
        groups = group_code(rng.integers(0, COVERAGE_GROUPS, len(who)))
        start = days(cards.since[who], rng.random(len(who)) < 0.5)
        yield Rows("BFE", len(who), {**_card_key(families, cards, who), "CODGRU": groups, "DATCAR": start})

    who = np.repeat(base := _some(rng, count, 0.015), 2)
    if len(who):
        procedure = spread(rng, len(base), 2, operator.procedures.executable).ravel()
        start = days(cards.since[who], rng.random(len(who)) < 0.5)
        columns = {**_card_key(families, cards, who), **_procedure_rule(operator, rng, procedure), "DATCAR": start}
        yield Rows("BFG", len(who), columns)

    who = np.repeat(base := _some(rng, count, 0.03), 2)
    if len(who):
        yield Rows(
            "BFO",
            len(who),
            {
                **_card_key(families, cards, who),
                "CLACAR": class_code(spread(rng, len(base), 2, len(WAITING_CLASSES))),
                "CARENC": floats(rng.choice([0, 30, 180], len(who))),
                "UNICAR": "2",
                "DATCAR": days(cards.since[who]),
            },
        )

    who = _some(rng, count, 0.02)
    if len(who):
        tied = rng.random(len(who)) < 0.6
        table, code = operator.procedures.some(rng.integers(0, operator.procedures.executable, len(who)))
        yield Rows(
            "BF3",
            len(who),
            {
                **_card_key(families, cards, who),
                "CODDOE": chosen(rng, words.DISEASES, len(who)),
                "MESAGR": 24.0,
                "UNAGR": "3",
                "DATCPT": days(cards.since[who]),
                "CODPAD": when(tied, table),
                "CODPSA": when(tied, code),
            },
        )

    who = _some(rng, count, 0.015)
    if len(who):
        procedure = rng.integers(0, operator.procedures.executable, len(who))
        table, code = operator.procedures.some(procedure)
        start = operator.today - rng.integers(10, 600, len(who))
        yield Rows(
            "BVM",
            len(who),
            {
                **_card_key(families, cards, who),
                "CODPAD": table,
                "CODPSA": code,
                "NIVEL": "4",
                **operator.procedures.tree(procedure),
                "PERCOP": floats(rng.choice([10, 20, 30], len(who))),
                "VALCOP": floats(rng.integers(0, 9_000, len(who)) / 100),
                "VALUS": floats(rng.integers(0, 30_000, len(who)) / 10_000),
                "LIMFRA": floats(rng.choice([0, 150.5], len(who))),
                "CODTAB": join(INSURER, chosen(rng, ("001", "002"), len(who))),
                "SOMCOM": chosen(rng, ("0", "1"), len(who)),
                "PAGATO": chosen(rng, ("0", "1"), len(who)),
                "FINATE": chosen(rng, ("", "01"), len(who)),
                "VIGDE": days(start, rng.random(len(who)) < 0.8),
                "VIGATE": days(start + _YEAR, rng.random(len(who)) < 0.3),
            },
        )


def _blocks(operator: Operator, part: int, families: _Families, cards: _Cards) -> Rows:
    """The block of every blocked card, and a block with its unblock of a few that are active."""
    rng = operator.rng("BCA", part)
    blocked = np.flatnonzero(cards.blocked_on > 0)
    long_ago = np.flatnonzero((cards.blocked_on == 0) & (cards.since < operator.today - _YEAR))
    once = rng.permutation(long_ago)[: max(1, len(long_ago) // 50)] if len(long_ago) else long_ago
    first = cards.since[once] + rng.integers(1, 200, len(once))
    who = np.concatenate([blocked, once, once])
    event = np.concatenate([cards.blocked_on[blocked], first, first + 60])
    kind = np.repeat([0, 0, 1], [len(blocked), len(once), len(once)])
    rows = len(who)
    by_family = families.blocked_on[cards.family[who]] > 0
    key = _card_key(families, cards, who)
    matric = join(key["CODINT"], key["CODEMP"], key["MATRIC"])
    return Rows(
        "BCA",
        rows,
        {
            "MATRIC": matric,
            "TIPREG": key["TIPREG"],
            "DATA": days(event),
            "TIPO": pick(["0", "1"], kind),
            "MOTBLO": chosen(rng, ("001", "002", "003"), rows),
            "NIVBLQ": when(by_family, "F", "U"),
            "OBS": pick(
                ["INADIMPLÊNCIA SUPERIOR A 60 DIAS", "SOLICITADO PELO CONTRATANTE", "REGULARIZADO"],
                kind * 2 + rng.integers(0, 2, rows) * (1 - kind),
            ),
            # Yesterday at the latest: where the tenant is, the day may begin later than here.
            "DATLAN": days(np.minimum(event, operator.today - 1)),
            "HORLAN": join(padded(rng.integers(8, 18, rows), 2), ":", padded(rng.integers(0, 60, rows), 2)),
            "USUOPE": "OPERADOR",
        },
    )


__all__ = ["generate"]
