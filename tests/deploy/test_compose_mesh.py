"""The controller, the routers and the workers in containers are those of `penstock up`: every setting is read by the service's own parser
and compared; what may differ is where things are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from services.chassis.config import Settings, load, override_tree
from services.controller.config import ControllerSettings
from services.router.config import RouterSettings
from services.stack.health import main as health
from services.stack.mesh_services import Service, Surrounded, mesh_services
from services.stack.recipes import RECIPES
from services.stack.settings import FACES, StackSettings
from services.worker.config import WorkerSettings
from tests.deploy.compose_file import COMPOSE, command_of, compose_file, mounts, on_this_machine

KINDS: dict[str, type[Settings]] = {"controller": ControllerSettings, "router": RouterSettings, "worker": WorkerSettings}
IN_CONTAINERS_ONLY = {
    "topics": "makes the topics, which `up` does itself",
    "otel-collector": "takes traces",
    "prometheus": "keeps metrics",
    "grafana": "shows them",
}
PLACES = {
    "state_dir": "a volume",
    "host": "a container is reached from others",
    "insecure_bind": "as above; ports are published on 127.0.0.1 alone",
    "http_port": "each container has ports of its own",
    "grpc_port": "as above",
    "metrics_port": "as above",
    "reuse_port": "as above: routers share no port",
    "scrape": "each process is scraped by itself; `up` shows one page for all",
    "database_password": "`up` gives its PostgreSQL none",
    "key_pepper": "a secret of the installation; on one machine keys are as safe as the catalogue's file",
    "controllers": "by their names",
}
STATE = "/var/lib/penstock/mesh"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return compose_file()["services"]


def ours() -> dict[str, Service]:
    """Return what `up` runs, given the addresses of the containers."""
    settings = StackSettings(state_dir=Path("/up"), cache_dir=Path("/up"), routers=2, workers=2)
    around = Surrounded(folder=Path(STATE), kafka="kafka:9092", postgres="postgres:5432", redis="redis:6379", ports=dict.fromkeys(FACES, 1))
    return {service.name: service for service in mesh_services(settings, around)}


OURS = ours()


def in_a_container(service: dict[str, Any], tmp_path: Path) -> Settings:
    """Read a container's settings as its process does; a secret is a file with its name in it."""
    words = command_of(service)
    kind = KINDS[words[3].removeprefix("services.")]
    environment = dict(service["environment"])
    for name, value in environment.items():
        if name.endswith("_FILE"):
            (tmp_path / Path(value).name).write_text(Path(value).name + "\n")
            environment[name] = str(tmp_path / Path(value).name)
    config = on_this_machine(service, words[words.index("--config") + 1])
    chosen = [words[place + 1] for place, word in enumerate(words) if word == "--set"]
    return load(kind, file=config, overrides=override_tree(chosen), environment=environment)


def test_every_service_of_up_is_one_of_compose_and_the_rest_has_a_reason(services: dict[str, Any]):
    assert set(services) == {recipe.name for recipe in RECIPES} | set(OURS) | set(IN_CONTAINERS_ONLY)


@pytest.mark.parametrize("name", OURS)
def test_a_service_has_the_settings_of_up(services: dict[str, Any], tmp_path: Path, name: str):
    service = OURS[name]
    there = in_a_container(services[name], tmp_path).model_dump()
    here = load(KINDS[service.service], overrides=service.settings, environment={}).model_dump()
    for settings in (there, here):
        settings["artefacts"] = _store(settings["artefacts"]) if "artefacts" in settings else None

    assert {key: value for key, value in there.items() if key not in PLACES} == {k: v for k, v in here.items() if k not in PLACES}


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_the_module_of_up_as_a_container_of_ours(services: dict[str, Any], name: str):
    service = services[name]

    assert command_of(service)[:4] == ["python", "-P", "-m", f"services.{OURS[name].service}"]
    assert service["image"] == "penstock:local"
    assert service["init"] is True
    assert float(service["stop_grace_period"].removesuffix("s")) > OURS[name].stop_seconds


