"""Bad inputs: each is refused or warned about with its own code, and none breaks the check."""

from __future__ import annotations

import codecs

import pytest

from hat_etl.sandbox.lots import sealed
from hat_etl.tiss.check import check
from hat_etl.tiss.findings import PER_CODE, RULES, Report
from hat_etl.tiss.schemas import Schemas
from hat_etl_tests.tiss.texts import CONSULTATION, REGISTRY, SADT, between, changed, consultations, without

SCHEMAS = Schemas()
GOOD = sealed(SADT)
ISO = '<?xml version="1.0" encoding="ISO-8859-1"?>\n'

GUIDE = between(CONSULTATION, "<ans:guiaConsulta>", "</ans:guiaConsulta>\n")
EXPENSE = """<ans:outrasDespesas><ans:despesa><ans:sequencialItem>1</ans:sequencialItem>
<ans:codigoDespesa>02</ans:codigoDespesa><ans:servicosExecutados><ans:dataExecucao>2026-10-02</ans:dataExecucao>
<ans:codigoTabela>20</ans:codigoTabela><ans:codigoProcedimento>90000001</ans:codigoProcedimento>
<ans:quantidadeExecutada>2</ans:quantidadeExecutada><ans:unidadeMedida>001</ans:unidadeMedida>
<ans:reducaoAcrescimo>1.00</ans:reducaoAcrescimo><ans:valorUnitario>3.00</ans:valorUnitario>
<ans:valorTotal>6.00</ans:valorTotal><ans:descricaoProcedimento>MEDICAMENTO</ans:descricaoProcedimento>
</ans:servicosExecutados></ans:despesa></ans:outrasDespesas>
"""
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


def sadt(old: str, new: str) -> bytes:
    return sealed(changed(SADT, old, new))


def consultation(old: str, new: str) -> bytes:
    return sealed(changed(CONSULTATION, old, new))


def raw(old: bytes, new: bytes) -> bytes:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def with_expense(text: str = EXPENSE, part: str = "<ans:valorMedicamentos>6.00</ans:valorMedicamentos>\n") -> str:
    """The lot with an expense of 6.00 in its first guide (procedures 26.00)."""
    told = changed(SADT, "</ans:procedimentosExecutados>\n", "</ans:procedimentosExecutados>\n" + text)
    told = changed(told, "<ans:valorTotalGeral>26.00", "<ans:valorTotalGeral>32.00")
    return changed(told, "26.00</ans:valorProcedimentos>\n", "26.00</ans:valorProcedimentos>\n" + part)


HEADER = between(SADT, "<ans:cabecalho>", "</ans:cabecalho>\n")
BODY = between(SADT, "<ans:prestadorParaOperadora>", "</ans:prestadorParaOperadora>\n")
ORIGIN = between(SADT, "<ans:origem>", "</ans:origem>\n")
DESTINATION = between(SADT, "<ans:destino>", "</ans:destino>\n")
RECEIPT = """<ans:recebimentoLote>
<ans:mensagemErro><ans:codigoGlosa>5014</ans:codigoGlosa></ans:mensagemErro>
</ans:recebimentoLote>"""

