"""Two providers may use one number: neither's lot is taken for the other's, here or in HAT."""

from __future__ import annotations

import re
import shlex

from click.testing import CliRunner

from hat_etl.billing.loop import held
from hat_etl.cli.main import main

from .conftest import World

ONE, OTHER = "000123", "000456"


def states(world: World) -> dict[str, str]:
    """State of each lot by its provider."""
    return dict(world.rows("SELECT provider, state FROM hat_etl.billing_lots"))  # type: ignore[arg-type]


def test_each_goes_its_own_way(world: World) -> None:
    for provider, guides in ((ONE, 1), (OTHER, 2)):
        world.add(provider, number="7", guides=guides)
        assert world.pull().counts["pulled"] == 1
    world.loop()
    assert states(world) == {ONE: "protocolled", OTHER: "protocolled"}
    arrived = {lot.provider: (len(lot.guides), lot.arrivals, lot.protocol) for lot in world.operator.lots()}
    assert arrived == {
        ONE: (1, 1, world.in_hat("7", ONE).protocol), OTHER: (2, 1, world.in_hat("7", OTHER).protocol),
    }  # fmt: skip
    assert None not in {protocol for _, _, protocol in arrived.values()}


def test_a_deletion_is_of_one_of_them(world: World) -> None:
    for provider in (ONE, OTHER):
        world.add(provider, number="7")
    world.pull()
    world.state.mark_deleted("7", ONE)
    world.loop()
    assert states(world) == {ONE: "withdrawn", OTHER: "protocolled"}
    assert [world.in_hat("7", provider).is_gone for provider in (ONE, OTHER)] == [True, False]


def test_the_deletion_of_a_lot_that_was_never_seen_is_of_one_of_them(world: World) -> None:
    for provider in (ONE, OTHER):
        world.add(provider, number="7")
    world.state.mark_deleted("7", ONE)
    world.pull()
    assert states(world) == {OTHER: "validated"}
    assert [world.in_hat("7", provider).is_gone for provider in (ONE, OTHER)] == [True, False]


def test_lots_that_wait_are_told_with_their_providers(world: World) -> None:
    """One read of lots 7 and 7, and of the file of lot 7, and did not know whose."""
    for provider in (ONE, OTHER):
        world.add(provider, number="7")
    world.loop()
    world.state.mark_deleted("7")
    world.pull()
    (problem,) = held(world.tenant).problems
    assert f"7 of provider {ONE}, 7 of provider {OTHER}" in str(problem)


def test_the_command_that_an_error_names_is_of_one_of_them(world: World) -> None:
    """It named the number only, and ended with: several providers have a lot 7."""
    for provider in (ONE, OTHER):
        world.add(provider, number="7")
    world.loop()
    world.state.mark_deleted("7", ONE)
    (problem,) = world.pull().problems
    (command,) = re.findall(r"hat-etl (billing release .*?) \(", str(problem))
    result = CliRunner().invoke(main, shlex.split(command))
    assert result.exit_code == 0, result.output
    assert f"Lot 7 of provider {ONE}" in result.output


def test_a_file_that_is_missing_is_of_one_of_them(world: World) -> None:
    missing = "SELECT provider, attempts, told FROM hat_etl.billing_missing_files ORDER BY provider"
    world.add(ONE, number="7", file_fault="missing")
    world.pull()
    world.add(OTHER, number="7", file_fault="missing")
    told = " ".join(map(str, world.pull().problems))
    assert f"Lot 7 of provider {ONE}: " in told
    assert f"Lot 7 of provider {OTHER}: " in told
    for _ in range(3):
        world.pull()
    assert world.rows(missing) == [(ONE, 5, True), (OTHER, 4, False)]
    assert [len(world.in_hat("7", provider).causes) for provider in (ONE, OTHER)] == [1, 0]
    world.state.mend_file("7", OTHER)
    world.pull()
    assert world.rows(missing) == [(ONE, 6, True)]
    assert states(world) == {OTHER: "validated"}
