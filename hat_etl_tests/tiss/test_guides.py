"""Every type of guide is summed by its own rules, and taken by the operator of the sandbox."""

from __future__ import annotations

from decimal import Decimal

import pytest

from hat_etl.sandbox.lots import sealed
from hat_etl.sandbox.operator.server import OperatorServer
from hat_etl.tiss import messages, replies
from hat_etl.tiss.check import check
from hat_etl.tiss.schemas import Schemas
from hat_etl_tests.tiss.texts import CONSULTATION, DENTAL, HONORARIES, SADT, STAY, VERSION, changed

SCHEMAS = Schemas()

LOTS = {
    "guiaSP-SADT": (SADT, "176.00"),
    "guiaConsulta": (CONSULTATION, "200.00"),
    "guiaHonorarios": (HONORARIES, "400.00"),
    "guiaResumoInternacao": (STAY, "800.00"),
    "guiaOdonto": (DENTAL, "120.00"),
}


@pytest.mark.parametrize("kind", LOTS)
def test_a_good_lot_says_what_it_is_and_asks_for(kind: str) -> None:
    text, total = LOTS[kind]
    report = check(sealed(text), schemas=SCHEMAS)
    assert report.findings == ()
    assert report.accepted
    assert report.lot is not None
    assert (report.lot.guide_type, report.lot.total, report.lot.registry) == (kind, Decimal(total), "412345")
    assert (report.lot.provider_kind, report.lot.provider) == ("codigoPrestadorNaOperadora", "PREST0001")


WRONG = {
    "total of honoraries": (HONORARIES, ">400.00<", ">400.01<", "guia.total_divergente"),
    "item of honoraries": (HONORARIES, ">200.00<", ">201.00<", "item.valor_divergente"),
    "days of a stay": (STAY, ">300.00</ans:valorDiarias", ">299.00</ans:valorDiarias", "guia.parcela_divergente"),
    "total without its parts": (
        SADT,
        "<ans:valorProcedimentos>26.00</ans:valorProcedimentos>\n<ans:valorTotalGeral>26.00",
        "<ans:valorTotalGeral>27.00",
        "guia.total_divergente",
    ),
    "all of a stay": (STAY, ">800.00<", ">801.00<", "guia.total_divergente"),
    "expense of a stay": (STAY, "quantidadeExecutada>2<", "quantidadeExecutada>3<", "item.valor_divergente"),
    "total of a dental guide": (DENTAL, ">120.00<", ">121.00<", "guia.total_divergente"),
    "item of a dental guide twice": (DENTAL, "sequencialItem>2<", "sequencialItem>1<", "item.sequencial_duplicado"),
    "registry of a dental guide": (
        DENTAL,
        "<ans:guiaOdonto>\n<ans:registroANS>412345",
        "<ans:guiaOdonto>\n<ans:registroANS>999999",
        "guia.outra_operadora",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_sum_is_found(name: str) -> None:
    text, old, new, code = WRONG[name]
    report = check(sealed(changed(text, old, new)), schemas=SCHEMAS)
    assert code in {finding.code for finding in report.findings}
    assert not report.accepted


def test_a_dental_value_may_be_that_of_one_procedure() -> None:
    assert check(sealed(changed(DENTAL, ">120.00<", ">240.00<")), schemas=SCHEMAS).accepted


def test_the_schema_is_that_of_the_stated_version_and_no_newer_one() -> None:
    text = changed(HONORARIES, "<ans:caraterAtendimento>1</ans:caraterAtendimento>\n", "")
    assert not check(sealed(text), schemas=SCHEMAS).xsd_valid
    older = sealed(changed(text, f"Padrao>{VERSION}", "Padrao>4.02.00"))
    assert check(older, schemas=SCHEMAS).accepted


@pytest.mark.parametrize("kind", LOTS)
def test_the_operator_answers_for_every_type_of_guide_by_the_schema(kind: str) -> None:
    with OperatorServer() as operator:
        content = messages.lot(sealed(LOTS[kind][0])).content()
        taken = operator.service.soap(VERSION, "tissLoteGuias", content)
        receipt = replies.parse(taken.content)
        assert isinstance(receipt, replies.Receipt)
        assert receipt.total == Decimal(LOTS[kind][1])
        assert check(taken.content, schemas=SCHEMAS).accepted
