"""Lots to break: texts of valid lots, and the means to change one thing in them."""

from __future__ import annotations

from decimal import Decimal

from hat_etl.sandbox import lots
from hat_etl.sandbox.lots import Guide, Procedure

REGISTRY = "412345"
PROVIDER = "PREST0001"
VERSION = "4.03.00"

SADT = lots.sadt_lot_text(
    "7",
    [
        Guide("S1", procedures=[Procedure("40304361", 2, Decimal("10.50")), Procedure("40302547", 1, Decimal("5.00"))]),
        Guide("S2"),
    ],
    registry=REGISTRY,
    provider=PROVIDER,
    version=VERSION,
)
CONSULTATION = lots.consultation_lot_text("8", ["C1", "C2"], registry=REGISTRY, provider=PROVIDER, version=VERSION)


def consultations(number: int) -> str:
    """A lot of so many consultations."""
    guides = [f"C{position}" for position in range(number)]
    return lots.consultation_lot_text("9", guides, registry=REGISTRY, provider=PROVIDER, version=VERSION)


def changed(text: str, old: str, new: str) -> str:
    """The text with the first ``old`` replaced, which must be there."""
    assert old in text, old
    return text.replace(old, new, 1)


def without(text: str, start: str, end: str) -> str:
    """The text without what stands from the first ``start`` to the next ``end``, both included."""
    head, found, rest = text.partition(start)
    assert found, start
    _, found, tail = rest.partition(end)
    assert found, end
    return head + tail


def between(text: str, start: str, end: str) -> str:
    """What stands from the first ``start`` to the next ``end``, both included."""
    at = text.index(start)
    return text[at : text.index(end, at) + len(end)]


def as_lot(guides: str) -> str:
    """A lot of the guides given as text."""
    return without(CONSULTATION, "<ans:guiaConsulta>", "</ans:guiasTISS>").replace(
        "<ans:guiasTISS>\n", f"<ans:guiasTISS>\n{guides}</ans:guiasTISS>"
    )


def tags(*names_and_values: tuple[str, str]) -> str:
    """One element on a line each."""
    return "".join(f"<ans:{name}>{value}</ans:{name}>\n" for name, value in names_and_values)


def box(name: str, *inside: str) -> str:
    """An element around others."""
    return f"<ans:{name}>\n{''.join(inside)}</ans:{name}>\n"


HEAD = box("cabecalhoGuia", tags(("registroANS", REGISTRY), ("numeroGuiaPrestador", "G1")))
PERSON = tags(("numeroCarteira", "00000000000000001"), ("atendimentoRN", "N"))
CONTRACTED = tags(("codigoPrestadorNaOperadora", PROVIDER))
PROCEDURE = tags(
    ("codigoTabela", "22"), ("codigoProcedimento", "30715016"), ("descricaoProcedimento", "PROCEDIMENTO SINTÉTICO")
)


def line(sequence: int, quantity: int, price: str, total: str) -> str:
    """What a procedure of a stay or an honorary begins with."""
    return (
        tags(("sequencialItem", str(sequence)), ("dataExecucao", "2026-10-02"))
        + box("procedimento", PROCEDURE)
        + tags(("quantidadeExecutada", str(quantity)), ("reducaoAcrescimo", "1.00"))
        + tags(("valorUnitario", price), ("valorTotal", total))
    )


