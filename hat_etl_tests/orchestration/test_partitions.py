"""Partitions follow the tenant files."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from hat_etl.orchestration.partitions import tenant_partitions
from hat_etl.tenants import store


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "tenants"))
    for name in ("beta", "alfa"):
        store.create(name, ans_registry="412345")
    return tmp_path / "tenants"


def tick(instance: dg.DagsterInstance) -> list[str]:
    """Partitions that the sensor asks for, which are then added as the daemon would."""
    with dg.build_sensor_context(instance=instance) as context:
        result = tenant_partitions(context)
    if isinstance(result, dg.SkipReason):
        return []
    assert isinstance(result, dg.SensorResult)
    asked = [key for request in result.dynamic_partitions_requests or [] for key in request.partition_keys]
    instance.add_dynamic_partitions("tenant", asked)
    return asked


def test_each_tenant_file_gets_its_partition_once(files: Path, home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        assert tick(instance) == ["alfa", "beta"]
        assert tick(instance) == []


def test_the_partition_of_a_tenant_whose_file_is_gone_stays(files: Path, home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        tick(instance)
        (files / "beta.toml").unlink()
        assert tick(instance) == []
        assert set(instance.get_dynamic_partitions("tenant")) == {"alfa", "beta"}


def test_the_sensor_runs_without_being_switched_on() -> None:
    assert tenant_partitions.default_status is dg.DefaultSensorStatus.RUNNING
