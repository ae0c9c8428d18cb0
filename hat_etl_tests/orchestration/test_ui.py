"""What ``make ui`` opens, driven as the browser does: web server and daemon in processes of their own.

SIGINT is given back to its default in the child: started with SIGINT ignored, as shells start background jobs,
``dagster dev`` would copy that to SIGTERM and could not be stopped.
"""

from __future__ import annotations

import json
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import IO, Any

import pytest

from hat_etl.entities import ENTITIES
from hat_etl.sync.load import LoadRequest, load
from hat_etl.tenants import store
from hat_etl_tests.orchestration.conftest import ROOT, Demo

DEADLINE = 120.0
LOCATION = {"repositoryLocationName": "hat_etl", "repositoryName": "__repository__"}


@dataclass
class Ui:
    """A running ``dagster dev``, whose lines of output are waited for."""

    process: subprocess.Popen[str]
    lines: queue.Queue[str]
    address: str = ""
    seen: list[str] = field(default_factory=list)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line of output, old or to come, that holds ``pattern``."""
        end = time.monotonic() + DEADLINE
        for number in count():
            if number == len(self.seen):
                try:
                    self.seen.append(self.lines.get(timeout=max(0, end - time.monotonic())))
                except queue.Empty:
                    break
            if found := re.search(pattern, self.seen[number]):
                return found
        raise AssertionError(f"no line with {pattern!r} in:\n{''.join(self.seen)}")

    def wait_until_it_listens(self) -> None:
        """The web server announces its address a moment before it is there."""
        host, port = self.address.removeprefix("http://").split(":")
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection((host, int(port))).close()
                return
            except ConnectionRefusedError:
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(0.05)
        raise AssertionError(f"nobody listens on {self.address}")

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.address}/graphql", data=body, headers={"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            document = json.load(answer)
        assert "errors" not in document, document
        return document["data"]


@pytest.fixture
def ui(demo: Demo, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ui]:
    monkeypatch.setenv(store.FOLDER_VARIABLE, str(demo.tenants))
    process = subprocess.Popen(
        [sys.executable, "-m", "dagster", "dev", "-w", "workspace.yaml", "-h", "127.0.0.1"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(target=_pass_on, args=(process.stdout, lines))
    reader.start()
    try:
        opened = Ui(process, lines)
        opened.address = opened.wait_for(r"Serving dagster-webserver on (http://127\.0\.0\.1:\d+)")[1]
        opened.wait_until_it_listens()
        yield opened
    finally:
        process.terminate()
        process.wait(DEADLINE)
        reader.join(DEADLINE)


def _pass_on(output: IO[str], lines: queue.Queue[str]) -> None:
    for line in output:
        lines.put(line)


def test_a_person_finds_the_tenant_and_loads_it(ui: Ui, demo: Demo) -> None:
    assets = ui.ask("{ assetNodes { assetKey { path } groupName isMaterializable } }")["assetNodes"]
    tables = {node["assetKey"]["path"][1] for node in assets if node["isMaterializable"]}
    assert tables == {entity.table for entity in ENTITIES}
    assert {node["groupName"] for node in assets} == {
        "beneficiaries", "providers", "coverages", "contracts", "tenant",
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
    found = {check["name"]: check["partitionStatuses"]["succeededPartitions"] for check in checks}
    assert found == {"decision": ["demo"], "freshness": ["demo"], "rejects": ["demo"], "reconciliation": []}