ERRORS: dict[str, tuple[str, bytes]] = {
    # The bytes.
    "nothing": ("xml.vazio", b""),
    "blanks only": ("xml.vazio", b" \r\n\t"),
    "no XML at all": ("xml.malformado", b"lote;guia;valor\n7;S1;150,00\n"),
    "a ZIP": ("encoding.nao_suportado", b"PK\x03\x00\x14\x00\x00\x00"),
    "random bytes": ("encoding.bytes_invalidos", bytes(range(1, 256))),
    "a NUL in the middle": ("xml.malformado", raw(b"CL\xcdNICA", b"CL\0NICA")),
    "cut in a tag": ("xml.truncado", GOOD[: GOOD.index(b"Padrao>") + 3]),
    "cut in a text": ("xml.truncado", GOOD[: GOOD.index(b"PREST0001") + 4]),
    "cut after a guide": ("xml.truncado", GOOD[: GOOD.index(b"</ans:guiaSP-SADT>") + 19]),
    "last tag missing": ("xml.truncado", GOOD.replace(b"</ans:mensagemTISS>", b"")),
    "tags crossed": ("xml.malformado", raw(b"</ans:destino>", b"</ans:origem>")),
    "text after the end": ("xml.malformado", GOOD + b"lixo"),
    "two messages": ("xml.malformado", GOOD + GOOD[GOOD.index(b"<ans") :]),
    "bare ampersand": ("xml.malformado", raw(b"&amp;", b"&")),
    "control character": ("xml.malformado", raw(b"EXAME", b"EX\x01ME")),
    "blank before the declaration": ("xml.malformado", b" " + GOOD),
    "attribute twice": ("xml.malformado", raw(b"<ans:cabecalho>", b'<ans:cabecalho a="1" a="2">')),
    "prefix not declared": ("xml.malformado", raw(b"<ans:cabecalho>", b"<x:cabecalho>")),
    "nested too deep": ("xml.malformado", b"<a>" * 5000 + b"</a>" * 5000),
    "too many elements": ("xml.bomba", b"<a>" + b"<b/>" * 2_000_000 + b"</a>"),
    "too many bytes": ("xml.tamanho", b"<a>" + b"x" * (32 * 1024 * 1024) + b"</a>"),
    # DTD and entities.
    "doctype": ("xml.doctype", ISO.encode() + b"<!DOCTYPE ans:mensagemTISS>" + GOOD[len(ISO) :]),
    "doctype of another file": ("xml.doctype", b'<!DOCTYPE m SYSTEM "http://127.0.0.1:9/x.dtd"><m/>'),
    "doctype after a comment": ("xml.doctype", b"<!-- > -->\n<?pi x?><!DOCTYPE m><m/>"),
    "external entity": ("xml.doctype", b'<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/hostname">]><m>&x;</m>'),
    "parameter entity": ("xml.doctype", b'<!DOCTYPE m [<!ENTITY % x SYSTEM "file:///etc/hostname"> %x;]><m/>'),
    "billion laughs": ("xml.doctype", f'<!DOCTYPE m [<!ENTITY l0 "ha">{LAUGHS}]><m>&l9;</m>'.encode()),
    "quadratic blow-up": (
        "xml.doctype",
        b'<!DOCTYPE m [<!ENTITY a "' + b"a" * 9999 + b'">]><m>' + b"&a;" * 9999 + b"</m>",
    ),
    "entity nobody declared": ("xml.entidade", raw(b"&amp;", b"&nbsp;")),
    # Encodings.
    "UTF-16": ("encoding.nao_suportado", SADT.encode("utf-16")),
    "UTF-16 without BOM": ("encoding.nao_suportado", SADT.encode("utf-16-le")),
    "UTF-32": ("encoding.nao_suportado", SADT.encode("utf-32")),
    "UTF-7": ("encoding.nao_suportado", raw(b"ISO-8859-1", b"UTF-7")),
    "EBCDIC": ("encoding.nao_suportado", raw(b"ISO-8859-1", b"IBM037")),
    "invented encoding": ("encoding.nao_suportado", raw(b"ISO-8859-1", b"ANSI")),
    "Latin-1 declared as UTF-8": ("encoding.bytes_invalidos", raw(b"ISO-8859-1", b"UTF-8")),
    "Latin-1 without declaration": ("encoding.bytes_invalidos", GOOD[len(ISO) :]),
    "Latin-1 declared as ASCII": ("encoding.bytes_invalidos", raw(b"ISO-8859-1", b"US-ASCII")),
    "UTF-8 cut in a character": ("encoding.bytes_invalidos", sealed(SADT, "utf-8").replace(b"\xc3\x8d", b"\xc3", 1)),
    "UTF-8 declared as Latin-1": ("encoding.utf8_como_iso", sealed(SADT, "utf-8").replace(b"UTF-8", b"ISO-8859-1")),
    "UTF-8 declared as Windows-1252": (
        "encoding.utf8_como_iso",
        sealed(SADT, "utf-8", "utf-8").replace(b"UTF-8", b"windows-1252"),
    ),
    "a byte that Windows-1252 lacks": (
        "encoding.bytes_invalidos",
        sealed(SADT, "cp1252").replace(b"CP1252", b"windows-1252").replace(b"EXAME", b"EXAM\x81"),
    ),
    "BOM and Latin-1 declared": (
        "encoding.bom_contraditorio",
        codecs.BOM_UTF8 + sealed(SADT, "utf-8").replace(b"UTF-8", b"ISO-8859-1"),
    ),
    "BOM and Latin-1 bytes": ("encoding.bom_contraditorio", codecs.BOM_UTF8 + GOOD),
    "curly quotes of Windows": ("encoding.cp1252", raw(b"EXAME", b"\x93EXAME\x94")),
    # Root and version.
    "another root": ("raiz.desconhecida", b"<lote/>"),
    "message of another namespace": ("raiz.desconhecida", sadt("http://www.ans.gov.br", "https://www.ans.gov.br")),
    "message without namespace": ("raiz.desconhecida", sealed(SADT.replace("ans:", "").replace("xmlns:ans", "x"))),
    "a part as root": (
        "raiz.desconhecida",
        sealed(changed(SADT, "mensagemTISS", "loteGuias").replace("mensagemTISS", "loteGuias")),
    ),
    "empty envelope": (
        "corpo.vazio",
        b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>',
    ),
    "no version": ("versao.ausente", sealed(without(SADT, "<ans:Padrao>", "</ans:Padrao>\n"))),
    "blank version": ("versao.ausente", sadt("<ans:Padrao>4.03.00", "<ans:Padrao> ")),
    "no header": ("versao.ausente", sealed(SADT.replace(HEADER, ""))),
    "version of the catalogue": ("versao.invalida", sadt("<ans:Padrao>4.03.00", "<ans:Padrao>04.03.00")),
    "version before 3": ("versao.invalida", sadt("<ans:Padrao>4.03.00", "<ans:Padrao>2.02.03")),
    "version to come": ("versao.invalida", sadt("<ans:Padrao>4.03.00", "<ans:Padrao>9.99.99")),
    "version that climbs folders": ("versao.invalida", sadt("<ans:Padrao>4.03.00", "<ans:Padrao>../4.03.00")),
    "version without schema": ("versao.sem_esquema", sadt("<ans:Padrao>4.03.00", "<ans:Padrao>4.00.00")),
    "old version without schema": ("versao.sem_esquema", sadt("<ans:Padrao>4.03.00", "<ans:Padrao>3.05.00")),
    # The schema.
    "element nobody knows": ("xsd.elemento", sadt("<ans:Padrao>", "<ans:inventado/><ans:Padrao>")),
    "mandatory element missing": (
        "xsd.elemento",
        sealed(without(SADT, "<ans:dadosBeneficiario>", "</ans:dadosBeneficiario>\n")),
    ),
    "elements out of order": ("xsd.elemento", sealed(SADT.replace(ORIGIN + DESTINATION, DESTINATION + ORIGIN))),
    "code of another version": ("xsd.dominio", sadt("<ans:tipoAtendimento>23", "<ans:tipoAtendimento>05")),
    "registry of letters": ("xsd.formato", sealed(SADT.replace(REGISTRY, "ABCDEF"))),
    "lot number too long": ("xsd.tamanho", sadt("<ans:numeroLote>7", "<ans:numeroLote>1234567890123")),
    "date of Brazil": ("xsd.tipo", sadt("<ans:dataExecucao>2026-10-02", "<ans:dataExecucao>02/10/2026")),
    "decimal comma": ("xsd.tipo", sadt("<ans:valorUnitario>10.50", "<ans:valorUnitario>10,50")),
    "three decimals": ("xsd.tamanho", sadt("<ans:valorUnitario>10.50", "<ans:valorUnitario>10.505")),
    "attribute nobody knows": ("xsd.atributo", sadt("<ans:cabecalho>", '<ans:cabecalho id="1">')),
    "text between elements": ("xsd.elemento", sadt("<ans:origem>\n", "<ans:origem>lixo\n")),
    # Type of transaction, body, direction, parties.
    "type of transaction nobody knows": ("transacao.tipo_desconhecido", sadt("ENVIO_LOTE_GUIAS", "LOTE")),
    "type of another body": ("transacao.corpo_divergente", sadt("ENVIO_LOTE_GUIAS", "CANCELA_GUIA")),
    "type of the other direction": ("transacao.direcao", sadt("ENVIO_LOTE_GUIAS", "PROTOCOLO_RECEBIMENTO")),
    "body of the other direction": (
        "transacao.direcao",
        sealed(SADT.replace(BODY, f"<ans:operadoraParaPrestador>{RECEIPT}</ans:operadoraParaPrestador>")),
    ),
    "no body": ("corpo.vazio", sealed(SADT.replace(BODY, ""))),
    "empty body": ("corpo.vazio", sealed(SADT.replace(BODY, "<ans:prestadorParaOperadora/>"))),
    "empty lot": (
        "corpo.vazio",
        sealed(SADT.replace(BODY, "<ans:prestadorParaOperadora><ans:loteGuias/></ans:prestadorParaOperadora>")),
    ),
    "operator as sender": ("origem.invalida", sealed(SADT.replace(ORIGIN, DESTINATION.replace("destino", "origem")))),
    "provider as receiver": (
        "destino.invalido",
        sealed(SADT.replace(DESTINATION, ORIGIN.replace("origem", "destino"))),
    ),
    "for another operator": ("destino.outra_operadora", sealed(SADT.replace(REGISTRY, "999999"))),
    "a guide of another operator": (
        "guia.outra_operadora",
        sealed(changed(SADT, DESTINATION, "@").replace(REGISTRY, "999999").replace("@", DESTINATION)),
    ),
    # The lot.
    "no lot number": ("lote.sem_numero", sadt("<ans:numeroLote>7", "<ans:numeroLote>")),
    "no guides": (
        "lote.sem_guias",
        sealed(
            without(CONSULTATION, "<ans:guiaConsulta>", "</ans:guiasTISS>").replace(
                "<ans:guiasTISS>", "<ans:guiasTISS></ans:guiasTISS>"
            )
        ),
    ),
    "101 guides": ("lote.excesso_de_guias", sealed(consultations(101))),
    "two types of guides": ("lote.tipos_misturados", sadt("</ans:guiasTISS>", GUIDE + "</ans:guiasTISS>")),
    "guide number twice": ("lote.guia_duplicada", consultation(">C2<", ">C1<")),
    "guide number twice but for blanks": ("lote.guia_duplicada", consultation(">C2<", "> C1 <")),
    "sequence number twice": ("item.sequencial_duplicado", sadt("<ans:sequencialItem>2", "<ans:sequencialItem>1")),
    "sequence number twice with a zero": (
        "item.sequencial_duplicado",
        sadt("<ans:sequencialItem>2", "<ans:sequencialItem>01"),
    ),
    "item total wrong": ("item.valor_divergente", sadt("<ans:valorTotal>21.00", "<ans:valorTotal>21.02")),
    "expense total wrong": ("item.valor_divergente", sealed(with_expense(EXPENSE.replace(">6.00<", ">7.00<")))),
    "grand total wrong": ("guia.total_divergente", sadt("<ans:valorTotalGeral>26.00", "<ans:valorTotalGeral>26.01")),
    "total of procedures wrong": (
        "guia.parcela_divergente",
        sadt(">26.00</ans:valorProcedimentos", ">25.00</ans:valorProcedimentos"),
    ),
    "total of medicines missing": ("guia.total_divergente", sealed(with_expense(part=""))),
    "total of materials for a medicine": (
        "guia.parcela_divergente",
        sealed(with_expense(part="<ans:valorMateriais>6.00</ans:valorMateriais>\n")),
    ),
    # The hash.
    "hash wrong": ("hash.divergente", GOOD.replace(b">10.50<", b">10.51<").replace(b"PROFISSIONAL", b"PROFESSIONAL")),
    "hash empty": ("hash.ausente", SADT.encode("iso-8859-1").join([ISO.encode(), b""])),
    "no epilogue": ("hash.ausente", sealed(without(SADT, "<ans:epilogo>", "</ans:epilogo>\n"))),
    "hash over trimmed values": ("hash.divergente", raw(b">EXAME SINT\xc9TICO<", b"> EXAME SINT\xc9TICO<")),
}

