"""Breaking the glass on real Kafka: past a controller that is away, past a bus that is away, and what the controller makes of it."""

from __future__ import annotations

import asyncio
import json
import stat
import time
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from penstock.cli.main import program
from penstock.contracts.errors import Unavailable
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import single
from penstock.contracts.topics import ROUTES
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import Delivery, dismiss, producer
from services.chassis.operator_keys import VALID_SECONDS, OperatorKey
from services.emergency.router_link import connected
from tests.integration.processes import process, until
from tests.integration.servers import ServerAddress, SessionServers
from tests.integration.test_controller import controller

pytestmark = pytest.mark.timeout(240)


@dataclass
class Standing:
    folder: Path
    kafka: str
    key: Path
    keys: Path
    admin: str
    log: Path

    def penstock(self, *arguments: str) -> Any:
        return CliRunner().invoke(program, [str(argument) for argument in arguments])

    def broken(self, model: str, version: str, *where: str) -> Any:
        ended = self.penstock("rollback", model, "--break-glass", "--key", str(self.key), "--to", version, *where, "-o", "json")
        assert ended.exit_code == 0, ended.output
        return json.loads(ended.stdout)

    def in_force(self, model: str) -> RouteRecord | None:
        async def asked() -> RouteRecord | None:
            async with connected(self.admin) as link:
                return next(iter((await link.records(model))[1]), None)

        return asyncio.run(asked())

    def shares(self, model: str) -> tuple[int, dict[str, int]]:
        record = self.in_force(model)
        if record is None or record.route is None:
            return 0, {}
        return record.route.revision, {one.version: one.weight_basis_points for one in record.route.backends}

    def offered(self, record: RouteRecord) -> bool:
        """Hand a record to the router's own door; return whether it took it."""

        async def asked() -> bool:
            async with connected(self.admin) as link:
                return await link.apply(record)

        return asyncio.run(asked())

    def sent(self, model: str, record: RouteRecord) -> None:
        """Put a record on the topic."""

        async def sending() -> None:
            client = producer(BusSettings(bootstrap_servers=self.kafka), "test", Delivery.DESIRED)
            await client.start()
            await client.send_and_wait(ROUTES.name, record.to_bytes(), key=model.encode())
            await dismiss(client)

        asyncio.run(sending())

    def written(self, model: str, version: str, revision: int) -> None:
        """Put a route on the topic as a controller would, and wait until the router goes by it."""
        self.sent(model, RouteRecord(route=single(model, version, revision=revision)))
        until(lambda: self.shares(model)[0] == revision, self.log)


@contextmanager
def router(folder: Path, kafka: str, keys: Path) -> Iterator[Path]:
    settings = {"router_id": "router-0", "grpc_port": 0, "http_port": 0, "break_glass_keys": str(keys)}
    with process(folder, "router", bus={"bootstrap_servers": kafka}, **settings) as log:
        until((folder / "s" / "admin" / "router-0.sock").exists, log)
        yield log


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, kafka: ServerAddress, servers: SessionServers) -> Iterator[Standing]:
    servers.make_topics()
    folder = tmp_path_factory.mktemp("glass")
    key, keys = folder / "alice.key", folder / "keys.toml"
    made = CliRunner().invoke(program, ["keys", "operator", "--name", "alice", "--key", str(key), "-o", "json"])
    assert made.exit_code == 0, made.output
    keys.write_text(f"[keys]\n{json.loads(made.stdout)['line']}\n")
    with ExitStack() as stack:
        log = stack.enter_context(router(folder, kafka.address, keys))
        admin = f"unix:{folder / 's' / 'admin' / 'router-0.sock'}"
        yield Standing(folder=folder, kafka=kafka.address, key=key, keys=keys, admin=admin, log=log)


def test_the_private_half_is_its_owners_alone_and_is_never_shown(standing: Standing):
    again = standing.penstock("keys", "operator", "--name", "alice", "--key", str(standing.key))
    secret = tomllib.loads(standing.key.read_text())["operator"]["private_key"]

    assert stat.S_IMODE(standing.key.stat().st_mode) == 0o600
    assert (again.exit_code, secret in again.output) == (1, False)
    assert secret not in standing.keys.read_text()


def test_without_a_controller_routers_take_an_operators_route_and_it_adopts_it_later(standing: Standing):
    model = f"m{time.monotonic_ns()}"
    standing.written(model, "v2", 3)
    answer = standing.broken(model, "v1", "--bootstrap", standing.kafka)

    assert (answer["revision"], answer["operator"]) == (4, "alice")
    assert answer["confirmations"]["router-0"] < 60
    assert standing.shares(model) == (4, {"v1": 10_000})

    (standing.folder / "c").mkdir()
    with controller(standing.folder / "c", standing.kafka, break_glass_keys=str(standing.keys)) as returned:
        until(lambda: standing.shares(model)[0] == 5, standing.log)
        (change,) = returned.control.changes(subject=f"model/{model}", verify=True).changes
    ours = standing.in_force(model)

    assert (change.kind, change.actor) == ("route.adopt", "operator:alice")
    assert ours is not None
    assert (ours.break_glass, standing.shares(model)[1]) == (False, {"v1": 10_000})


