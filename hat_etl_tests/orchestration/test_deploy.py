"""The files in deploy: neither Docker nor Kubernetes is here, so they are read and held against what they name."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hat_etl_tests.orchestration.conftest import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


SERVICES: dict[str, dict[str, Any]] = read(COMPOSE / "compose.yaml")["services"]
VALUES: dict[str, Any] = read(DEPLOY / "kubernetes" / "values.yaml")
OURS = {name: service["command"] for name, service in SERVICES.items() if "command" in service}
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
IN_IMAGE = re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)


def test_a_worker_loads_and_knows_its_options() -> None:
    program, *words = OURS["worker"]
    first = words.index("worker") + 1
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    assert found is not None
    environment = {"HAT_ETL_BROKER": "redis://nobody/0"}
    told = subprocess.run(
        [found, *words[:first], "--help"], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    ).stdout
    for option in (word for word in words[first:] if word.startswith("--")):
        assert re.search(rf"{option}\b", told), option


@pytest.mark.parametrize("name", [name for name in OURS if name != "worker"])
def test_a_command_is_there_and_knows_its_options(name: str) -> None:
    program, *words = OURS[name]
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    assert found is not None
    first = next((n for n, word in enumerate(words) if word.startswith("--")), len(words))
    told = subprocess.run([found, *words[:first], "--help"], capture_output=True, text=True, check=True).stdout
    for option in (word for word in words[first:] if word.startswith("--")):
        assert re.search(rf"{option}\b", told), option


def test_every_service_waits_for_one_that_is_there_and_mounts_a_volume_that_is_declared() -> None:
    declared = set(read(COMPOSE / "compose.yaml")["volumes"])
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (COMPOSE / source).exists()
            elif not source.startswith("${"):
                assert source in declared


def test_only_the_login_is_reached_from_outside() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["login"]


def test_the_daemon_sees_the_processes_of_runs() -> None:
    assert SERVICES["daemon"]["pid"] == "service:code"


def test_every_variable_has_its_example_and_no_example_holds_a_secret() -> None:
    text = (COMPOSE / "compose.yaml").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{([A-Z_]+)", text))
    lines = [line for line in (COMPOSE / "env.example").read_text(encoding="utf-8").splitlines() if "=" in line]
    examples = dict(line.split("=", 1) for line in lines)
    assert asked == set(examples)
    for name in ("DAGSTER_PASSWORD", "HAT_ETL_TEAM_HASH", "HAT_ETL_BOARD_HASH", "HAT_ETL_NOTIFY"):
        assert examples[name].strip("'") == ""


def test_what_a_variable_lacks_is_made_without_the_compose_file() -> None:
    """The hashes of the passwords were to be made by a service of Compose, which refuses to begin without them."""
    hints = re.findall(r":\?([^}]+)\}", (COMPOSE / "compose.yaml").read_text(encoding="utf-8"))
    before = OPERATIONS.partition("docker build")[2].partition("docker compose up")[0]
    for text in (*hints, before):
        assert "docker compose" not in text
    assert "docker run --rm -it caddy:2 caddy hash-password" in before


def test_the_user_of_the_image_is_the_one_that_may_read_the_secrets() -> None:
    (number,) = re.findall(r"useradd --uid (\d+)", DOCKERFILE)
    assert f"`chown {number}`" in OPERATIONS


def test_a_dump_of_dagsters_database_goes_through_no_terminal() -> None:
    """A terminal changes line ends, and with them the bytes of the dump."""
    for command in re.findall(r"^docker compose exec .*$", OPERATIONS, re.MULTILINE):
        assert command.startswith("docker compose exec -T ")


def test_the_login_knows_its_variables_and_the_servers_behind_it() -> None:
    text = (COMPOSE / "Caddyfile").read_text(encoding="utf-8")
    assert set(re.findall(r"\{\$([A-Z_]+)\}", text)) == set(SERVICES["login"]["environment"])
    behind = re.findall(r"reverse_proxy (\w+):(\d+)", text)
    assert {(name, OURS[name][OURS[name].index("--port") + 1]) for name, _ in behind} == set(behind)
    assert "--read-only" in OURS["board"]


def test_the_workspace_names_the_code_service() -> None:
    (server,) = (each["grpc_server"] for each in read(COMPOSE / "workspace.yaml")["load_from"])
    command = OURS[server["host"]]
    assert command[command.index("--port") + 1] == str(server["port"])
    assert IN_IMAGE is not None
    assert yaml.safe_load(IN_IMAGE[1]) == command


def test_the_image_copies_what_is_there() -> None:
    for line in re.findall(r"^COPY (.*)$", DOCKERFILE, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
            assert f"!{source.split('/')[0]}" in (ROOT / ".dockerignore").read_text(encoding="utf-8").split()


def test_kubernetes_has_the_limits_of_this_repository() -> None:
    here = read(ROOT / "dagster.yaml")
    daemon = VALUES["dagsterDaemon"]
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    assert queue["tagConcurrencyLimits"] == here["concurrency"]["runs"]["tag_concurrency_limits"]
    assert daemon["runRetries"]["maxRetries"] == here["run_retries"]["max_retries"]
    assert not daemon["runRetries"]["retryOnAssetOrOpFailure"]
    assert VALUES["postgresql"]["postgresqlScheme"] == "postgresql+psycopg2"


def test_the_image_has_the_versions_that_are_tested() -> None:
    def versions(file: Path) -> dict[str, str]:
        return dict(
            re.findall(r"^([a-z0-9_.-]+)(?:\[\w+\])?==([^ ;]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
        )

    tested, shipped = versions(ROOT / "requirements.lock"), versions(DEPLOY / "requirements.lock")
    assert {"dagster-k8s", "dagster-postgres", "psycopg"} <= set(shipped)
    assert {name: version for name, version in shipped.items() if tested.get(name, version) != version} == {}
