"""Many tenant databases are asked at once: a silent one costs its own answer alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hat_etl.errors import HatEtlError, TargetError
from hat_etl.orchestration.asking import AT_ONCE, ask_all
from hat_etl.target.database import TenantDatabase
from hat_etl.tenants.config import Tenant
from hat_etl_tests.orchestration.test_due import tenant


@contextmanager
def silent_server() -> Iterator[int]:
    """A server that takes connections, and never says a word; its port."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


def silent(name: str, port: int, folder: Path) -> Tenant:
    secret = folder / f"{name}.url"
    secret.write_text(f"postgresql://who@127.0.0.1:{port}/hat?connect_timeout=2")
    return tenant(name, hat={"url": f"file:{secret}"})


def is_there(asked: Tenant) -> bool:
    if asked.name == "good":
        return True
    with TenantDatabase(asked).connect():
        return False


def test_silent_databases_keep_nobody_waiting_who_is_asked_with_them(tmp_path: Path) -> None:
    """Dagster gave up every tick from five silent servers on, and no tenant at all was served any more."""
    with silent_server() as port:
        tenants = [silent(f"silent{number}", port, tmp_path) for number in range(AT_ONCE - 1)]
        assert ask_all([*tenants, tenant("good")], is_there, seconds=0.5) == {"good": True}


def test_what_the_driver_says_of_a_silent_database_is_the_answer(tmp_path: Path) -> None:
    with silent_server() as port:
        answers = ask_all([silent("silent", port, tmp_path), tenant("good")], is_there)
    assert answers["good"] is True
    assert isinstance(answers["silent"], TargetError)


def test_as_many_are_asked_at_once_as_the_limit_says_and_those_left_over_are_not() -> None:
    together, release = threading.Barrier(AT_ONCE + 1), threading.Event()
    asked = []

    def hold(one: Tenant) -> None:
        asked.append(one.name)
        together.wait(30)
        release.wait(30)

    def meet() -> None:
        together.wait(30)  # passes only if AT_ONCE of them are asked at the same time

    meeting = threading.Thread(target=meet)
    meeting.start()
    names = [f"t{number}" for number in range(AT_ONCE + 4)]
    assert ask_all([tenant(name) for name in names], hold, seconds=1) == {}
    meeting.join(30)
    release.set()
    assert sorted(asked) == sorted(names[:AT_ONCE])


def test_an_error_that_nobody_foresaw_is_raised() -> None:
    def broken(_: Tenant) -> bool:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ask_all([tenant("acme")], broken)


def test_our_own_errors_are_answers() -> None:
    def refuse(one: Tenant) -> bool:
        raise HatEtlError("No.", "Look.", tenant=one.name)

    assert str(ask_all([tenant("acme")], refuse)["acme"]) == "acme: No. Next step: Look."