HONORARIES = as_lot(
    box(
        "guiaHonorarios",
        HEAD,
        tags(("guiaSolicInternacao", "I1")),
        box("beneficiario", PERSON),
        box(
            "localContratado",
            box("codigoContratado", tags(("codigoNaOperadora", PROVIDER))),
            tags(("nomeContratado", "HOSPITAL SINTÉTICO"), ("cnes", "9999999")),
        ),
        box(
            "dadosContratadoExecutante", tags(("codigonaOperadora", PROVIDER), ("cnesContratadoExecutante", "9999999"))
        ),
        box(
            "dadosInternacao",
            tags(
                ("dataInicioFaturamento", "2026-10-01"),
                ("dataFimFaturamento", "2026-10-03"),
                ("caraterAtendimento", "1"),
            ),
        ),
        box(
            "procedimentosRealizados",
            *(
                box(
                    "procedimentoRealizado",
                    line(sequence, 2, "100.00", "200.00"),
                    box(
                        "profissionais",
                        tags(("grauParticipacao", "00")),
                        box("codProfissional", CONTRACTED),
                        tags(("nomeProfissional", "MÉDICO SINTÉTICO"), ("conselhoProfissional", "06")),
                        tags(("numeroConselhoProfissional", "1"), ("UF", "35"), ("CBO", "225125")),
                    ),
                )
                for sequence in (1, 2)
            ),
        ),
        tags(("valorTotalHonorarios", "400.00"), ("dataEmissaoGuia", "2026-10-04")),
    )
)

STAY = as_lot(
    box(
        "guiaResumoInternacao",
        HEAD,
        tags(("numeroGuiaSolicitacaoInternacao", "I1")),
        box("dadosAutorizacao", tags(("dataAutorizacao", "2026-10-01"), ("senha", "SENHA1"))),
        box("dadosBeneficiario", PERSON),
        box("dadosExecutante", box("contratadoExecutante", CONTRACTED), tags(("CNES", "9999999"))),
        box(
            "dadosInternacao",
            tags(("caraterAtendimento", "1"), ("tipoFaturamento", "4"), ("dataInicioFaturamento", "2026-10-01")),
            tags(("horaInicioFaturamento", "08:00:00"), ("dataFinalFaturamento", "2026-10-03")),
            tags(("horaFinalFaturamento", "18:00:00"), ("tipoInternacao", "1"), ("regimeInternacao", "1")),
        ),
        box("dadosSaidaInternacao", tags(("indicadorAcidente", "9"), ("motivoEncerramento", "11"))),
        box("procedimentosExecutados", box("procedimentoExecutado", line(1, 1, "500.00", "500.00"))),
        box(
            "valorTotal",
            tags(("valorProcedimentos", "500.00"), ("valorDiarias", "300.00"), ("valorTotalGeral", "800.00")),
        ),
        box(
            "outrasDespesas",
            box(
                "despesa",
                tags(("sequencialItem", "1"), ("codigoDespesa", "05")),
                box(
                    "servicosExecutados",
                    tags(("dataExecucao", "2026-10-02"), ("codigoTabela", "18"), ("codigoProcedimento", "60000015")),
                    tags(("quantidadeExecutada", "2"), ("unidadeMedida", "001"), ("reducaoAcrescimo", "1.00")),
                    tags(("valorUnitario", "150.00"), ("valorTotal", "300.00")),
                    tags(("descricaoProcedimento", "DIÁRIA SINTÉTICA")),
                ),
            ),
        ),
    )
)

DENTAL = as_lot(
    box(
        "guiaOdonto",
        tags(("registroANS", REGISTRY), ("numeroGuiaPrestador", "G1")),
        box("dadosBeneficiario", PERSON),
        tags(("planoBeneficiario", "PLANO SINTÉTICO")),
        box(
            "dadosProfissionaisResponsaveis",
            tags(("codigoProfExec", "1"), ("croExec", "1"), ("ufExec", "35"), ("cnesExec", "9999999")),
            tags(("cbosExec2", "223208")),
        ),
        *(
            box(
                "procedimentosExecutados",
                tags(("sequencialItem", str(sequence))),
                box("procSolic", PROCEDURE),
                tags(
                    ("qtdProc", "2"), ("valorProc", "60.00"), ("autorizado", "true"), ("dataRealizacao", "2026-10-02")
                ),
            )
            for sequence in (1, 2)
        ),
        tags(("tipoAtendimento", "1"), ("tipoFaturamento", "4"), ("valorTotalProc", "120.00")),
    )
)
