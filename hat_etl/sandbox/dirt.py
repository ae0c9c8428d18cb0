"""Dirt planted by kind, on top of a clean population, with the exact rejects and warnings that it must cause.

What only warns is put on rows that stand already, for they are kept. What rejects or holds a row is put on rows that
are added for it, or that nothing refers to, so that nothing else suffers; the two cascades are meant, and are listed
in full.
"""

from __future__ import annotations

from datetime import date, timedelta

import psycopg
from psycopg import sql

from hat_etl.protheus import dictionary
from hat_etl.sandbox.planter import Planted, Planter, Value, numbered
from hat_etl.sandbox.server import ERP_SCHEMA

_WRONG_DIGIT = sql.SQL("((ba1_digito::integer + 1) % 10)::text")


def plant(connection: psycopg.Connection, company: str, seed: int, scale: int, today: date) -> list[Planted]:
    """Plant every kind ``scale`` times over."""
    planter = Planter(connection, company, seed, scale, today)
    for kind in (
        _empty_required,
        _invalid_dates,
        _wrong_codes,
        _control_characters,
        _documents_and_addresses,
        _numbers,
        _flags,
        _duplicates,
        _orphans,
        _missing_soft_parents,
        _broken_concatenated_keys,
        _wrong_card_digits,
        _dates_out_of_order,
        _cascades,
        _harmless,
    ):
        kind(planter)
    connection.commit()
    return planter.planted


def _person(number: int) -> dict[str, Value]:
    return {"MATVID": f"9{number:07d}"}


def _provider(number: int) -> dict[str, Value]:
    return {"CODIGO": f"9{number:05d}"}


def _empty_required(p: Planter) -> None:
    p.rejects("required", "persons.name", p.add("BTS", 3, NOMUSR="", fresh=_person))
    p.rejects("required", "beneficiaries.name", p.add_cards(2, NOMUSR=""))
    p.rejects("required", "beneficiaries.effective_date", p.add_cards(2, DATINC="00000000", DATBLO="", DTVLCR=""))
    p.rejects("required", "health_providers.name", p.add("BAU", 1, NOME="", fresh=_provider))
    p.rejects("required", "beneficiary_waiting_periods.waiting_period_class", p.change("BFO", 2, CLACAR=""))


def _invalid_dates(p: Planter) -> None:
    p.rejects("invalid_date", "beneficiaries.birthdate", p.add_cards(3, DATNAS="20010230"))
    p.rejects("invalid_date", "beneficiary_status_history.event_date", p.change("BCA", 2, DATA="20231301"))
    p.warns("invalid_date", "persons.birthdate", p.change("BTS", 3, DATNAS="19990231"))
    p.warns("invalid_date", "persons.birthdate", p.change("BTS", 1, DATNAS="18991231"))
    p.warns("invalid_date", "professionals.block_date", p.change("BB0", 2, DATBLO="2023AB01"))
    p.rejects("invalid_date", "product_copayment_rules.initial_term", p.change("BGD", 1, VIGINI="20251332", VIGFIN=""))


def _wrong_codes(p: Planter) -> None:
    p.rejects("in", "health_provider_status_history.event_type", p.change("BC4", 1, TIPO="7"))
    p.rejects("in", "beneficiary_status_history.event_type", p.change("BCA", 2, TIPO="X"))
    p.rejects("in", "health_providers.health_provider_type", p.add("BAU", 2, TIPPE="X", fresh=_provider))
    p.rejects("in", "health_provider_procedure_coverages.movement_type", p.change("BC0", 2, TIPO="9"))
    p.warns("in", "persons.gender", p.change("BTS", 3, SEXO="9"))
    p.warns("in", "beneficiaries.gender", p.change("BA1", 3, SEXO="F"))
    p.warns("in", "beneficiary_procedure_coverages.authorization", p.change("BFG", 2, AUTORI="8"))
    p.warns("in", "health_provider_specialties.search_order", p.change("BAX", 2, ORDPES="7"))
    p.warns("in", "batch_authorizations.status", p.change("BCI", 2, "bci_lotgui <> ''", STTISS="9"))


