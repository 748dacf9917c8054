"""The servers in containers are those of `penstock up`: services, versions, settings, topics; and the file is what Compose understands.

No container engine is needed: the file is compared with what `up` runs, and checked against the Compose Specification's own schema
(tests/deploy/compose-spec.json, from the Go module github.com/compose-spec/compose-go/v2 v2.16.2, Apache-2.0).
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from services.stack.postgres_database import DATABASE, USER
from services.stack.recipe import Found, Origin, Site
from services.stack.recipes import RECIPES
from services.stack.redis_store import Redis
from services.stack.temporal_cluster import NAMESPACE
from services.stack.versions import deploy_folder, wanted
from tests.deploy.compose_file import COMPOSE, ROOT, compose_file, mounts

PLACES = {"port", "bind", "dir", "daemonize"}
"""Redis's settings that say where it is; a container has places of its own."""
KAFKA_PLACES = {
    "KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "KAFKA_CONTROLLER_QUORUM_VOTERS",
    "KAFKA_LOG_DIRS", "KAFKA_HEAP_OPTS",
}  # fmt: skip
WRITES_ITS_ROOT = {
    "kafka": "its image writes settings and a log beside its code",
    "temporal": "its image writes settings made from the environment",
}
USER_OF_ITS_OWN = {"kafka": "appuser", "temporal": "temporal"}
"""Images that are not root by themselves."""
NO_PROBE = {"topics": "it ends", "otel-collector": "its image holds no shell and no client"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return compose_file()


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    return compose["services"]


def test_the_file_is_valid_by_the_compose_specification(compose: dict[str, Any]):
    schema = json.loads((ROOT / "tests" / "deploy" / "compose-spec.json").read_text())

    jsonschema.Draft202012Validator(schema).validate(compose)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({"services": {"kafka": {"imgae": "apache/kafka"}}})


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_server_has_the_image_of_the_versions_file(services: dict[str, Any], recipe):
    assert services[recipe.name]["image"] == wanted(recipe.name)["image"]


def test_the_kafka_image_is_of_the_version_that_up_runs():
    assert wanted("kafka")["image"].endswith(f":{wanted('kafka')['version']}")


def test_kafka_has_the_settings_of_up(services: dict[str, Any]):
    text = (deploy_folder() / "kafka" / "server.properties").read_text()
    ours = dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))
    theirs = {name: value for name, value in services["kafka"]["environment"].items() if name not in KAFKA_PLACES}

    assert theirs == {f"KAFKA_{name.replace('.', '_').upper()}": value for name, value in ours.items()}


def test_redis_has_the_settings_of_up(services: dict[str, Any], tmp_path: Path):
    found = Found(origin=Origin.PATH, version="7", programs={"redis-server": "redis-server"})
    site = Site(folder=tmp_path, log=tmp_path / "log", ports={"redis": 1})
    ours = options(Redis().spec(found, site).command)

    assert options(services["redis"]["command"]) == {name: value for name, value in ours.items() if name not in PLACES}


def test_postgres_has_the_user_and_the_database_of_up(services: dict[str, Any]):
    environment = services["postgres"]["environment"]

    assert (environment["POSTGRES_USER"], environment["POSTGRES_DB"]) == (USER, DATABASE)
    assert services["temporal"]["environment"]["POSTGRES_USER"] == USER


def test_temporal_has_the_namespace_of_up(services: dict[str, Any]):
    assert services["temporal"]["environment"]["DEFAULT_NAMESPACE"] == NAMESPACE


def test_topics_come_from_the_catalogue_once_kafka_answers(services: dict[str, Any]):
    topics = services["topics"]

    assert topics["entrypoint"] == ["python", "-P", "-m", "services.stack.topics", "kafka:9092"]
    assert topics["depends_on"] == {"kafka": {"condition": "service_healthy"}}


def test_everything_is_published_on_this_machine_only(services: dict[str, Any]):
    published = [port for service in services.values() for port in service.get("ports", ())]

    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []
    numbers = [port.split(":")[1] for port in published]
    assert len(numbers) == len(set(numbers))


def test_everything_has_a_health_check_but_what_cannot(services: dict[str, Any]):
    assert {name for name, service in services.items() if "healthcheck" not in service} == set(NO_PROBE)


def test_what_is_waited_for_can_come_true(services: dict[str, Any]):
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, name
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed], f"{name} waits for {needed}"
            ends = services[needed]["restart"] == "no"
            assert ends == (how["condition"] == "service_completed_successfully"), f"{name} waits for {needed}"


def test_nothing_runs_as_root_or_with_more_rights_than_it_needs(services: dict[str, Any]):
    for name, service in services.items():
        assert service.get("user", USER_OF_ITS_OWN.get(name, "root")).split(":")[0] not in {"0", "root"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service, name


def test_the_root_is_read_only_but_where_an_image_writes_it(services: dict[str, Any]):
    assert {name for name, service in services.items() if not service.get("read_only")} == set(WRITES_ITS_ROOT)


def test_everything_has_limits_of_processor_memory_and_processes(services: dict[str, Any]):
    for name, service in services.items():
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}, name


def test_state_lives_in_volumes_that_are_declared_and_used(compose: dict[str, Any], services: dict[str, Any]):
    used: set[str] = set()
    for service in services.values():
        for source, target, is_writable in mounts(service):
            if source.startswith("."):
                assert (COMPOSE / source).exists(), target
                assert not is_writable, f"{source} of the checkout could be written by a container"
            else:
                used.add(source)

    assert used == set(compose["volumes"])


def test_secrets_come_from_files_that_the_script_makes_and_git_ignores(compose: dict[str, Any], services: dict[str, Any], tmp_path: Path):
    script = tmp_path / "secrets.sh"
    script.write_text((COMPOSE / "secrets.sh").read_text())
    subprocess.run(["sh", script], check=True)
    made = {f"./secrets/{path.name}": path.read_text() for path in (tmp_path / "secrets").iterdir()}
    subprocess.run(["sh", script], check=True)

    assert {secret["file"] for secret in compose["secrets"].values()} == set(made)
    assert all(re.fullmatch(r"[0-9a-f]{48}", text) for text in made.values())
    assert made == {f"./secrets/{path.name}": path.read_text() for path in (tmp_path / "secrets").iterdir()}, "a second run changed them"
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {name for service in services.values() for name in service.get("secrets", ())} == set(compose["secrets"])
    assert "deploy/compose/secrets/" in (ROOT / ".gitignore").read_text().splitlines()


def test_no_secret_stands_in_an_environment(services: dict[str, Any]):
    for name, service in services.items():
        named = {key for key in service.get("environment", ()) if re.search(r"PASSWORD|PWD|PEPPER|SECRET", key)}
        assert all(key.endswith("_FILE") for key in named), name
        for key in named:
            secret = service["environment"][key].removeprefix("/run/secrets/")
            assert secret in service["secrets"], f"{name}: {key}"


def test_images_are_pinned(services: dict[str, Any]):
    for name, service in services.items():
        assert re.fullmatch(r"[a-z0-9./-]+:v?(\d[\w.]*|local)", service["image"]), name


def test_the_collector_exports_what_it_receives():
    config = yaml.safe_load((COMPOSE / "otel-collector.yaml").read_text())
    for pipeline in config["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(config[kind])


def options(command: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Return `--name value` pairs behind the program; what stands before it launches it."""
    words = list(command)[list(command).index("redis-server") + 1 :]
    return {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
