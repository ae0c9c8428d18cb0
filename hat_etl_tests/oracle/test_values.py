"""Numbers and moments between PostgreSQL, the wire, Arrow and the transform."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hat_etl.errors import ConfigurationError
from hat_etl.sandbox.oracle import codec
from hat_etl.source import oracle_sql
from hat_etl.source.oracle_session import EXACT
from hat_etl.tenants import oracle_address
from hat_etl.tenants.secrets import SecretRef

digits = st.integers(min_value=-(10**38) + 1, max_value=10**38 - 1)


def decimal(whole: int, exponent: int) -> Decimal:
    """``whole`` times ten to the power of ``exponent``, unrounded."""
    return Decimal((int(whole < 0), tuple(map(int, str(abs(whole)))), exponent))


@given(digits, st.integers(min_value=-38, max_value=87))
def test_a_number_on_the_wire_is_the_same_number(whole: int, exponent: int) -> None:
    number = decimal(whole, exponent)
    assert codec.read_oracle_number(codec.oracle_number(number)) == number


@pytest.mark.parametrize(
    ("number", "bytes_"),
    [
        ("0", "80"),
        ("1", "c102"),
        ("-1", "3e6466"),
        ("100", "c202"),
        ("123.45", "c202182e"),
        ("-123.45", "3d644e3866"),
        ("0.001", "bf0b"),
    ],
)
def test_a_number_on_the_wire_is_written_as_oracle_dumps_it(number: str, bytes_: str) -> None:
    assert codec.oracle_number(Decimal(number)).hex() == bytes_


@pytest.mark.parametrize(
    ("text", "number"),
    [("5e-324", "0"), ("-1e-131", "0"), ("1e-130", "1E-130"), ("1e300", "9.9999999999999999999999999999999999999E125")],
)
def test_what_is_smaller_than_a_number_can_be_is_zero_and_what_is_larger_the_largest(text: str, number: str) -> None:
    wire = codec.ENCODERS[codec.OracleType.NUMBER](text.encode())
    assert codec.read_oracle_number(codec.Reader(wire).octets()) == Decimal(number)


@given(
    st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31)),
)
def test_a_moment_on_the_wire_is_the_same_moment(moment: datetime) -> None:
    assert codec.read_oracle_timestamp(codec.oracle_timestamp(moment)) == moment


def test_a_moment_with_an_offset_travels_in_utc() -> None:
    moment = datetime(2026, 1, 1, 1, 2, 3, 4, timezone(timedelta(hours=-3, minutes=-30)))
    wire = codec.oracle_timestamp_tz(moment)
    assert codec.read_oracle_timestamp(wire[:11]) == moment.astimezone(UTC).replace(tzinfo=None)
    assert (wire[11], wire[12]) == (17, 30)


@given(st.lists(st.one_of(st.none(), st.tuples(digits, st.integers(min_value=-38, max_value=0))), max_size=8))
def test_exact_decimals_become_whole_numbers_or_text_of_the_same_value(
    drawn: list[tuple[int, int] | None],
) -> None:
    numbers = [None if pair is None else decimal(*pair) for pair in drawn]
    column = oracle_sql.plain(pa.array(numbers, EXACT))
    assert pa.types.is_int64(column.type) or pa.types.is_string(column.type)
    found = [None if value is None else Decimal(value) for value in column.to_pylist()]
    assert found == numbers
    texts = column.to_pylist() if pa.types.is_string(column.type) else []
    assert not any("." in text and text[-1] in "0." for text in texts if text and "E" not in text)


@pytest.mark.parametrize(
    ("text", "user", "password", "connect"),
    [
        ("oracle://svc:s%40crt@h:1521/x", "svc", "s@crt", "h:1521/x"),
        ("oracle://proxy%5Bhat%5D:s3cr3t@tcps://h:2484/x?wallet_location=/w", "proxy[hat]", "s3cr3t", "tcps://h:2484/x?wallet_location=/w"),
        (
            "oracle://svc:s3cr3t@h/x?ssl_server_cert_dn=E=dba@h", "svc", "s3cr3t", "h/x?ssl_server_cert_dn=E=dba@h",
        ),
        ("oracle://svc:s3cr3t@(HOST=a@b)", "svc", "s3cr3t", "(HOST=a@b)"),
        ("svc/s@cr/t@h/x", "svc", "s@cr/t", "h/x"),
        ("svc/s3cr3t@ALIAS", "svc", "s3cr3t", "ALIAS"),
        ("svc/s3cr3t@(DESCRIPTION=(ADDRESS=(HOST=h)))", "svc", "s3cr3t", "(DESCRIPTION=(ADDRESS=(HOST=h)))"),
    ],
)  # fmt: skip
def test_addresses_are_read(text: str, user: str, password: str, connect: str) -> None:
    found = oracle_address.parse(text)
    assert found == oracle_address.OracleAddress(user, password, connect)
    assert password not in repr(found)


@pytest.mark.parametrize("text", ["", "postgresql://u:p@h/d", "svc", "svc/p", "oracle://svc@h/x", "oracle://:p@h/x"])
def test_other_addresses_are_refused(text: str) -> None:
    assert oracle_address.parse(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "oracle://u:p@s3cr3t@h:1521/x",
        "oracle://u:p@s3cr3t=@h:1521/x",
        "oracle://u:p@s3?cr3t@h:1521/x",
        "oracle://u:@s3cr3t@h/x?retry_count=3",
    ],
)
def test_a_password_with_an_unencoded_at_sign_is_refused_and_not_shown(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stood behind its @ was taken for the host, which messages show."""
    monkeypatch.setenv("SOME_URL", text)
    with pytest.raises(ConfigurationError) as raised:
        oracle_address.address("acme", "erp.url", SecretRef.parse("env:SOME_URL"))
    assert "@ is %40" in raised.value.next_step
    assert "cr3t" not in str(raised.value)
