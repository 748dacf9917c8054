"""A router, a worker and a controller on a Kafka that asks who they are; and what each says at its start when it is not let in."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from penstock.cli.main import program
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.router_status import RouterStatus
from penstock.contracts.routes import single
from penstock.contracts.topics import ROUTERS, ROUTES, TOPICS, WORKERS
from penstock.contracts.worker_status import WorkerStatus
from services.chassis.bus_settings import BusSettings, SaslMechanism
from services.chassis.kafka import Delivery
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.kafka_sending import KafkaPublisher, KafkaSender
from services.chassis.operator_keys import OperatorKey
from services.chassis.process import running
from services.stack.topic_catalogue import make_topics_on
from tests.integration.processes import events, process, until
from tests.kafka_broker import Broker
from tests.secure_listeners import PASSWORD, SecureListeners

pytestmark = pytest.mark.timeout(240)
ROOT = Path(__file__).parents[2]
OPEN = {"grpc_port": 0, "http_port": 0}


@pytest.fixture(scope="module")
def secure(kafka: Broker) -> SecureListeners:
    asyncio.run(make_topics_on(kafka.secure.users(SaslMechanism.PLAIN), TOPICS))
    return kafka.secure


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    return tmp_path / "password"


def written(bus: BusSettings) -> dict[str, Any]:
    """Return what stands in a settings file: everything but the password."""
    return bus.model_dump(mode="json", exclude={"password"}, exclude_defaults=True)


def services_of(word: str, folder: Path) -> dict[str, dict[str, Any]]:
    return {
        "router": {"router_id": f"router-{word}", **OPEN},
        "worker": {"worker_id": f"worker-{word}", "artefacts": {"store": folder.as_uri()}},
        "controller": {"controller_id": f"controller-{word}", **OPEN},
    }


async def status_of(bus: BusSettings, topic: Any, decode: Callable[[bytes], Any], word: str, is_it: Callable[[Any], bool]) -> None:
    """Return when somebody with the word in their name has said what is waited for."""
    feed = KafkaFeed(TopicSource(topic=topic, bus=bus), decode)
    async with asyncio.timeout(60), running(feed.follow(lambda _key, _value: None)):
        while not any(word in key and is_it(status) for key, status in feed.snapshot().items()):
            await asyncio.sleep(0.02)


def revised(model: str, revision: int) -> Callable[[RouterStatus], bool]:
    return lambda status: any((one.model, one.revision) == (model, revision) for one in status.applied)


async def publish(bus: BusSettings, model: str, version: str) -> None:
    sender = KafkaSender(bus, "test", delivery=Delivery.DESIRED)
    KafkaPublisher(sender, ROUTES, RouteRecord.to_bytes).publish(model, RouteRecord(route=single(model, version, revision=1)))
    async with asyncio.timeout(60), running(sender.run()):
        while not sender.counters.sent:
            await asyncio.sleep(0.01)


def test_a_router_follows_routes_by_its_certificate_and_glass_is_broken_the_same_way(short_dir: Path, secure: SecureListeners):
    word = uuid.uuid4().hex[:8]
    key = OperatorKey.generate("ann")
    (short_dir / "ann.key").write_text(key.to_text())
    (short_dir / "keys.toml").write_text(f"[keys]\n{key.public_line()}\n")
    (short_dir / "bus.json").write_text(json.dumps({**written(secure.mutual), "bootstrap_servers": ""}))
    place = ("--key", str(short_dir / "ann.key"), "--bootstrap", secure.mutual.bootstrap_servers, "-o", "json")
    settings = {**services_of(word, short_dir)["router"], "break_glass_keys": str(short_dir / "keys.toml")}

    with process(short_dir, "router", bus=written(secure.mutual), **settings) as log:
        until(lambda: bool(events(log, "router_ready")), log)
        asyncio.run(publish(secure.users(), f"model-{word}", "1"))
        asyncio.run(status_of(secure.mutual, ROUTERS, RouterStatus.from_bytes, word, revised(f"model-{word}", 1)))
        unarmed = CliRunner().invoke(program, ["rollback", f"model-{word}", "--break-glass", "--to", "2", *place])
        broken = CliRunner().invoke(
            program, ["rollback", f"model-{word}", "--break-glass", "--to", "2", *place, "--bus", str(short_dir / "bus.json")]
        )
        asyncio.run(status_of(secure.mutual, ROUTERS, RouterStatus.from_bytes, word, revised(f"model-{word}", 2)))

    assert (unarmed.exit_code, "bus.tls: " in unarmed.stderr, "PENSTOCK_BUS__" in unarmed.stderr) == (1, True, True), unarmed.stderr
    assert json.loads(broken.stdout)["revision"] == 2, broken.output
    assert {one["topic"] for one in events(log, "feed_caught_up")} >= {ROUTES.name}


def test_every_service_shows_a_password_and_none_of_them_tells_it(
    short_dir: Path, secure: SecureListeners, password_file: Path, monkeypatch: pytest.MonkeyPatch
):
    word, bus = uuid.uuid4().hex[:8], secure.users()
    services = services_of(word, short_dir)
    for service in services:
        monkeypatch.setenv(f"PENSTOCK_{service.upper()}__BUS__PASSWORD_FILE", str(password_file))

    for service, settings in services.items():
        with process(short_dir, service, bus=written(bus), log_level="debug", **settings) as log:
            until(lambda: bool(events(log, "feed_caught_up")), log)
            if service == "worker":
                asyncio.run(status_of(bus, WORKERS, WorkerStatus.from_bytes, word, lambda _status: True))

    told = {path.name: path.read_bytes() for path in short_dir.rglob("*") if path.is_file()}
    assert {"router.log", "worker.log", "controller.log"} <= told.keys()
    assert [name for name, content in told.items() if PASSWORD.encode() in content] == []


@pytest.mark.parametrize(
    ("service", "setting", "step"),
    [
        ("router", "authorities", "name the PEM file of the authority that signed it"),
        ("worker", "password", "check bus.username and the password"),
        ("controller", "tls", "set bus.tls = true"),
        ("stack.topics", "certificate", "set bus.certificate and bus.key"),
    ],
)
def test_who_is_not_let_in_does_not_start_and_says_why(short_dir: Path, secure: SecureListeners, service: str, setting: str, step: str):
    bus = {
        "authorities": secure.mutual.model_copy(update={"authorities": secure.folder / "stranger.pem"}),
        "password": secure.users(),
        "tls": BusSettings(bootstrap_servers=secure.mutual.bootstrap_servers),
        "certificate": secure.mutual,
    }[setting]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PENSTOCK_WORKER__BUS__PASSWORD": "wrong-password"}
    words = [bus.bootstrap_servers]
    if service == "stack.topics":
        environment |= {"PENSTOCK_BUS__TLS": "true", "PENSTOCK_BUS__AUTHORITIES": str(bus.authorities)}
    else:
        settings = {"state_dir": str(short_dir / "s"), "bus": written(bus), **services_of("refused", short_dir)[service]}
        (short_dir / "settings.json").write_text(json.dumps(settings))
        words = ["--config", str(short_dir / "settings.json")]

    ended = subprocess.run(
        [sys.executable, "-P", "-m", f"services.{service}", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert ended.returncode == 78, ended.stderr
    assert f"error: bus.{setting}: " in ended.stderr
    assert step in ended.stderr
    assert "wrong-password" not in ended.stderr + ended.stdout
