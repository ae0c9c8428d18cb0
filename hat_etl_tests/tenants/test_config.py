"""Windows, and the rules that a tenant file must keep."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hat_etl.tenants.billing import Billing, HatApi
from hat_etl.tenants.config import POSTGRESQL_WORDS, Alerts, Erp, Hat, Section, Sync, Window
from hat_etl_tests.servers import Server

_MINUTES = st.times().map(lambda moment: moment.replace(second=0, microsecond=0))


def erp(**changes: Any) -> Erp:
    return Erp.model_validate({"dialect": "postgresql", "url": "env:A", "company": "01", **changes})


@given(_MINUTES, _MINUTES, _MINUTES)
def test_a_window_and_the_one_turned_round_share_out_the_day(start: time, end: time, moment: time) -> None:
    if start == end:
        with pytest.raises(ValueError, match="two different times"):
            Window.parse(f"{start:%H:%M}-{end:%H:%M}")
        return
    window, rest = Window.parse(f"{start:%H:%M}-{end:%H:%M}"), Window.parse(f"{end:%H:%M}-{start:%H:%M}")
    assert window.holds(moment) != rest.holds(moment)
    assert window.holds(start)
    assert not window.holds(end)
    assert Window.parse(str(window)) == window


@given(st.text() | st.from_regex(r"\d\d:\d\d-\d\d:\d\d"))
def test_a_window_is_understood_or_refused_without_repeating_it(text: str) -> None:
    try:
        said = str(Window.parse(text))
    except ValueError as error:
        said = str(error)
    assert said in (text, "must be two different times, such as 20:00-06:00")


@pytest.mark.parametrize(
    ("hour", "open_"), [(22, False), (23, True), (0, True), (8, True), (9, False)], ids=lambda value: str(value)
)
def test_windows_are_hours_of_the_tenants_own_zone(hour: int, open_: bool) -> None:
    section = erp(windows=["20:00-06:00"], timezone="America/Sao_Paulo")  # three hours behind UTC
    assert section.is_open(datetime(2024, 5, 2, hour, 30, tzinfo=UTC)) is open_


def test_without_a_window_the_erp_is_always_open() -> None:
    assert erp().is_open(datetime(2024, 5, 2, tzinfo=UTC))


def test_what_is_optional_has_its_default() -> None:
    section, hat = erp(), Hat.model_validate({"url": "env:B"})
    assert (section.timezone, section.windows, section.schema_name, section.view_owner) == (
        "America/Sao_Paulo", (), None, None,
    )  # fmt: skip
    assert (hat.schema_name, hat.api_url, hat.master_token) == ("hat", None, None)


def test_views_are_where_the_tables_are_unless_said_otherwise() -> None:
    assert erp(schema="protheus").view_owner == "protheus"
    assert erp(schema="protheus", views_schema="hat").view_owner == "hat"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("dialect", "mysql"),
        ("company", "1"),
        ("company", "012"),
        ("company", "0;"),
        ("company", 10),
        ("connections", 0),
        ("connections", "4"),
        ("connections", True),
        ("connections", 1.5),
        ("schema", 'p"x'),
        ("schema", "p.x"),
        ("schema", "p x"),
        ("schema", ""),
        ("views_schema", "hat; drop"),
        ("timezone", "America/Nowhere"),
        ("timezone", "../etc/passwd"),
        ("timezone", ""),
        ("windows", ["25:00-26:00"]),
        ("windows", ["20:00"]),
        ("windows", ["20:00-20:00"]),
        ("windows", "20:00-06:00"),
        ("password", "x"),
        ("schema_name", "x"),
    ],
)
def test_a_wrong_value_in_erp_is_refused_at_its_key(key: str, value: object) -> None:
    with pytest.raises(ValidationError) as raised:
        Erp.model_validate({"dialect": "oracle", "url": "env:A", "company": "01", key: value}, by_name=False)
    assert {error["loc"][0] for error in raised.value.errors()} == {key}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "hat_etl"),
        ("schema", "hat_etl_stage"),
        ("schema", "Hat"),
        ("schema", "h-t"),
        ("schema", "order"),
        ("schema", "left"),
        ("schema", "pg_hat"),
        ("api_url", "ftp://x"),
        ("api_url", "https://user:pw@host"),
        ("api_url", "https://["),
        ("master_token", "abc"),
    ],
)
def test_a_wrong_value_in_hat_is_refused_at_its_key(key: str, value: object) -> None:
    with pytest.raises(ValidationError) as raised:
        Hat.model_validate({"url": "env:A", key: value})
    assert {error["loc"][0] for error in raised.value.errors()} == {key}


@pytest.mark.parametrize("key", ["schema", "views_schema"])
@pytest.mark.parametrize("value", ["User", "table", "left", "pg_x"])
def test_a_schema_of_the_erp_that_needs_quotes_is_refused_where_its_key_is_named(key: str, value: str) -> None:
    """It was taken, and everything that came after ended in a syntax error of the database."""
    values = {"dialect": "postgresql", "url": "env:A", "company": "01", key: value}
    with pytest.raises(ValidationError, match=f"{key} must be another one"):
        Erp.model_validate(values, by_name=False)
    Erp.model_validate(values | {"dialect": "oracle"}, by_name=False)


def test_every_word_that_postgresql_wants_quoted_in_a_schema_is_known(postgres: Server) -> None:
    with postgres.connect() as connection:
        words = connection.execute("SELECT word FROM pg_get_keywords() WHERE catcode IN ('R', 'T')").fetchall()
    assert {word for (word,) in words} <= POSTGRESQL_WORDS


@pytest.mark.parametrize(
    ("section", "key"),
    [(Sync, "brake_share"), (Alerts, "reject_share"), (HatApi, "pause_seconds"), (HatApi, "timeout_seconds")],
)
@pytest.mark.parametrize("value", [True, "0.1"])
def test_what_is_no_number_is_not_taken_for_one(section: type[Section], key: str, value: object) -> None:
    """``brake_share = true`` was read as 1: a brake that never holds."""
    with pytest.raises(ValidationError):
        section.model_validate({key: value})
    section.model_validate({key: 1})


def test_settings_cannot_be_changed_after_loading() -> None:
    with pytest.raises(ValidationError):
        erp().company = "02"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("key", "value"),
    [("tns_admin", "/etc/oracle"), ("client_library", "/opt/oracle"), ("wallet_password", "env:CARTEIRA")],
)
def test_what_is_for_oracle_is_refused_elsewhere(key: str, value: str) -> None:
    assert getattr(erp(dialect="oracle", **{key: value}), key) is not None
    with pytest.raises(ValidationError, match=f"{key} is for Oracle, and the dialect is postgresql"):
        erp(**{key: value})


@pytest.mark.parametrize("key", ["tns_admin", "client_library"])
def test_a_folder_of_oracle_is_named_by_its_absolute_path(key: str) -> None:
    with pytest.raises(ValidationError, match="must be an absolute path"):
        erp(dialect="oracle", **{key: "oracle"})


def test_a_password_of_a_wallet_is_a_reference() -> None:
    with pytest.raises(ValidationError, match="must be a reference") as caught:
        erp(dialect="oracle", wallet_password="s3gredo")
    assert "s3gredo" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (Alerts, "late_minutes"),
        (Sync, "lookback_minutes"),
        (Sync, "undo_days"),
        (Sync, "lock_wait_seconds"),
        (Billing, "pull_minutes"),
        (Billing, "unknown_wait_seconds"),
        (Billing, "retry_seconds"),
        (Billing, "poll_minutes"),
        (Billing, "reversal_days"),
        (Billing, "stuck_hours"),
    ],
)
def test_times_without_an_end_are_refused(section: type[Section], key: str) -> None:
    """Of 9999999999 minutes no moment could be reckoned: the alarm of all tenants stood still."""
    with pytest.raises(ValidationError):
        section.model_validate({key: 9_999_999_999})
