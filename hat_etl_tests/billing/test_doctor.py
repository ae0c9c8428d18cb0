"""The doctor's look at the billing loop."""

from __future__ import annotations

import pytest

from hat_etl.billing.doctor import examine

from .conftest import TOKEN, World


def states(world: World) -> dict[str, str]:
    return {check.subject: check.state for check in examine(world.tenant)}


def test_what_is_well_is_said_so(world: World) -> None:
    world.add()
    (token, operator, asked) = examine(world.tenant)
    assert (token.state, token.detail) == ("ok", "accepted; 1 lots wait")
    assert (operator.state, asked.state) == ("ok", "ok")


@pytest.mark.parametrize("deliver", ["soap", "pls"])
def test_an_operator_that_cannot_be_reached_fails(deliver: str, world: World) -> None:
    world.write_tenant(deliver=deliver, operator="http://127.0.0.1:1")
    assert states(world)["operator: service"] == "failed"


@pytest.mark.parametrize("deliver", ["soap", "pls"])
def test_an_address_that_is_not_the_services_fails(deliver: str, world: World) -> None:
    """It was well, and who was told by ``send`` to ask the doctor about the address was sent away."""
    world.write_tenant(deliver=deliver, operator=f"{world.operator.url}/elsewhere")
    assert states(world)["operator: service"] == "failed"


def test_a_login_that_the_operator_does_not_know_fails(world: World) -> None:
    world.operator.service.passwords = {}
    assert states(world)["operator: service"] == "failed"


def test_the_service_is_asked_also_where_another_is_asked_about_lots(world: World) -> None:
    """Nobody looked at it: all was well while no lot could be delivered."""
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace(f"{world.operator.url}/ws", "http://127.0.0.1:1/ws"))
    found = states(world)
    assert (found["operator: service"], found["operator: asked about lots"]) == ("failed", "ok")


def test_a_folder_that_is_not_there_fails(world: World) -> None:
    world.write_tenant(deliver="folder", more=f'[billing.folder]\npath = "{world.folder}/out"')
    assert states(world)["operator: service"] == "failed"
    (world.folder / "out").mkdir()
    assert states(world)["operator: service"] == "ok"


def test_of_the_erp_that_is_asked_about_lots_its_own_trouble_is_told(world: World) -> None:
    """A folder that is not there was told twice, and the ERP behind it not at all."""
    world.write_tenant(deliver="folder", more=f'[billing.folder]\npath = "{world.folder}/out"')
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace('ask = "pls"', 'ask = "views"'))
    (_, service, asked) = examine(world.tenant)
    assert (service.state, asked.state) == ("failed", "failed")
    assert "folder" in service.detail
    assert "folder" not in asked.detail


def test_each_of_two_tokens_is_tried_by_itself(world: World) -> None:
    (world.folder / "before").write_text("ab" * 20)
    file = world.folder / "acme.toml"
    file.write_text(file.read_text().replace("[hat.api]\n", '[hat.api]\nprevious_master_token = "file:before"\n'))
    found = states(world)
    assert (found["HAT API: Mastertoken"], found["HAT API: Mastertoken before"]) == ("ok", "warning")
    (world.folder / "token").write_text("cd" * 20)
    (world.folder / "before").write_text(TOKEN)
    found = states(world)
    assert (found["HAT API: Mastertoken"], found["HAT API: Mastertoken before"]) == ("failed", "ok")


def test_a_tenant_without_billing_is_not_asked_about_it(world: World) -> None:
    tenant = world.tenant
    bare = tenant.model_copy(
        update={
            "hat": tenant.hat.model_copy(update={"api_url": None}),
            "billing": tenant.billing.model_copy(update={"deliver": None}),
        }
    )
    assert examine(bare) == []
