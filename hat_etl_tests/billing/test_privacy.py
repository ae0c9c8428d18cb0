"""No Mastertoken, no password, no value of a guide shows: in no output, log, error, history or message."""

from __future__ import annotations

import logging
import re

import pytest
from click.testing import CliRunner

from hat_etl.cli.main import main
from hat_etl.sandbox.hat.lots import Recipe, make
from hat_etl.sandbox.operator.behaviour import Mishap

from .conftest import PROVIDER, REGISTRY, TOKEN, World

PASSWORD, OLD_TOKEN = "s3gr3d0-KNRY", "0ddba11" * 8
_PERSONAL = (
    "numeroCarteira",
    "nomeProfissional",
    "numeroConselhoProfissional",
    "observacao",
    "senha",
    "indicacaoClinica",
)


def canaries(world: World, *numbers: str) -> set[str]:
    """Every value of a personal field in these lots, with all secrets."""
    found = {TOKEN, OLD_TOKEN, PASSWORD, "sig="}
    for number in numbers:
        content = make(Recipe(registry=REGISTRY, provider=PROVIDER, number=number, kind="sadt", guides=2))
        for name in _PERSONAL:
            values = re.findall(rf"<ans:{name}>([^<]+)<", content.decode("iso-8859-1"))
            found |= {value for value in values if len(value) > 6}
    return found


@pytest.fixture
def soiled(world: World) -> World:
    """Secrets everywhere that a tenant file may point to, and logins that the operator asks for."""
    (world.folder / "before").write_text(OLD_TOKEN)
    (world.folder / "password").write_text(PASSWORD)
    file = world.folder / "acme.toml"
    text = file.read_text()
    text = text.replace("[hat.api]\n", '[hat.api]\nprevious_master_token = "file:before"\n')
    text = text.replace("[billing.soap]\n", '[billing.soap]\nuser = "u"\npassword = "file:password"\n')
    text = text.replace("[billing.pls]\n", '[billing.pls]\nuser = "u"\npassword = "file:password"\n')
    file.write_text(text)
    return world


def test_nothing_shows_whatever_goes_wrong(soiled: World, caplog: pytest.LogCaptureFixture) -> None:
    world = soiled
    numbers = [world.add(kind="sadt") for _ in range(3)]
    world.add(file_fault="redirect")
    world.add(kind="repeated_guide", guides=2)
    shown = []

    def run(*arguments: str) -> None:
        for more in ((), ("--json",)):
            result = CliRunner().invoke(main, [*arguments, *more])
            shown.append(result.output)
            if result.exception is not None:
                shown.append(repr(result.exception))

    with caplog.at_level(logging.DEBUG):
        world.operator.behaviour.plan(Mishap.LOSE_REPLY, Mishap.GARBLE_REPLY, Mishap.FAULT)
        for _ in range(4):
            run("billing", "run", "acme")
            world.operator.ledger.advance()
        run("billing", "show", "acme")
        for number in numbers:
            run("billing", "show", "acme", number)
            run("billing", "retry", "acme", number)
        run("doctor", "acme")
        run("tenant", "list")
        world.hat_faults.set(world.hat_faults.faults.model_copy(update={"fail": 1}))
        run("billing", "run", "acme")
        (world.folder / "token").write_text(TOKEN + "!")
        run("billing", "run", "acme")
        run("doctor", "acme")
    shown.append(caplog.text)
    for table in ("lots", "history", "outbox", "missing_files"):
        shown += [str(row) for row in world.rows(f"SELECT t::text FROM hat_etl.billing_{table} t")]
    assert len(world.operator.lots()) == 3
    secret = canaries(world, *numbers)
    assert len(secret) > 5
    whole = "\n".join(shown)
    assert {canary for canary in secret if canary in whole} == set()


def test_a_token_that_hat_refuses_is_not_repeated(soiled: World) -> None:
    (soiled.folder / "token").write_text("ab" * 20)
    (soiled.folder / "before").write_text("cd" * 20)
    result = CliRunner().invoke(main, ["billing", "pull", "acme"])
    assert result.exit_code == 9
    assert "/token and file:before" in result.stderr
    assert "abab" not in result.output
    assert "cdcd" not in result.output
