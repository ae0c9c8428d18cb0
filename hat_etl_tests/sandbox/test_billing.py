"""HAT and operator of the sandbox: they outlive who started them, keep what they know, and end when told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hat_etl.billing.loop import run
from hat_etl.sandbox import command
from hat_etl.sandbox.billing import BillingSandbox
from hat_etl.tenants import store
from hat_etl.tenants.config import Tenant


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    made = tmp_path / "sandbox"
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(made / "tenants"))
    yield made
    command.down(made)


def up(folder: Path, size: int = 100, **arguments: bool) -> tuple[Tenant, BillingSandbox]:
    command.up(folder, beneficiaries=size, tenants=folder / "tenants", **arguments)
    return store.load(command.TENANT), command.billing_of(folder)


def test_they_are_joined_while_they_run_and_started_again_with_what_they_knew(folder: Path) -> None:
    tenant, first = up(folder, with_billing=True)
    first.seed()
    run(tenant)
    arrived = {lot.number: lot.protocol for lot in first.at_operator()}
    assert len(arrived) == 5
    again, joined = up(folder)
    assert joined == first
    assert again.billing == tenant.billing
    command.down(folder)
    assert not first.hat.is_running
    assert not first.operator.is_running
    tenant, anew = up(folder)
    assert anew.hat.pid != first.hat.pid
    anew.seed()
    run(tenant)
    now = {lot.number: lot.protocol for lot in anew.at_operator()}
    assert now == {**now, **arrived}
    assert len(now) == 7


def test_another_operator_has_other_lots(folder: Path) -> None:
    _, first = up(folder, with_billing=True)
    first.seed()
    _, other = up(folder, 110, with_billing=True)
    assert other.in_hat() == []
    assert not first.hat.is_running
