"""The hash, over any texts; and the check, over any bytes."""

from __future__ import annotations

import hashlib
from html import escape

from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lxml import etree

from hat_etl.sandbox.lots import sealed
from hat_etl.tiss import hashing
from hat_etl.tiss.check import check
from hat_etl.tiss.document import NS
from hat_etl.tiss.findings import RULES
from hat_etl.tiss.schemas import Schemas
from hat_etl_tests.tiss.texts import SADT

SCHEMAS = Schemas()
GOOD = sealed(SADT)

# What XML can hold in a text as it is: no carriage return, which a parser turns into a line feed.
CHARACTERS = st.characters(
    codec="utf-8", exclude_categories=["Cs", "Cc"], include_characters="\t\n", exclude_characters="\ufffe\uffff"
)
TEXTS = st.lists(st.text(CHARACTERS), min_size=1, max_size=6)
LATIN = st.lists(st.text(st.characters(codec="iso-8859-1", exclude_categories=["Cc"])), min_size=1, max_size=6)


def message(texts: list[str], stated: str, between: str = "") -> etree._Element:
    leaves = between.join(f"<campo>{escape(text)}</campo>" for text in texts)
    content = f"<corpo>{between}{leaves}{between}</corpo><epilogo><hash>{stated}</hash></epilogo>"
    return etree.fromstring(f'<mensagemTISS xmlns="{NS}">{content}</mensagemTISS>'.encode())


def md5(text: str, encoding: str) -> str:
    return hashlib.md5(text.encode(encoding), usedforsecurity=False).hexdigest()


@given(LATIN, st.sampled_from(["", " ", "\n\t"]))
def test_the_hash_is_md5_of_the_joined_texts_in_latin_1(texts: list[str], between: str) -> None:
    joined = "".join(texts)
    found = hashing.right_in(message(texts, md5(joined, "iso-8859-1"), between))
    assert found == ("both" if joined.isascii() else "iso-8859-1")


@given(TEXTS)
def test_a_hash_over_utf_8_is_known_as_such(texts: list[str]) -> None:
    joined = "".join(texts)
    found = hashing.right_in(message(texts, md5(joined, "utf-8").upper()))
    assert found == ("both" if joined.isascii() else "utf-8")


@given(TEXTS, st.data())
def test_a_changed_text_has_another_hash(texts: list[str], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(texts) - 1))
    other = [*texts[:at], data.draw(st.text(CHARACTERS)), *texts[at + 1 :]]
    assume("".join(other) != "".join(texts))
    assert hashing.right_in(message(other, md5("".join(texts), "utf-8"))) == "none"


@given(st.text(CHARACTERS))
def test_the_seal_is_not_part_of_what_is_hashed(signature: str) -> None:
    sealed_message = message(["a"], md5("a", "utf-8"))
    etree.SubElement(sealed_message, f"{{{NS}}}Signature").text = signature
    assert hashing.right_in(sealed_message) == "both"


def report_stands(content: bytes) -> None:
    report = check(content, schemas=SCHEMAS)
    assert report.accepted == (report.xsd_valid is True and all(f.severity == "warning" for f in report.findings))
    assert report.accepted or report.findings
    assert all(finding.code in RULES and finding.where and finding.message for finding in report.findings)


@given(st.binary(max_size=400))
def test_any_bytes_get_a_report(content: bytes) -> None:
    report_stands(content)


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(GOOD)), st.integers(0, 40), st.binary(max_size=6)), min_size=1, max_size=4)
)
def test_any_damage_to_a_lot_gets_a_report(damages: list[tuple[int, int, bytes]]) -> None:
    content = GOOD
    for at, gone, instead in damages:
        content = content[:at] + instead + content[at + gone :]
    report_stands(content)


NAMES = st.sampled_from(
    [
        *("mensagemTISS", "cabecalho", "Padrao", "loteGuias", "guiasTISS", "guiaSP-SADT", "guiaOdonto", "origem"),
        *("guiaHonorarios", "valorTotal", "epilogo", "hash", "procedimentosExecutados", "tissFaultWS", "loteGuiasWS"),
        *("prestadorParaOperadora", "identificacaoPrestador", "valorTotalGeral", "sequencialItem"),
    ]
)
TREES = st.recursive(
    st.tuples(NAMES, st.sampled_from(["", "4.03.00", "-1", "1e9", "NaN", "9" * 40, " "])),
    lambda inner: st.tuples(NAMES, st.lists(inner, max_size=5)),
    max_leaves=40,
)


def written(tree: tuple[str, object]) -> str:
    name, inner = tree
    content = "".join(map(written, inner)) if isinstance(inner, list) else str(inner)
    return f"<{name}>{content}</{name}>"


@given(
    st.sampled_from(["mensagemTISS", "loteGuiasWS", "situacaoProtocoloWS", "tissFaultWS"]), st.lists(TREES, max_size=6)
)
def test_any_tree_of_the_standards_elements_gets_a_report(root: str, trees: list[tuple[str, object]]) -> None:
    report_stands(f'<{root} xmlns="{NS}">{"".join(map(written, trees))}</{root}>'.encode())
