"""Every text is cleaned by the contract's order, whatever shape Arrow brings it in."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hat_etl.transform import clean
from hat_etl.transform.texts import Texts
from hat_etl_tests.transform import reference, strategies


def cleaned(text: str | None) -> str | None:
    blanked = "".join(" " if reference.is_control(character) else character for character in text or "")
    return blanked.strip(" ") or None


def stored(text: str | None) -> Texts:
    return Texts(pa.array([text], pa.string()))


@given(strategies.text_arrays)
def test_control_characters_become_blanks_and_blanks_go_at_both_ends(array: pa.Array) -> None:
    texts, controlled = clean.clean(array)
    given_texts = array.to_pylist()
    assert texts.array.to_pylist() == [cleaned(text) for text in given_texts]
    assert controlled.tolist() == [any(map(reference.is_control, text or "")) for text in given_texts]


@pytest.mark.parametrize("code", [*range(0x20), *range(0x7F, 0xA0)])
def test_each_control_character_becomes_one_blank(code: int) -> None:
    texts, controlled = clean.clean(pa.array([f"a{chr(code)}b", "ab"]))
    assert texts.array.to_pylist() == ["a b", "ab"]
    assert controlled.tolist() == [True, False]


@pytest.mark.parametrize("text", ["\u00a0a\u00a0", "\u2003a", "a\u3000", "~", "¡"])
def test_other_blanks_and_neighbours_of_control_characters_are_text(text: str) -> None:
    texts, controlled = clean.clean(pa.array([text]))
    assert texts.array.to_pylist() == [text]
    assert not controlled.any()


def test_bytes_hidden_under_a_null_are_no_text() -> None:
    hidden = pa.StringArray.from_buffers(
        2, pa.py_buffer(b"\0\0\0\0\2\0\0\0\3\0\0\0"), pa.py_buffer(b" xy"), pa.py_buffer(b"\2")
    )
    assert hidden.to_pylist() == [None, "y"]
    texts, _ = clean.clean(hidden)
    assert texts.array.to_pylist() == [None, "y"]
    assert texts.filled.tolist() == [False, True]


@given(strategies.text_arrays, st.integers(1, 6))
def test_a_text_is_cut_by_characters_and_trimmed_again(array: pa.Array, width: int) -> None:
    texts, _ = clean.clean(array)
    given_texts = texts.array.to_pylist()
    long = clean.too_long(texts, width)
    assert long.tolist() == [len(text or "") > width for text in given_texts]
    expected = [text[:width].strip(" ") if text else None for text in given_texts]
    assert clean.cut(texts, long, width).array.to_pylist() == expected


@given(strategies.text_arrays, st.integers(1, 4))
def test_a_concatenation_is_complete_only_when_full_and_without_a_blank(array: pa.Array, width: int) -> None:
    texts, _ = clean.clean(array)
    expected = [bool(text) and (len(text) != width or " " in text) for text in texts.array.to_pylist()]
    assert clean.incomplete(texts, width).tolist() == expected


@given(strategies.text_arrays)
def test_an_empty_text_takes_the_constant(array: pa.Array) -> None:
    texts, _ = clean.clean(array)
    assert clean.fill(texts, "-").array.to_pylist() == [text or "-" for text in texts.array.to_pylist()]


@given(strategies.text_arrays)
def test_letters_become_capitals_and_nothing_else_changes(array: pa.Array) -> None:
    texts, _ = clean.clean(array)
    expected = [text and text.upper() for text in texts.array.to_pylist()]
    assert clean.upper(texts).array.to_pylist() == expected


def test_upper_case_does_not_change_the_length() -> None:
    assert len(clean.upper(stored("ß")).array[0].as_py()) == 1


@given(strategies.text_arrays, st.data())
def test_the_matrix_holds_the_texts_of_one_width_with_their_rows(array: pa.Array, data: st.DataObject) -> None:
    texts, _ = clean.clean(array)
    encoded = [(text or "").encode() for text in texts.array.to_pylist()]
    width = data.draw(st.sampled_from([len(text) for text in encoded if text] or [3]))
    rows, matrix = texts.matrix(width)
    assert rows.tolist() == [row for row, text in enumerate(encoded) if len(text) == width]
    assert [bytes(line) for line in matrix] == [text for text in encoded if len(text) == width]