WARNINGS: dict[str, tuple[str, bytes]] = {
    "BOM and UTF-8": ("encoding.bom", codecs.BOM_UTF8 + sealed(SADT, "utf-8")),
    "Windows-1252, declared": ("encoding.incomum", sealed(SADT, "cp1252").replace(b"CP1252", b"windows-1252")),
    "foreign prefix": ("prefixo.incomum", sealed(SADT.replace("ans:", "tiss:").replace(":ans=", ":tiss="))),
    "hash over UTF-8": ("hash.utf8", sealed(SADT, "utf-8", "utf-8")),
    "guide without items": (
        "guia.sem_itens",
        sealed(
            changed(
                without(SADT, "<ans:procedimentosExecutados>", "</ans:procedimentosExecutados>\n"),
                "<ans:valorProcedimentos>26.00</ans:valorProcedimentos>\n<ans:valorTotalGeral>26.00",
                "<ans:valorTotalGeral>0.00",
            )
        ),
    ),
    "in an envelope": (
        "raiz.envelope_soap",
        (
            '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
            + sealed(SADT, "utf-8").decode().partition("?>")[2]
            + "</s:Body></s:Envelope>"
        ).encode(),
    ),
}  # fmt: skip

GOOD_INPUTS: dict[str, bytes] = {
    "Latin-1": GOOD,
    "UTF-8": sealed(SADT, "utf-8"),
    "no declaration": sealed(SADT, "utf-8").partition(b"\n")[2],
    "default namespace": sealed(SADT.replace("ans:", "").replace("xmlns:ans", "xmlns").replace(":ans=", "=")),
    "hash in capitals": GOOD.replace(
        between(GOOD.decode("latin-1"), "<ans:hash>", "</")[10:-2].encode(),
        between(GOOD.decode("latin-1"), "<ans:hash>", "</")[10:-2].upper().encode(),
    ),
    "comment in a text": raw(b"EXAME", b"EX<!-- x -->AME"),
    "CDATA": raw(b"CL\xcdNICA", b"<![CDATA[CL\xcdNICA]]>"),
    "CRLF between elements": GOOD.replace(b"\n", b"\r\n"),
    "100 consultations": sealed(consultations(100)),
    "an expense": sealed(with_expense()),
    "schema location": sadt(
        "<ans:mensagemTISS ",
        '<ans:mensagemTISS xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xsi:schemaLocation="http://www.ans.gov.br/padroes/tiss/schemas http://127.0.0.1:9/tissV4_03_00.xsd" ',
    ),
    "a total without its parts": sealed(changed(SADT, "<ans:valorProcedimentos>26.00</ans:valorProcedimentos>\n", "")),
    "a cent of rounding": sealed(
        changed(changed(SADT, ">21.00</ans:valorTotal>", ">21.01</ans:valorTotal>"), ">26.00<", ">26.01<").replace(
            ">26.00<", ">26.01<"
        )
    ),
    "a factor that the unit price has already": sadt("<ans:reducaoAcrescimo>1.00", "<ans:reducaoAcrescimo>0.50"),
}


