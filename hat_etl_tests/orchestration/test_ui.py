"""What ``make ui`` opens, driven as the browser does."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from hat_etl.entities import ENTITIES
from hat_etl.sync.load import load
from hat_etl.sync.request import LoadRequest
from hat_etl.tenants import store
from hat_etl_tests.orchestration.conftest import Demo, new_home
from hat_etl_tests.orchestration.webserver import Ui, opened

LOCATION = {"repositoryLocationName": "hat_etl", "repositoryName": "__repository__"}


@pytest.fixture(scope="module")
def ui(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ui]:
    with pytest.MonkeyPatch.context() as patch:
        new_home(tmp_path_factory.mktemp("ui") / "dagster", patch)
        patch.setenv(store.FOLDER_VARIABLE, str(demo.tenants))
        with opened() as made:
            yield made


def test_a_person_finds_the_tenant_and_loads_it(ui: Ui, demo: Demo) -> None:
    assets = ui.ask("{ assetNodes { assetKey { path } groupName isMaterializable } }")["assetNodes"]
    tables = {node["assetKey"]["path"][1] for node in assets if node["isMaterializable"]}
    assert tables == {entity.table for entity in ENTITIES}
    assert {node["groupName"] for node in assets} == {
        "beneficiaries", "providers", "coverages", "contracts", "tenant", "billing",
    }  # fmt: skip

    # Nobody has added it: the sensor does, from the tenant's file.
    ui.wait_for(r"Added partition keys to dynamic partitions definition 'tenant': \['demo'\]")
    partitions = ui.ask(
        "query ($job: PipelineSelector!) { pipelineOrError(params: $job) { ... on Pipeline { name"
        " partitionKeysOrError { partitionKeys } } } }",
        job={"pipelineName": "initial_load", **LOCATION},
    )
    assert partitions["pipelineOrError"]["partitionKeysOrError"]["partitionKeys"] == ["demo"]

    launched = ui.ask(
        "mutation ($run: ExecutionParams!) { launchRun(executionParams: $run) { __typename"
        " ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }",
        run={
            "selector": {"jobName": "initial_load", **LOCATION},
            "runConfigData": {"ops": {"load_tenant": {"config": {"mode": "restart"}}}},
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": "demo"}]},
        },
    )["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    run = launched["run"]["runId"]
    ended = ui.wait_for(rf"{run} .*(RUN_SUCCESS|RUN_FAILURE)")
    assert ended[1] == "RUN_SUCCESS"

    asset = ui.ask(
        "query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {"
        ' assetMaterializations(partitions: ["demo"], limit: 1) { runId metadataEntries { label'
        " ... on IntMetadataEntry { intValue } } } } } }",
        key={"path": ["hat", "beneficiaries"]},
    )["assetNodeOrError"]
    (made,) = asset["assetMaterializations"]
    assert made["runId"] == run
    rows = {entry["label"]: entry.get("intValue") for entry in made["metadataEntries"]}["dagster/row_count"]
    assert rows == demo.count("beneficiaries") > 0


@pytest.fixture
def scheduled(demo: Demo) -> Iterator[Callable[[], None]]:
    """Gives the tenant a schedule when it is called: one moment a year, which a tenant never run so has missed.

    With a moment every minute, the next run may begin before the checks of the first are asked for.
    """
    file = demo.tenants / "demo.toml"
    before = file.read_text(encoding="utf-8")
    yield lambda: void(file.write_text(f'{before}\n[schedule]\nincremental = "0 3 1 1 *"\n', encoding="utf-8"))
    file.write_text(before, encoding="utf-8")


def void(_: object) -> None: ...


def test_the_schedule_brings_changes_over_without_a_hand_on_it(
    ui: Ui, demo: Demo, scheduled: Callable[[], None]
) -> None:
    load(store.load("demo"), LoadRequest(restart=True))
    demo.change_erp(
        "UPDATE bts010 SET bts_nomusr = 'NOME PELA AGENDA', s_t_a_m_p_ = clock_timestamp() WHERE r_e_c_n_o_ ="
        " (SELECT max(r_e_c_n_o_) FROM bts010 WHERE d_e_l_e_t_ = ' ')"
    )
    ui.wait_for(r"Added partition keys to dynamic partitions definition 'tenant': \['demo'\]")
    scheduled()
    ended = ui.wait_for(r"incremental_sync - \S+ - \d+ - (RUN_SUCCESS|RUN_FAILURE)")
    assert ended[1] == "RUN_SUCCESS"
    assert demo.count("persons WHERE name = 'NOME PELA AGENDA'") == 1
    checks = ui.ask(
        "query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { assetChecksOrError {"
        " ... on AssetChecks { checks { name partitionStatuses { ... on AssetCheckDefaultPartitionStatuses {"
        " failedPartitions succeededPartitions } } } } } } } }",
        key={"path": ["hat", "tenant"]},
    )["assetNodeOrError"]["assetChecksOrError"]["checks"]
    found = {check["name"]: check["partitionStatuses"] for check in checks}
    passed = {name: statuses["succeededPartitions"] for name, statuses in found.items()}
    assert (passed["decision"], passed["freshness"], passed["reconciliation"]) == (["demo"], ["demo"], [])
    # Tests before this one may have left rows that are rejected: what matters is that it is told.
    assert passed["rejects"] + found["rejects"]["failedPartitions"] == ["demo"]