def test_secrets_reach_the_settings_that_are_secret(services: dict[str, Any], tmp_path: Path):
    controller, router = in_a_container(services["controller"], tmp_path), in_a_container(services["router-0"], tmp_path)
    assert isinstance(controller, ControllerSettings)
    assert isinstance(router, RouterSettings)

    assert controller.database_password == "postgres_password"
    assert controller.key_pepper == router.key_pepper == "key_pepper"


def test_state_and_artefacts_are_in_volumes_that_the_right_ones_share(services: dict[str, Any], tmp_path: Path):
    shared = {name: {target: (source, writable) for source, target, writable in mounts(services[name])} for name in OURS}
    controller = in_a_container(services["controller"], tmp_path)
    assert isinstance(controller, ControllerSettings)
    store = urlsplit(controller.artefacts).path

    assert {name: mounted[STATE] for name, mounted in shared.items()} == dict.fromkeys(OURS, ("mesh", True))
    assert shared["controller"][store] == ("artefacts", True)
    caches = set()
    for name in ("worker-0", "worker-1"):
        worker = in_a_container(services[name], tmp_path)
        assert isinstance(worker, WorkerSettings)
        assert worker.artefacts.store == controller.artefacts
        assert shared[name][store] == ("artefacts", False)
        caches.add(shared[name][str(worker.artefact_folder.parent)])
    assert caches == {("worker-0-cache", True), ("worker-1-cache", True)}


def test_routers_reach_the_controller_where_it_listens(services: dict[str, Any], tmp_path: Path):
    controller, router = in_a_container(services["controller"], tmp_path), in_a_container(services["router-1"], tmp_path)
    assert isinstance(controller, ControllerSettings)
    assert isinstance(router, RouterSettings)

    assert [(one.grpc, one.http) for one in router.controllers] == [
        (f"controller:{controller.grpc_port}", f"controller:{controller.http_port}")
    ]
    assert services["router-1"]["ports"] == [f"127.0.0.1:8100:{router.http_port}", f"127.0.0.1:8101:{router.grpc_port}"]


@pytest.mark.parametrize("name", OURS)
def test_health_is_asked_where_up_asks(services: dict[str, Any], tmp_path: Path, name: str):
    settings, places = in_a_container(services[name], tmp_path), services[name]["healthcheck"]["test"]
    port = settings.model_dump().get("http_port")
    first = f"http://127.0.0.1:{port}{OURS[name].path}" if OURS[name].path else OURS[name].address

    assert places[:6] == ["CMD", "python", "-P", "-m", "services.stack.health", first]


def test_prometheus_scrapes_every_one_of_ours_where_it_shows_its_metrics(services: dict[str, Any], tmp_path: Path):
    scraped = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: [target for each in job["static_configs"] for target in each["targets"]] for job in scraped}
    wanted: dict[str, list[str]] = {}
    for name, service in OURS.items():
        settings = in_a_container(services[name], tmp_path).model_dump()
        assert settings["scrape"]["host"] == "0.0.0.0"
        wanted.setdefault(service.service, []).append(f"{name}:{settings['scrape']['port']}")

    assert targets == wanted


def test_everyone_of_ours_traces_to_the_collector(services: dict[str, Any]):
    config = yaml.safe_load((COMPOSE / "otel-collector.yaml").read_text())
    port = config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"].rpartition(":")[2]

    assert {services[name]["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] for name in OURS} == {f"http://otel-collector:{port}"}


def test_a_health_check_says_whether_somebody_answers(served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    nobody = f"unix:{tmp_path}/nobody.sock"

    assert health([f"{served}/livez"]) == 0
    assert health([f"{served}/missing"]) == 1
    assert health([f"{served}/livez", nobody]) == 1
    assert health(["ftp://127.0.0.1/"]) == 1
    assert nobody in capsys.readouterr().err


@pytest.fixture
def served() -> Iterator[str]:
    """Give out the address of a server that knows one path."""
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/livez" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_words: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _store(artefacts: Any) -> Any:
    """Leave out where versions are kept; it is compared by another test."""
    return {name: value for name, value in artefacts.items() if name not in {"store", "cache"}} if isinstance(artefacts, dict) else None
