"""Reasons speak to the operator: every failure that a column can have is worded, and holds no value of the data."""

from __future__ import annotations

import pytest

from hat_etl.entities import BY_TABLE, ENTITIES
from hat_etl.entities.model import Column, Entity, Kind
from hat_etl.transform.reasons import reason


def failures(column: Column) -> list[str]:
    """Rules that can fail in ``column``."""
    declared = [rule.name for rule in column.rules if rule.name != "upper"]
    by_kind = {Kind.TEXT: ["too_long"], Kind.DATE: ["invalid_date"], Kind.FLAG: []}.get(column.kind, ["invalid_number"])
    return [*declared, *by_kind, "required", "control_character"]


@pytest.mark.parametrize("entity", ENTITIES, ids=lambda entity: entity.table)
def test_every_failure_names_the_column_and_the_field_to_mend(entity: Entity) -> None:
    for column in entity.columns:
        for rule in failures(column):
            for rejects in (True, False):
                text = reason(column, rule, rejects=rejects)
                assert text.startswith(f"A coluna {column.name} ({column.alias}) ")
                assert "no Protheus" in text
                assert any(field in text for field in column.source.all_fields)
                assert ("fora do HAT" in text) is rejects
                assert "{" not in text


def test_examples() -> None:
    beneficiaries = BY_TABLE["beneficiaries"]
    assert reason(beneficiaries["subscriber_id"], "required", rejects=True) == (
        "A coluna subscriber_id (CodigoBeneficiario) é obrigatória e está incompleta: cada parte tem de ocupar "
        "todo o seu tamanho, sem espaços. A linha fica fora do HAT até a correção. "
        "Preencha BA1_CODINT, BA1_CODEMP, BA1_MATRIC, BA1_TIPREG e BA1_DIGITO no Protheus."
    )
    assert reason(beneficiaries["gender"], "in", rejects=False) == (
        "A coluna gender (Sexo) aceita somente os códigos 1, 2. O valor foi mantido como veio. "
        "Corrija BA1_SEXO no Protheus."
    )
    assert reason(beneficiaries["health_product_code"], "too_long", rejects=False) == (
        "A coluna health_product_code (CodigoProduto) aceita no máximo 4 caracteres e o texto é mais longo. "
        "O texto foi cortado. Encurte BA1_CODPLA ou BA3_CODPLA no Protheus."
    )