def verdict(content: bytes) -> Report:
    return check(content, schemas=SCHEMAS, registry=REGISTRY)


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


@pytest.mark.parametrize("name", GOOD_INPUTS)
def test_a_good_lot_is_accepted_without_findings(name: str) -> None:
    report = verdict(GOOD_INPUTS[name])
    assert report.findings == ()
    assert report.accepted
    assert report.lot is not None


@pytest.mark.parametrize("name", ERRORS)
def test_a_bad_input_is_refused_with_its_code(name: str) -> None:
    code, content = ERRORS[name]
    report = verdict(content)
    assert code in codes(report)
    assert RULES[code].severity == "error"
    assert not report.accepted


@pytest.mark.parametrize("name", WARNINGS)
def test_an_odd_input_is_accepted_with_a_warning(name: str) -> None:
    code, content = WARNINGS[name]
    report = verdict(content)
    assert codes(report) == {code}
    assert RULES[code].severity == "warning"
    assert report.accepted


def test_every_code_has_an_input_that_raises_it() -> None:
    raised = {code for code, _ in (*ERRORS.values(), *WARNINGS.values())}
    elsewhere = {"raiz.nao_e_lote", "achados.omitidos", "xsd.outro"}
    assert raised | elsewhere == set(RULES)
    assert len(ERRORS) + len(WARNINGS) >= 60