def _control_characters(p: Planter) -> None:
    p.warns("control_character", "persons.name", p.change("BTS", 2, NOMUSR="MARIA\tDA SILVA"))
    p.warns("control_character", "persons.name", p.change("BTS", 1, NOMUSR="JO\u0085ANA LIMA\x7f"))
    p.warns("control_character", "beneficiaries.social_name", p.change("BA1", 2, NOMSOC="\x01ALEX\r\nLIMA"))
    p.warns("control_character", "procedures.procedure_description", p.change("BR8", 1, DESCRI="CONSULTA\nELETIVA"))


def _documents_and_addresses(p: Planter) -> None:
    p.warns("cpf", "persons.holder_cpf", p.change("BTS", 3, CPFUSR="12345678900"))
    p.warns("cpf", "persons.holder_cpf", p.change("BTS", 1, CPFUSR="11111111111"))
    p.warns("cpf", "beneficiaries.holder_cpf", p.change("BA1", 3, CPFUSR="1234567890"))
    p.warns("cns", "persons.nationalhealthcard", p.change("BTS", 2, NRCRNA="700000000001240"))
    p.warns("cep", "persons.zipcode", p.change("BTS", 2, CEPUSR="00000000"))
    p.warns("cep", "attendance_locations.zip_code", p.change("BB8", 2, CEP="0131-100"))
    p.warns("email", "persons.email", p.change("BTS", 2, EMAIL="sem arroba.com.br"))
    p.warns("digits", "persons.citycode", p.change("BTS", 2, CODMUN="35X0308"))
    p.warns("cnpj", "subcontracts.document", p.change("BQC", 2, CNPJ="11222333000182"))
    # Not the document of a provider with a history: its status rows show it as well, and would warn too.
    lone = f"bau_codigo NOT IN (SELECT bc4_codcre FROM {ERP_SCHEMA}.{dictionary.physical_name('BC4', p.company)})"
    p.warns("cpf_or_cnpj", "health_providers.health_provider_document", p.change("BAU", 2, lone, CPFCGC="123"))
    p.warns("cnes", "health_providers.cnes_code", p.change("BAU", 1, CNES="12345"))
    p.warns("uf", "attendance_locations.state_abbreviation", p.change("BB8", 2, EST="XX"))
    p.warns("ans_registry", "health_insurers.ans_registry", p.change("BA0", 1, "ba0_codint <> '001'", SUSEP="12A456"))


def _numbers(p: Planter) -> None:
    p.warns("invalid_number", "product_copayment_rules.copart_value", p.change("BGD", 1, VALCOP=float("nan")))
    p.rejects("invalid_number", "product_copayment_rules.quantity_up_to", p.change("BGD", 1, QTD=float("inf")))
    p.rejects("invalid_number", "product_copayment_rules.minimum_age", p.change("BGD", 1, IDAINI=99_999.0))
    p.warns("invalid_number", "beneficiary_copayment_rules.copart_value", p.change("BVM", 2, VALCOP=1e15))
    p.warns("non_negative", "beneficiary_copayment_rules.copart_percentage", p.change("BVM", 2, PERCOP=-5.0))
    p.warns("invalid_number", "beneficiary_procedure_coverages.waiting_period", p.change("BFG", 2, CARENC=40_000.0))
    p.warns("non_negative", "family_procedure_coverages.allowed_quantity", p.change("BFD", 2, QTD=-1.0))


def _flags(p: Planter) -> None:
    p.warns("map", "health_provider_products.active", p.change("BBI", 3, ATIVO="X"))
    p.warns("map", "procedures.active", p.change("BR8", 2, BENUTL="2"))
    p.warns("map", "family_procedure_coverages.active", p.change("BFD", 2, BENUTL="S"))


