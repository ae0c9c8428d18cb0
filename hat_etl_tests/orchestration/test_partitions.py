"""Partitions follow the tenant files."""

from __future__ import annotations

import os
from pathlib import Path

import dagster as dg
import pytest

from hat_etl.orchestration.partitions import tenant_partitions
from hat_etl.orchestration.tenant_files import TenantFiles
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


@pytest.mark.parametrize("name", [b"c\xf3pia de alfa.toml", b"alfa....toml", b"alfa\n.toml"])
def test_a_file_whose_name_dagster_does_not_take_keeps_no_other_from_its_partition(
    name: bytes, files: Path, home: Path
) -> None:
    """A copy that was unpacked with letters of another encoding: no new tenant came in any more."""
    (Path(os.fsdecode(os.fsencode(files) + b"/" + name))).write_text("", encoding="utf-8")
    with dg.DagsterInstance.get() as instance:
        assert tick(instance) == ["alfa", "beta"]
        assert set(instance.get_dynamic_partitions("tenant")) == {"alfa", "beta"}


def test_the_partition_of_a_tenant_whose_file_is_gone_stays(files: Path, home: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        tick(instance)
        (files / "beta.toml").unlink()
        assert tick(instance) == []
        assert set(instance.get_dynamic_partitions("tenant")) == {"alfa", "beta"}


def test_a_folder_without_tenant_files_is_named(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that lacked its variable said that every tenant file has its partition."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path / "nowhere"))
    with dg.DagsterInstance.get() as instance, dg.build_sensor_context(instance=instance) as context:
        skipped = tenant_partitions(context)
    assert isinstance(skipped, dg.SkipReason)
    assert str(tmp_path / "nowhere") in str(skipped.skip_message)


def test_the_sensor_runs_without_being_switched_on() -> None:
    assert tenant_partitions.default_status is dg.DefaultSensorStatus.RUNNING


def test_a_file_that_could_not_be_used_is_looked_at_again_though_it_has_not_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rights were mended, which changes neither time nor size: to the sensors it stayed broken."""
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(tmp_path))
    good = '[erp]\ndialect = "postgresql"\nurl = "env:A"\ncompany = "01"\n[hat]\nurl = "env:B"\n'
    good = f'name = "acme"\nans_registry = "412345"\n{good}'
    file, files = tmp_path / "acme.toml", TenantFiles()
    file.write_text(good.replace("[hat]", "[hit]"))
    found, broken = files.all()
    assert (len(found), len(broken)) == (0, 1)
    before = file.stat()
    file.write_text(good)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    found, broken = files.all()
    assert ([tenant.name for tenant in found], broken) == (["acme"], [])


def test_a_file_that_cannot_even_be_looked_at_hides_no_other(files: Path) -> None:
    """A link that leads nowhere allowed, and no tenant at all was served any more."""
    (files / "loop.toml").symlink_to("loop.toml")
    found, broken = TenantFiles().all()
    assert [tenant.name for tenant in found] == ["alfa", "beta"]
    assert [error.tenant for error in broken] == ["loop"]