def test_a_message_that_is_no_lot_is_refused_where_a_lot_is_asked_for() -> None:
    header = HEADER.replace(ORIGIN + DESTINATION, "{}{}").replace("ENVIO_LOTE_GUIAS", "PROTOCOLO_RECEBIMENTO")
    back = header.format(DESTINATION.replace("destino", "origem"), ORIGIN.replace("origem", "destino"))
    root = 'ans:protocoloRecebimentoWS xmlns:ans="http://www.ans.gov.br/padroes/tiss/schemas"'
    content = sealed(f"<{root}>{back}{RECEIPT}<ans:hash></ans:hash></ans:protocoloRecebimentoWS>")
    assert check(content, schemas=SCHEMAS).accepted
    assert codes(check(content, schemas=SCHEMAS, lot_only=True)) == {"raiz.nao_e_lote"}


def test_a_fault_is_a_good_message_and_no_lot() -> None:
    root = 'tissFaultWS xmlns="http://www.ans.gov.br/padroes/tiss/schemas"'
    content = f"<{root}><tissFault>LoginInvalido</tissFault></tissFaultWS>".encode()
    assert check(content, schemas=SCHEMAS) == Report(None, True, "none", ())
    assert not check(content.replace(b"Login", b"X"), schemas=SCHEMAS).accepted
    assert codes(check(content, schemas=SCHEMAS, lot_only=True)) == {"raiz.nao_e_lote"}


