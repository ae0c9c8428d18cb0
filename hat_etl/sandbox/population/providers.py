"""Specialties, professionals, providers with their locations, staff and procedures, batches and authorisations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hat_etl.sandbox import documents, words
from hat_etl.sandbox.arrays import Booleans, Integers, chosen, cut, days, floats, join, padded, pick, spread, when
from hat_etl.sandbox.population import accounts
from hat_etl.sandbox.population.operator import INSURER, Operator, company_code
from hat_etl.sandbox.rows import Rows

_CHUNK = 50_000
_COMPANY_CLASSES = ("HOS", "CLI", "LAB", "CLI")
_FOREIGN_INSURER = "0999"
"""An insurer that stands in no table: locations may belong to one."""


@dataclass(frozen=True)
class _Locations:
    provider: Integers
    number: Integers
    foreign: Booleans

    def at(self, index: Integers) -> dict[str, pa.Array | str]:
        return {
            "CODIGO": padded(self.provider[index] + 1, 6),
            "CODINT": when(self.foreign[index], _FOREIGN_INSURER, INSURER),
            "CODLOC": padded(self.number[index] + 1, 3),
        }


def generate(operator: Operator) -> Iterator[Rows]:
    yield _specialties()
    yield _professionals(operator)
    yield _providers(operator)
    yield _provider_history(operator)
    locations = _draw_locations(operator)
    yield _locations(operator, locations)
    attended = np.flatnonzero(~locations.foreign)
    place = np.repeat(attended, 2)
    specialty = spread(operator.rng("BAX"), len(attended), 2, len(words.SPECIALTIES)).ravel()
    yield _location_specialties(operator, locations, place, specialty)
    yield _staff(operator, locations, place, specialty)
    yield _provider_procedures(operator, locations, place, specialty)
    yield _provider_products(operator, locations, place, specialty)
    yield from _batches(operator)
    yield from _authorizations(operator)


def _is_person(provider: Integers) -> Booleans:
    return provider % 9 < 5


def _specialties() -> Rows:
    index = np.arange(len(words.SPECIALTIES))
    return Rows(
        "BAQ",
        len(index),
        {
            "CODINT": INSURER,
            "CODESP": padded(index + 1, 3),
            "DESCRI": pa.array([name for name, _ in words.SPECIALTIES]),
            "CBOS": pa.array([code for _, code in words.SPECIALTIES]),
        },
    )


def _professional_count(operator: Operator) -> int:
    """Professional i is provider i where that is a person; the others make up clinical staffs."""
    return operator.providers * 3


def _professional(index: Integers) -> dict[str, pa.Array]:
    """What identifies a professional, wherever it is written down."""
    woman = index % 2 == 0
    first = when(woman, pick(words.WOMEN, index * 7), pick(words.MEN, index * 11))
    name = join(first, pick(words.SURNAMES, index * 13 + 5), pick(words.SURNAMES, index * 29 + 1), separator=" ")
    return {
        "name": cut(name, 40),
        "council": pick(words.COUNCILS, index),
        "number": padded(10_000 + index * 3, 6),
        "state": pick([c.state for c in words.CITIES], index),
        "cpf": documents.cpf(100_000_007 + index * 7_919),
    }


def _professionals(operator: Operator) -> Rows:
    index = np.arange(_professional_count(operator))
    known = _professional(index)
    rng = operator.rng("BB0")
    return Rows(
        "BB0",
        len(index),
        {
            "CODIGO": padded(index + 1, 6),
            "CGC": known["cpf"],
            "CODSIG": known["council"],
            "NOME": known["name"],
            "NUMCR": known["number"],
            "ESTADO": known["state"],
            "CODOPE": INSURER,
            "DATBLO": days(operator.today - rng.integers(-60, 900, len(index)), rng.random(len(index)) < 0.02),
        },
    )


def _providers(operator: Operator) -> Rows:
    index = np.arange(operator.providers)
    person = _is_person(index)
    professional = _professional(index)
    rng = operator.rng("BAU")
    rows = len(index)
    firm = join(
        chosen(rng, words.PROVIDER_HEADS, rows),
        chosen(rng, words.SURNAMES, rows),
        chosen(rng, words.COMPANY_TAILS, rows),
        separator=" ",
    )
    name = when(person, professional["name"], cut(firm, 60))
    blocked = rng.random(rows) < 0.05
    city = rng.integers(0, len(words.CITIES), rows)
    return Rows(
        "BAU",
        rows,
        {
            "CODIGO": padded(index + 1, 6),
            "CPFCGC": when(person, professional["cpf"], documents.cnpj(20_000_003 + index * 1_301)),
            "NOME": name,
            "NREDUZ": name,
            "NFANTA": cut(name, 10),
            "TIPPE": when(person, "F", "J"),
            "TIPPRE": when(person, "MED", pick(_COMPANY_CLASSES, index)),
            "EMAIL": when(rng.random(rows) < 0.8, join("prestador", padded(index + 1, 6), "@rede.com.br")),
            "CNES": when(~person, padded(2_000_000 + index * 7, 7)),
            "CODBB0": when(person, padded(index + 1, 6)),
            "DTINCL": days(operator.today - rng.integers(100, 5_000, rows)),
            "DATBLO": days(operator.today - rng.integers(-60, 99, rows), blocked),
            "CODBLO": when(blocked, "001"),
            "MUN": pick([c.code for c in words.CITIES], city),
            "EST": pick([c.state for c in words.CITIES], city),
            "SIGLCR": when(person, professional["council"]),
            "CONREG": when(person, professional["number"]),
            "ESTCR": when(person, professional["state"]),
        },
        vanished={"CODIGO": "999999"},
    )


def _provider_history(operator: Operator) -> Rows:
    """Providers with a block, of which every second one was unblocked."""
    provider = np.arange(0, operator.providers, 8)
    rng = operator.rng("BC4")
    blocked = operator.today - rng.integers(200, 900, len(provider))
    unblocked = np.arange(0, len(provider), 2)
    who = np.concatenate([provider, provider[unblocked]])
    return Rows(
        "BC4",
        len(who),
        {
            "CODCRE": padded(who + 1, 6),
            "TIPO": pick(["0", "1"], np.repeat([0, 1], [len(provider), len(unblocked)])),
            "DTBLQ": days(np.concatenate([blocked, blocked[unblocked] + 90])),
        },
    )


def _draw_locations(operator: Operator) -> _Locations:
    count = operator.rng("locations").integers(1, 4, operator.providers)
    provider = np.repeat(np.arange(operator.providers), count)
    number = np.arange(len(provider)) - np.repeat(np.cumsum(count) - count, count)
    return _Locations(provider, number, (number == 2) & (provider % 5 == 0))


def _locations(operator: Operator, locations: _Locations) -> Rows:
    rows = len(locations.provider)
    rng = operator.rng("BB8")
    city = rng.integers(0, len(words.CITIES), rows)
    return Rows(
        "BB8",
        rows,
        {
            **locations.at(np.arange(rows)),
            "LOCAL": pick(["001", "002", "003"], locations.number),
            "DESLOC": pick(["CONSULTÓRIO", "AMBULATÓRIO", "UNIDADE HOSPITALAR"], locations.number),
            "CEP": join(pick([c.zip_prefix for c in words.CITIES], city), padded(rng.integers(0, 1_000, rows), 3)),
            "TIPLOG": chosen(rng, words.STREET_TYPES, rows),
            "END": chosen(rng, words.STREETS, rows),
            "NR_END": pc.cast(pa.array(rng.integers(1, 9_999, rows)), pa.string()),
            "COMEND": chosen(rng, words.COMPLEMENTS, rows),
            "BAIRRO": chosen(rng, words.DISTRICTS, rows),
            "CODMUN": pick([c.code for c in words.CITIES], city),
            "MUN": pick([c.name for c in words.CITIES], city),
            "EST": pick([c.state for c in words.CITIES], city),
            "DDD": pick([c.area_code for c in words.CITIES], city),
            "TEL": join(padded(rng.integers(3000, 3999, rows), 4), "-", padded(rng.integers(0, 9_999, rows), 4)),
            "CONTAT": when(rng.random(rows) < 0.3, chosen(rng, words.WOMEN, rows)),
            "CNES": when(rng.random(rows) < 0.7, padded(3_000_000 + np.arange(rows) * 3, 7)),
            "REGMUN": chosen(rng, ("NORTE", "SUL", "LESTE", "OESTE", "CENTRO"), rows),
            "DATBLO": days(operator.today - rng.integers(-60, 400, rows), rng.random(rows) < 0.03),
        },
    )


def _location_specialties(operator: Operator, locations: _Locations, place: Integers, specialty: Integers) -> Rows:
    rows = len(place)
    rng = operator.rng("BAX rows")
    return Rows(
        "BAX",
        rows,
        {
            **locations.at(place),
            "CODESP": padded(specialty + 1, 3),
            "CODSUB": when(rng.random(rows) < 0.1, "001"),
            "CONESP": chosen(rng, ("0", "1"), rows),
            "ORDPES": chosen(rng, ("1", "2", ""), rows),
            "LIMATM": chosen(rng, ("0", "1"), rows),
            "DATBLO": days(operator.today - rng.integers(-60, 400, rows), rng.random(rows) < 0.02),
        },
    )


def _staff(operator: Operator, locations: _Locations, place: Integers, specialty: Integers) -> Rows:
    """Two professionals for each specialty at each location of a company."""
    in_company = np.flatnonzero(~_is_person(locations.provider[place]))
    index = np.repeat(in_company, 2)
    # Only those who are no providers themselves.
    first = operator.providers
    staff = first + spread(operator.rng("BC1"), len(in_company), 2, _professional_count(operator) - first).ravel()
    known = _professional(staff)
    keys = locations.at(place[index])
    return Rows(
        "BC1",
        len(index),
        {
            "CODIGO": keys["CODIGO"],
            "CODLOC": keys["CODLOC"],
            "CODESP": padded(specialty[index] + 1, 3),
            "CODPRF": padded(staff + 1, 6),
            "SIGLCR": known["council"],
            "NUMCR": known["number"],
            "ESTCR": known["state"],
            "NOMPRF": known["name"],
        },
    )


def _provider_procedures(operator: Operator, locations: _Locations, place: Integers, specialty: Integers) -> Rows:
    each = 5
    index = np.repeat(np.arange(len(place)), each)
    rng = operator.rng("BC0")
    rows = len(index)
    procedure = spread(rng, len(place), each, operator.procedures.executable).ravel()
    table, code = operator.procedures.some(procedure)
    start = operator.today - rng.integers(400, 3_000, rows)
    blocked = rng.random(rows) < 0.03
    return Rows(
        "BC0",
        rows,
        {
            **locations.at(place[index]),
            "CODESP": padded(specialty[index] + 1, 3),
            "CODTAB": "001",
            "CODPAD": table,
            "CODOPC": code,
            "NIVEL": "4",
            **operator.procedures.tree(procedure),
            "TIPO": chosen(rng, ("1", "2", "3"), rows),
            "VIGDE": days(start, rng.random(rows) < 0.8),
            "VIGATE": days(start + 3_650, rng.random(rows) < 0.2),
            "DATBLO": days(operator.today - rng.integers(-60, 300, rows), blocked),
            "CODBLO": when(blocked, "001"),
            "AUPREV": chosen(rng, ("0", "1"), rows),
            "VALREA": floats(rng.integers(1_000, 900_000, rows) / 100),
            "VALCH": floats(rng.integers(0, 50_000, rows) / 10_000),
        },
    )


def _provider_products(operator: Operator, locations: _Locations, place: Integers, specialty: Integers) -> Rows:
    each = 3
    index = np.repeat(np.arange(len(place)), each)
    rng = operator.rng("BBI")
    rows = len(index)
    code, version = operator.product(spread(rng, len(place), each, operator.products).ravel())
    start = operator.today - rng.integers(400, 3_000, rows)
    return Rows(
        "BBI",
        rows,
        {
            **locations.at(place[index]),
            "CODESP": padded(specialty[index] + 1, 3),
            "CODPRO": code,
            "VERSAO": version,
            "ATIVO": pick(["1", "1", "1", "0"], rng.integers(0, 4, rows)),
            "VIGDE": days(start),
            "VIGATE": days(start + 2_000, rng.random(rows) < 0.2),
        },
    )


def _batches(operator: Operator) -> Iterator[Rows]:
    """Protocols of guides; two of three came from HAT and carry its batch number."""
    yield accounts.reasons()
    total = operator.providers * 8
    for part, first in enumerate(range(0, total, _CHUNK)):
        index = np.arange(first, min(total, first + _CHUNK))
        rows = len(index)
        rng = operator.rng("BCI", part)
        provider = rng.integers(0, operator.providers, rows)
        received = operator.today - rng.integers(1, 700, rows)
        value = rng.integers(5_000, 9_000_000, rows) / 100
        guides = rng.integers(1, 100, rows)
        denied = np.where(rng.random(rows) < 0.3, np.round(value * 0.07, 2), 0)
        phase, status = chosen(rng, ("1", "2", "3", "4"), rows), chosen(rng, ("1", "2", "3", "4", "5", "6"), rows)
        from_hat = rng.random(rows) < 0.67
        yield Rows(
            "BCI",
            rows,
            {
                "CODOPE": INSURER,
                "CODLDP": pick(["0001", "0002", "0010"], index),
                "CODPEG": padded(index + 1, 8),
                "OPERDA": INSURER,
                "CODRDA": padded(provider + 1, 6),
                "NOMRDA": "REDE DE ATENDIMENTO",
                "TIPGUI": pick(["01", "02", "03"], index),
                "QTDEVE": floats(guides * 2),
                "QTDEVD": floats(guides),
                "VLRGUI": floats(value),
                "VLRGLO": floats(denied),
                "DATREC": days(received),
                "DTDIGI": days(received),
                "STATUS": "1",
                "FASE": phase,
                "SITUAC": "1",
                "STTISS": status,
                "LOTGUI": when(from_hat, padded(700_000 + index, 12)),
                "ARQUIV": join("GUIAS_", padded(index + 1, 8), ".XML"),
                "PROTOC": padded(index + 1, 10),
            },
        )
        yield from accounts.of_protocols(index, provider, received, denied, from_hat)


def _authorizations(operator: Operator) -> Iterator[Rows]:
    """Authorised guides; one of twenty was cancelled by the insurer."""
    total = max(200, operator.beneficiaries // 5)
    for part, first in enumerate(range(0, total, _CHUNK)):
        index = np.arange(first, min(total, first + _CHUNK))
        rows = len(index)
        rng = operator.rng("BEA", part)
        attended = operator.today - rng.integers(1, 900, rows)
        date = days(attended)
        family = rng.integers(0, len(operator.family_sizes), rows)
        company = np.searchsorted(operator.company_families, family, side="right") - 1
        yield Rows(
            "BEA",
            rows,
            {
                "OPEMOV": INSURER,
                "ANOAUT": pc.utf8_slice_codeunits(date, 0, 4),
                "MESAUT": pc.utf8_slice_codeunits(date, 4, 6),
                "NUMAUT": padded(index + 1, 8),
                "CODRDA": padded(rng.integers(0, operator.providers, rows) + 1, 6),
                "OPEUSR": INSURER,
                "CODEMP": company_code(company),
                "MATRIC": padded(family - operator.company_families[company] + 1, 6),
                "TIPREG": "00",
                "SENHA": padded(index * 7 + 1_000_000, 12),
                "CODPEG": padded(index // 20 + 1, 8),
                "CODLDP": "0001",
                "NUMGUI": padded(index + 1, 8),
                "DATPRO": date,
                "HORPRO": join(padded(rng.integers(7, 20, rows), 2), padded(rng.integers(0, 60, rows), 2), "00"),
                "DTDIGI": date,
                "STATUS": "1",
                "ORIMOV": "1",
                "NOMUSR": join(chosen(rng, words.WOMEN, rows), chosen(rng, words.SURNAMES, rows), separator=" "),
                "NOMRDA": "REDE DE ATENDIMENTO",
                "OPERDA": INSURER,
                "TIPGUI": chosen(rng, ("01", "02", "03"), rows),
                "CID": chosen(rng, words.DISEASES, rows),
                "LIBERA": "1",
                "CANEDI": when(rng.random(rows) < 0.05, chosen(rng, ("001", "002", "009"), rows)),
            },
        )