def _duplicates(p: Planter) -> None:
    """The copy has the higher Recno and wins; the row that stood there is rejected."""
    for alias, table, count in (
        ("BTS", "persons", 3),
        ("BFJ", "family_waiting_periods", 2),
        ("BFE", "beneficiary_coverage_groups", 2),
        ("BB0", "professionals", 1),
        ("BG8", "coverage_group_procedures", 2),
    ):
        losers = p.rows(alias, count)
        for recno in losers:
            p.copy(alias, recno)
        p.rejects("duplicate_key", table, losers)
    # Under the alternate key only: same card but for the digit, which cannot be right on both.
    cards = p.rows("BA1", 1)
    winners = [p.copy("BA1", recno, DIGITO=_WRONG_DIGIT) for recno in cards]
    p.rejects("duplicate_key", "beneficiaries", cards)
    p.warns("check_digit", "beneficiaries.subscriber_id", winners)


def _orphans(p: Planter) -> None:
    """Rows whose hard parent does not exist wait for it."""
    p.holds("beneficiary_coverage_groups", p.change("BFE", 2, MATRIC=numbered("96", 6)))
    p.holds("beneficiary_copayment_rules", p.change("BVM", 2, CODPSA=numbered("8888", 12)))
    p.holds("family_waiting_periods", p.change("BFJ", 2, MATRIC=numbered("96", 6)))
    p.holds("product_procedure_coverages", p.change("BB2", 2, CODPSA=numbered("8888", 12)))
    p.holds("health_provider_specialties", p.change("BAX", 1, CODIGO=numbered("8", 6)))
    p.holds("health_provider_products", p.change("BBI", 2, CODIGO=numbered("8", 6)))
    p.holds("clinical_staff", p.change("BC1", 1, CODPRF=numbered("8", 6)))
    p.holds("batch_authorizations", p.change("BCI", 2, "bci_lotgui <> ''", CODRDA="888888"))


def _missing_soft_parents(p: Planter) -> None:
    """The reference may be empty, so the row is kept."""
    p.warns("parent_missing", "beneficiaries", p.change("BA1", 2, MATVID="88888888"))
    p.warns("parent_missing", "beneficiaries", p.change("BA1", 1, CODPLA="8888", VERSAO="001"))
    p.warns("parent_missing", "beneficiaries", p.change("BA1", 1, GRAUPA="88"))
    p.warns("parent_missing", "families", p.change("BA3", 2, "ba3_subcon <> ''", SUBCON="888888888"))
    p.warns("parent_missing", "beneficiary_procedure_coverages", p.change("BFG", 2, CLACAR="888"))
    p.warns("parent_missing", "health_providers", p.change("BAU", 1, CODBB0="888888"))
    p.warns("parent_missing", "authorization_cancellations", p.change("BEA", 1, "bea_canedi <> ''", CODRDA="888888"))


def _broken_concatenated_keys(p: Planter) -> None:
    """A key of several fields with a blank inside counts as empty."""
    for pattern in p.rows("BA1", 2, "ba1_tipreg = '00'"):
        card = p.copy("BA1", pattern, MATRIC=f"9 {p.number():04d}")
        p.rejects("required", "beneficiaries.subscriber_id", [card])
        p.rejects("required", "beneficiaries.beneficiary_id", [card])
    p.rejects(
        "required",
        "beneficiary_status_history.subscriber_id",
        p.change("BCA", 1, MATRIC=sql.SQL("overlay(bca_matric PLACING ' ' FROM 10)")),
    )
    p.rejects("required", "pre_existing_diseases.subscriber_id", p.change("BF3", 2, TIPREG="5"))
    p.rejects(
        "required",
        "authorization_cancellations.id_on_health_insurer",
        p.change("BEA", 1, "bea_canedi <> ''", NUMAUT=numbered("8 ", 8)),
    )


def _wrong_card_digits(p: Planter) -> None:
    p.warns("check_digit", "beneficiaries.subscriber_id", p.change("BA1", 3, DIGITO=_WRONG_DIGIT))


