"""The mesh in containers and the servers of `penstock up` are the same: services, versions, settings, topics.

No container engine is needed: the file is compared with what `up` runs, and checked against the Compose Specification's own schema
(tests/deploy/compose-spec.json, from the Go module github.com/compose-spec/compose-go/v2 v2.16.2, Apache-2.0).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
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

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose"
IN_CONTAINERS_ONLY = {
    "topics": "makes the topics, which `up` does itself",
    "serve": "routers and workers over a folder of models: `penstock serve` on a machine without containers",
    "otel-collector": "takes traces",
    "prometheus": "keeps metrics",
    "grafana": "shows them",
}
PLACES = {"port", "bind", "dir", "daemonize"}
"""Redis's settings that say where it is; a container has places of its own."""
KAFKA_PLACES = {
    "KAFKA_LISTENERS", "KAFKA_ADVERTISED_LISTENERS", "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", "KAFKA_CONTROLLER_QUORUM_VOTERS",
    "KAFKA_LOG_DIRS", "KAFKA_HEAP_OPTS",
}  # fmt: skip


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((COMPOSE / "compose.yaml").read_text())


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    return compose["services"]


def test_the_file_is_valid_by_the_compose_specification(compose: dict[str, Any]):
    schema = json.loads((ROOT / "tests" / "deploy" / "compose-spec.json").read_text())

    jsonschema.Draft202012Validator(schema).validate(compose)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate({"services": {"kafka": {"imgae": "apache/kafka"}}})


def test_every_server_of_up_is_a_service_and_the_rest_has_a_reason(services: dict[str, Any]):
    assert set(services) == {recipe.name for recipe in RECIPES} | set(IN_CONTAINERS_ONLY)


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


def test_what_is_waited_for_has_a_health_check(services: dict[str, Any]):
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in services, name
            assert how["condition"] != "service_healthy" or "healthcheck" in services[needed], f"{name} waits for {needed}"


def test_what_is_mounted_is_there(compose: dict[str, Any], services: dict[str, Any]):
    for service in services.values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (COMPOSE / source).is_file(), mount
            elif not source.startswith("${"):
                assert source in compose["volumes"], mount


def test_images_are_pinned(services: dict[str, Any]):
    for name, service in services.items():
        assert re.fullmatch(r"[a-z0-9./-]+:v?(\d[\w.]*|local)", service["image"]), name


def test_prometheus_asks_where_serve_shows_its_metrics(services: dict[str, Any]):
    scraped = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in scraped for each in job["static_configs"] for target in each["targets"]]

    assert targets == ["serve:8002"]
    assert services["serve"]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://otel-collector:4317"
    assert yaml.safe_load((COMPOSE / "grafana" / "datasources.yaml").read_text())["datasources"][0]["url"] == "http://prometheus:9090"


def test_the_collector_exports_what_it_receives():
    config = yaml.safe_load((COMPOSE / "otel-collector.yaml").read_text())
    for pipeline in config["service"]["pipelines"].values():
        for kind in ("receivers", "processors", "exporters"):
            assert set(pipeline[kind]) <= set(config[kind])


def test_the_image_is_built_from_files_that_are_there_and_not_ignored():
    copied = [source for line in instructions("COPY") if "--from=" not in line for source in shlex.split(line)[1:-1]]
    kept = {line[1:] for line in (COMPOSE / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}

    assert {source for source in copied if not (ROOT / source).exists()} == set()
    assert set(copied) == kept


def test_the_image_has_the_uv_of_the_setup():
    pinned = re.search(r"UV_PINNED=(\S+)", (ROOT / "deploy" / "setup" / "bootstrap.sh").read_text())
    assert pinned is not None

    assert f"uv=={pinned[1]}" in (COMPOSE / "Dockerfile").read_text()


def instructions(word: str) -> Iterator[str]:
    for line in (COMPOSE / "Dockerfile").read_text().splitlines():
        if line.startswith(word):
            yield line


def options(command: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Return `--name value` pairs behind the program; what stands before it launches it."""
    words = list(command)[list(command).index("redis-server") + 1 :]
    return {name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)}
