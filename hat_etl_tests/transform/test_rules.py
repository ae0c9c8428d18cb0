"""Each check of the contract passes what is good, fails what is not, and lets NULL pass."""

from __future__ import annotations

import datetime
from random import Random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hat_etl.transform import clean, rules
from hat_etl.transform.convert import Values, day_number
from hat_etl.transform.texts import Texts
from hat_etl.transform.vocabulary import Vocabulary
from hat_etl_tests.transform import reference, strategies

CHECKS = sorted(rules.TEXT_CHECKS)


def failing(token: str, *values: str | None) -> list[bool]:
    return rules.TEXT_CHECKS[token](Texts(pa.array(values, pa.string()))).tolist()


def digits(count: int) -> st.SearchStrategy[str]:
    return st.text("0123456789", min_size=count, max_size=count)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A document with right check digits, some of them with one character changed after that."""
    text = draw(
        digits(9).map(lambda nine: nine + reference.cpf_digits(nine))
        | st.text("0129AZ", min_size=12, max_size=12).map(lambda twelve: twelve + reference.cnpj_digits(twelve))
        | digits(16).map(lambda sixteen: sixteen + reference.card_digit(sixteen))
        | st.builds(lambda first, rest: first + rest, st.sampled_from("0127389"), digits(14)).map(_cns)
        | st.integers(0, 9).flatmap(lambda digit: st.integers(6, 17).map(lambda width: str(digit) * width))
    )
    if draw(st.booleans()):
        place = draw(st.integers(0, len(text) - 1))
        text = text[:place] + draw(st.sampled_from("0123456789AZaz/:@[ é")) + text[place + 1 :]
    return text


def _cns(text: str) -> str:
    """The next number whose weighted sum is a multiple of 11, if changing the last two digits gives one."""
    for last in range(100):
        candidate = text[:13] + f"{last:02d}"
        if reference.cns_sum(candidate) % 11 == 0:
            return candidate
    return text


texts = (
    documents()
    | st.text(strategies.CHARACTERS, max_size=9)
    | st.integers(5, 9).flatmap(digits)
    | st.sampled_from([*reference.STATES, "XX", "sp", "S", "SPX"])
    | st.builds("{}@{}.{}".format, *[st.text("a.@ ç", max_size=3)] * 3)
    | st.sampled_from(["00000000", "000000", "0000000", "١٢٣٤٥٦", "a@b.c", "a@.", "@b.c", "a@b", "a@b@c.d", "a b@c.d"])
)


@pytest.mark.parametrize("token", CHECKS)
@given(values=st.lists(st.none() | texts, max_size=10))
def test_a_check_fails_exactly_what_the_contract_calls_bad(token: str, values: list[str | None]) -> None:
    cleaned, _ = clean.clean(pa.array(values, pa.string()))
    rule = token.partition(":")[0]
    expected = [text is not None and not reference.text_is_good(rule, text) for text in cleaned.array.to_pylist()]
    assert rules.TEXT_CHECKS[token](cleaned).tolist() == expected


@pytest.mark.parametrize(
    ("token", "good", "bad"),
    [
        ("cpf", ["52998224725"], ["52998224724", "11111111111", "00000000000", "5299822472", "529982247250"]),
        ("cnpj", ["12ABC34501DE35", "11222333000181"], ["12abc34501de35", "11222333000180", "00000000000000"]),
        ("cpf_or_cnpj", ["52998224725", "12ABC34501DE35"], ["11222333000180", "5299822472", "123456789012"]),
        ("cns", ["700000000001249"], ["700000000001248", "300001000000000", "70000000000124"]),
        ("check_digit:card", ["00010002000035026", "00010001000001000"], ["00010002000035025", "0001000200003502"]),
        ("cep", ["01310100"], ["00000000", "0131010", "01310-00"]),
        ("email", ["a@b.c"], ["@b.c", "a@b", "a@b@c.d", "a b@c.d", "a.b"]),
        ("uf", reference.STATES, ["sp", "XX", "BR"]),
        ("ans_registry", ["000000"], ["00000", "0000000", "00000A"]),
        ("cnes", ["0000000"], ["000000", "00000000"]),
        ("digits", ["0"], ["1.0", "-1", "٣", "1 1"]),
    ],
)
def test_examples_and_edges(token: str, good: list[str], bad: list[str]) -> None:
    assert failing(token, *good, None) == [False] * (len(good) + 1)
    assert failing(token, *bad, None) == [True] * len(bad) + [False]


def _document(token: str, random: Random) -> str:
    """A random document with right check digits."""
    match token:
        case "cpf":
            digits = "".join(random.choices("0123456789", k=9))
            return digits + reference.cpf_digits(digits)
        case "cnpj":
            characters = "".join(random.choices("0123456789AKZ", k=12))
            return characters + reference.cnpj_digits(characters)
        case "cns":
            return _cns(random.choice("12789") + "".join(random.choices("0123456789", k=14)))
        case _:
            digits = "".join(random.choices("0123456789", k=16))
            return digits + reference.card_digit(digits)


@pytest.mark.parametrize("token", ["cpf", "cnpj", "cns", "check_digit:card"])
def test_many_documents_are_told_apart_from_those_with_one_character_changed(token: str) -> None:
    random = Random(11)
    good = [_document(token, random) for _ in range(300)]
    places = [random.randrange(len(document)) for document in good]
    changed = [
        document[:place] + random.choice("0123456789AZaz:/") + document[place + 1 :]
        for document, place in zip(good, places, strict=True)
    ]
    rule = token.partition(":")[0]
    assert failing(token, *good) == [False] * len(good)
    assert failing(token, *changed) == [not reference.text_is_good(rule, document) for document in changed]


def test_a_cnpj_has_no_small_letters_even_with_right_check_digits() -> None:
    characters = "12abc34501de"
    assert failing("cnpj", characters + reference.cnpj_digits(characters)) == [True]


@pytest.mark.parametrize(
    ("token", "good"), [("cpf", "52998224725"), ("cns", "700000000001249"), ("check_digit:card", "00010002000035026")]
)
def test_a_character_that_leaves_the_sum_right_is_no_digit(token: str, good: str) -> None:
    # Eleven further in ASCII, the sum modulo 11 is the same.
    changed = [good[:place] + chr(ord(good[place]) + 11) + good[place + 1 :] for place in range(len(good))]
    assert failing(token, good, *changed) == [False] + [True] * len(changed)


@given(st.lists(st.none() | st.sampled_from(["", "1", "2", "9", "12", "é", "€", "-", " 1"]), max_size=10),
       st.sampled_from([("1", "2"), ("1", "é", "€"), ("12", "1")]))  # fmt: skip
def test_a_text_is_listed_or_not(values: list[str | None], codes: tuple[str, ...]) -> None:
    cleaned, _ = clean.clean(pa.array(values, pa.string()))
    expected = [text is not None and text not in codes for text in cleaned.array.to_pylist()]
    assert Vocabulary(codes).unlisted(cleaned).tolist() == expected


def values(*numbers: int | None) -> Values:
    filled = np.array([number is not None for number in numbers], dtype=bool)
    return Values(np.array([number or 0 for number in numbers], dtype=np.int64), filled, ~filled)


def test_signs_are_those_of_the_stored_number() -> None:
    assert rules.positive(values(1, 0, -1, None)).tolist() == [False, True, True, False]
    assert rules.non_negative(values(1, 0, -1, None)).tolist() == [False, False, True, False]


def test_the_day_of_the_run_is_not_the_future() -> None:
    today = day_number(datetime.date(2024, 2, 29))
    assert rules.not_future(values(today, today + 1, None), today).tolist() == [False, True, False]


def test_a_date_is_compared_only_with_a_date_that_is_there() -> None:
    own, other = values(5, 5, 5, -5, None), values(4, 5, 6, None, 1)
    assert rules.not_before(own, other).tolist() == [False, False, True, False, False]