def _dates_out_of_order(p: Planter) -> None:
    # Far enough that a sandbox built long ago still holds what its manifest says.
    future = (p.today + timedelta(days=3_650)).strftime("%Y%m%d")
    p.warns("not_before", "beneficiaries.blocked_date", p.change("BA1", 2, DATBLO="19900101"))
    p.warns("not_before", "beneficiaries.card_expiration", p.change("BA1", 1, DTVLCR="19900101"))
    p.warns(
        "not_before", "beneficiary_copayment_rules.final_term", p.change("BVM", 1, VIGDE="20200101", VIGATE="20191231")
    )
    p.warns("not_before", "subcontracts.valid_until", p.change("BQC", 1, VALID="19990101"))
    p.warns("not_future", "beneficiaries.birthdate", p.change("BA1", 2, DATNAS=future))
    p.warns("not_future", "persons.birthdate", p.change("BTS", 1, DATNAS=future))
    p.warns("not_future", "health_providers.inclusion_date", p.change("BAU", 1, DTINCL=future))


def _cascades(p: Planter) -> None:
    """What hangs on a held row is held with it, down to the last leaf."""
    children = (
        ("BFE", "beneficiary_coverage_groups"),
        ("BFO", "beneficiary_waiting_periods"),
        ("BFG", "beneficiary_procedure_coverages"),
        ("BF3", "pre_existing_diseases"),
        ("BVM", "beneficiary_copayment_rules"),
    )
    # A card whose family does not exist, with all that hangs on a card.
    patterns = {alias: p.rows(alias, 1) for alias, _ in children}
    blocks = p.rows("BCA", 1)
    for place, card in enumerate(p.rows("BA1", 1)):
        family = f"98{place:04d}"
        p.holds("beneficiaries", [p.add_card(card, CODEMP="0001", MATRIC=family, TIPREG="00")])
        for alias, table in children:
            child = p.copy(alias, patterns[alias][place], CODEMP="0001", MATRIC=family, TIPREG="00")
            p.holds(table, [child])
        block = p.copy("BCA", blocks[place], MATRIC=f"00010001{family}", TIPREG="00")
        p.holds("beneficiary_status_history", [block])
    # A company of an unknown insurer, with a family, its card and a waiting period.
    families, waits = p.rows("BA3", 1), p.rows("BFO", 1)
    companies = p.rows("BG9", 1)
    for place, card in enumerate(p.rows("BA1", 1)):
        key = {"CODINT": "0888", "MATRIC": f"97{place:04d}"}
        code = f"8{place:03d}"
        none = {"CONEMP": "", "VERCON": "", "SUBCON": "", "VERSUB": "", "CODPLA": "", "VERSAO": ""}
        company = p.copy("BG9", companies[place], CODINT="0888", CODIGO=code)
        p.holds("companies", [company])
        p.holds("families", [p.copy("BA3", families[place], CODEMP=code, **key, **none)])
        p.holds("beneficiaries", [p.add_card(card, CODEMP=code, TIPREG="00", **key, **none)])
        wait = p.copy("BFO", waits[place], CODEMP=code, TIPREG="00", **key)
        p.holds("beneficiary_waiting_periods", [wait])


def _harmless(p: Planter) -> None:
    """What looks like dirt but must be reported by nobody."""
    for recno in p.add("BTS", 2, NOMUSR="", DATNAS="20010230", fresh=_person):
        p.delete("BTS", recno)
    p.change("BCI", 2, "bci_lotgui = ''", STTISS="9", CODRDA="888888")
    p.change("BEA", 2, "bea_canedi = ''", NUMAUT=numbered("9 ", 8))
    p.change("BVM", 1, VIGDE="00000000", VIGATE="")
    p.change("BB8", 1, EST=sql.SQL("lower(bb8_est)"))
    # A row excluded and included again lives on under a new Recno.
    for recno in p.rows("BFO", 2):
        p.copy("BFO", recno)
        p.delete("BFO", recno)