def test_many_findings_of_one_code_are_counted_in_the_end() -> None:
    report = verdict(sealed(consultations(100).replace(">100.00<", ">x<")))
    assert [finding.code for finding in report.findings].count("xsd.tipo") == PER_CODE
    assert report.findings[-1].message == "Há pelo menos mais 50 achados do código xsd.tipo."


@pytest.mark.parametrize(("old", "new", "valid"), [("@", "@", True), (">10.50<", ">x<", False)])
def test_a_guide_of_thousands_of_items_is_checked_like_any_other(old: str, new: str, valid: bool) -> None:
    items = between(SADT, "<ans:procedimentosExecutados>\n", "</ans:procedimentoExecutado>\n")
    item = items.partition("\n")[2]
    numbered = "".join(item.replace(">1</ans:seq", f">{number}</ans:seq") for number in range(3, 3003))
    text = changed(SADT, item, item + numbered).replace(">26.00<", ">63026.00<")
    report = verdict(sealed(text.replace(old, new)))
    assert report.xsd_valid is valid
    assert report.accepted is valid
    assert codes(report) == (set() if valid else {"xsd.tipo", "achados.omitidos"})
    assert {finding.where for finding in report.findings} == (set() if valid else {"arquivo"})


def test_a_version_without_a_schema_is_neither_valid_nor_invalid() -> None:
    assert verdict(ERRORS["version without schema"][1]).xsd_valid is None
    assert verdict(ERRORS["version to come"][1]).xsd_valid is False


def test_each_version_is_checked_by_its_own_schema() -> None:
    honoraries = "<ans:Padrao>4.02.00"
    report = verdict(sadt("<ans:Padrao>4.03.00", honoraries))
    assert report.version == "4.02.00"
    assert report.accepted


def test_what_personal_fields_hold_is_in_no_message() -> None:
    canaries = {"00000000000000001": "99912345678901239991", "PROFISSIONAL SINTÉTICO": "MARIA DA SILVA CANARIA " * 5,
                "CLÍNICA SINTÉTICA": "CLINICA CANARIA " * 9, "EXAME SINTÉTICO": "DIAGNOSTICO CANARIO " * 20,
                "<ans:atendimentoRN>N": "<ans:atendimentoRN>CANARIO", "<ans:CNES>9999999": "<ans:CNES>CANARIO99",
                "2026-10-02": "CANARIO-DATA", "PREST0001": "PRESTADOR CANARIO"}  # fmt: skip
    text = SADT
    for old, new in canaries.items():
        text = text.replace(old, new)
    report = verdict(sealed(text))
    said = repr(report) + "".join(finding.message + finding.where for finding in report.findings)
    assert len(report.findings) > 5
    assert "CANARI" not in said.upper()
    assert "999123" not in said