def test_without_a_bus_the_routers_own_door_is_open(standing: Standing):
    model = f"a{time.monotonic_ns()}"
    standing.written(model, "v2", 1)
    nowhere = standing.penstock("rollback", model, "--break-glass", "--key", str(standing.key), "--to", "v1", "--router", "unix:/nowhere")
    answer = standing.broken(model, "v1", "--router", standing.admin)

    assert (nowhere.exit_code, "ROUTER_AWAY" in nowhere.output) == (1, True)
    assert answer["confirmations"][standing.admin] < 60
    assert answer["warnings"] == ["the route in force does not name version 'v1': whether a worker holds it is not known here"]
    assert standing.shares(model) == (2, {"v1": 10_000})


def test_a_strangers_signature_changes_nothing(standing: Standing, tmp_path: Path):
    model = f"s{time.monotonic_ns()}"
    standing.written(model, "v2", 1)
    standing.penstock("keys", "operator", "--name", "mallory", "--key", str(tmp_path / "key"))
    ended = standing.penstock("rollback", model, "--break-glass", "--key", str(tmp_path / "key"), "--to", "v1", "--router", standing.admin)

    assert (ended.exit_code, "is not known here" in ended.output) == (1, True)
    assert standing.shares(model) == (1, {"v2": 10_000})


def test_without_a_version_it_goes_back_to_the_one_before_and_without_one_before_it_is_refused(standing: Standing):
    model = f"b{time.monotonic_ns()}"
    standing.written(model, "v2", 1)
    without = ("rollback", model, "--break-glass", "--key", str(standing.key), "--bootstrap", standing.kafka)
    refused = standing.penstock(*without)
    standing.broken(model, "v1", "--router", standing.admin)
    back = standing.penstock(*without[:5], "--router", standing.admin)
    after_back = standing.shares(model)
    forth = standing.penstock(*without[:5], "--router", standing.admin)

    assert (refused.exit_code, "says of nobody who had its traffic before" in refused.output) == (1, True)
    assert (back.exit_code, after_back) == (0, (3, {"v2": 10_000}))
    assert (forth.exit_code, standing.shares(model)) == (0, (4, {"v1": 10_000}))


def test_a_record_that_is_handed_over_again_or_too_late_changes_nothing(standing: Standing):
    model = f"r{time.monotonic_ns()}"
    standing.written(model, "v2", 1)
    alice = OperatorKey.load(standing.key)
    now = time.time()
    good = alice.signed(replace(single(model, "v1", revision=2), changed_time=now))
    late = alice.signed(replace(single(model, "v3", revision=9), changed_time=now - 2 * VALID_SECONDS))
    early = alice.signed(replace(single(model, "v3", revision=9), changed_time=now + 2 * VALID_SECONDS))
    first = standing.offered(good)
    standing.written(model, "v2", 3)
    again = standing.offered(good)
    for stale in (late, early):
        with pytest.raises(Unavailable) as refused:
            standing.offered(stale)
        assert "s before it came" in refused.value.message

    assert (first, again) == (True, False)
    assert standing.shares(model) == (3, {"v2": 10_000})


def test_what_a_stranger_or_the_past_put_on_the_topic_hides_nothing_from_a_router_that_starts(standing: Standing, tmp_path: Path):
    model = f"h{time.monotonic_ns()}"
    standing.written(model, "v2", 1)
    alice, mallory = OperatorKey.load(standing.key), OperatorKey.generate("mallory")
    now = time.time()
    for key, signed_at in ((mallory, now), (alice, now - 2 * VALID_SECONDS)):
        standing.sent(model, key.signed(replace(single(model, "v9", revision=9), changed_time=signed_at)))
    standing.written(f"{model}-after", "v1", 1)  # what was put there before it has been read

    with router(tmp_path, standing.kafka, standing.keys) as log:
        newcomer = replace(standing, admin=f"unix:{tmp_path / 's' / 'admin' / 'router-0.sock'}", log=log)
        until(lambda: newcomer.shares(f"{model}-after")[0] == 1, log)
        assert newcomer.shares(model) == (1, {"v2": 10_000})
    assert standing.shares(model) == (1, {"v2": 10_000})


@pytest.mark.parametrize("arguments", [[], ["--to", "v1"], ["--to", "v1", "--key", "k"]])
def test_a_broken_glass_needs_a_key_and_a_way(arguments: list[str], standing: Standing):
    assert standing.penstock("rollback", "m", "--break-glass", *arguments).exit_code == 2


@pytest.mark.parametrize("said", [["--dry-run"], ["--reason", "errors"], ["--expect-revision", "1"]])
def test_what_only_the_controller_can_honour_is_refused_and_nothing_is_published(said: list[str], standing: Standing):
    model = f"d{time.monotonic_ns()}"
    standing.written(model, "v2", 1)
    way = ("--break-glass", "--key", str(standing.key), "--to", "v1", "--router", standing.admin)

    assert standing.penstock("rollback", model, *way, *said).exit_code == 2
    assert standing.shares(model) == (1, {"v2": 10_000})
