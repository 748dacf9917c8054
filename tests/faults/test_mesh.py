"""The whole mesh on a real Kafka, while its routers, its controllers and the bus die, stop and come back under load.

Counts decide; times are only printed, for they are the machine's.
"""

from __future__ import annotations

import asyncio
import signal
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import pytest

from bench.killable import Killable
from bench.mesh import MODEL, ONCE, VERSIONS, Mesh, confirmed, restart, until
from bench.mesh_load import SteadyLoad
from bench.rollback import flipped
from bench.static import Outage
from penstock import Client
from penstock.client.control import Control
from penstock.client.options import ClientOptions
from penstock.client.retry import RetryPolicy
from penstock.client.writes import Write
from penstock.contracts.errors import ServingError, Unavailable
from penstock.contracts.routes import RoutingKey
from penstock.contracts.topics import ROUTES
from penstock.v1 import routes_pb2
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import Delivery
from services.chassis.kafka_sending import KafkaSender
from services.chassis.process import running as kept
from tests.faults.conftest import ROUTERS

pytestmark = pytest.mark.timeout(420)

DOWN_SECONDS = 5.0
ACKNOWLEDGED = 12
RATE = 100.0


@pytest.fixture
def running(_mesh: Mesh) -> Mesh:
    """Return the mesh with all the traffic on v1."""
    with _mesh.control() as control:
        confirmed(lambda: traffic(control, "v1"), ROUTERS)
    return _mesh


def traffic(control: Control, version: str, write: Write = Write()) -> object:  # noqa: B008  a frozen value
    return control.set_traffic(MODEL, {one: 10_000 * (one == version) for one in VERSIONS}, write)


def moved(control: Control) -> Any:
    """Change the route, but not the weights, and return what every router confirmed."""
    return confirmed(lambda: control.stick(MODEL, RoutingKey(salt=f"{time.monotonic_ns()}")), ROUTERS)


def writer(running: Mesh) -> int:
    """Return the number of the controller that writes now, waiting for one."""
    found: list[int] = []

    def is_found() -> bool:
        found.extend(number for number in range(len(running.controllers)) if may_write(running, number))
        return bool(found)

    until(is_found, pause_seconds=0.1)
    return found[0]


def may_write(running: Mesh, number: int) -> bool:
    with running.control(
        ClientOptions(retries=RetryPolicy(attempts=1), timeout_seconds=2), address=running.controller_addresses[number]
    ) as c:
        try:
            traffic(c, "v2", Write(dry_run=True))
        except ServingError:
            return False
    return True


@contextmanager
def dead(one: Killable) -> Generator[None]:
    one.kill()
    try:
        yield
    finally:
        restart([one])


def test_a_flip_and_its_rollback_fail_nothing_and_leave_nothing_behind(running: Mesh):
    changes, load = flipped(running, 3)

    ends = [*(one.asked_at for one in changes[1:]), float("inf")]
    assert load.failures == []
    assert [change.confirmations for change in changes] == [ROUTERS] * 6
    assert [change.after(load.told, end) for change, end in zip(changes, ends, strict=True)] == [0] * 6
    assert {one.version for one in load.told} == {"v1", "v2"}
    assert all(one.value == VERSIONS[one.version] for one in load.told)
    print("last answer by the old version after", [f"{one.seconds(load.told, end):.3f} s" for one, end in zip(changes, ends, strict=True)])


def test_the_bus_and_all_controllers_down_cost_no_request_and_deploys_go_on_afterwards(running: Mesh):
    with running.control() as control, SteadyLoad(running.router_addresses, MODEL, rate=RATE) as load:
        load.settled(time.monotonic())
        outage = Outage(running=running, control=control, load=load)
        outage.endure([running.kafka, *running.controllers], DOWN_SECONDS)
        seconds = outage.converge()
        running.register(control, "v3", 5.0)
        running.deploy(control, "v3")

    with Client(running.router_addresses[0]) as client:
        answer = client.predict(MODEL, np.ones((1, 1), np.float32), version="v3")
    assert load.failures == []
    assert float(np.ravel(next(iter(answer.outputs.values())))[0]) == 5.0
    print(f"a change was confirmed {seconds:.2f} s after the return, {len(load.told)} calls")


def test_p10_clients_of_a_killed_router_go_on_at_the_other_and_its_own_notice_nothing(running: Mesh):
    first, second = running.router_addresses
    either, own = f"ipv4:{first},{second}", second
    with SteadyLoad([either, either, own, own], MODEL, rate=RATE) as load:
        load.settled(time.monotonic())
        with dead(running.routers[0]):
            killed_at = time.monotonic()
            load.settled(killed_at)
            settled_at = time.monotonic()
            load.settled(settled_at, answers=10)

    assert [one for one in load.failures if one.router >= 2] == []
    assert [one for one in load.failures if one.sent_at > settled_at] == []
    print(f"{len(load.failures)} of {len(load.told)} calls failed; all answered again after {settled_at - killed_at:.3f} s")


def test_p15_a_writer_that_wakes_past_its_lease_is_refused(running: Mesh):
    stale = writer(running)
    other = 1 - stale
    with running.control() as control:
        before = control.model(MODEL).route
    refused: list[ServingError] = []
    late = threading.Thread(target=lambda: refused.extend(refusals(running, stale)))
    stop_between_writes(running, running.controllers[stale])
    try:
        late.start()  # its call lies in the stopped writer's socket
        until(lambda: may_write(running, other), pause_seconds=0.1)
        with running.control(address=running.controller_addresses[other]) as control:
            control.set_alias(MODEL, "champion", "v1")
    finally:
        running.controllers[stale].send(signal.SIGCONT)
    late.join(60)

    with running.control(address=running.controller_addresses[other]) as control:
        taken = moved(control).route
    assert [type(one) for one in refused] == [Unavailable]
    assert taken.writer_epoch > before.writer_epoch
    assert {one.version: one.weight_basis_points for one in taken.backends if one.weight_basis_points} == {"v1": 10_000}
    assert not may_write(running, stale)


def refusals(running: Mesh, number: int) -> list[ServingError]:
    """Ask one controller, once, for all the traffic on v2; return what it refused."""
    with running.control(ONCE, address=running.controller_addresses[number]) as control:
        try:
            traffic(control, "v2")
        except ServingError as refusal:
            return [refusal]
    return []


def stop_between_writes(running: Mesh, one: Killable) -> None:
    """Stop a process while it holds no lock of the database, which would stop everybody else's writes as well."""

    def is_stopped_without_lock() -> bool:
        one.send(signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(running.folder / "s" / "catalogue.db", timeout=1.0)) as database:
                database.execute("BEGIN IMMEDIATE").connection.rollback()
        except sqlite3.OperationalError:
            one.send(signal.SIGCONT)
            return False
        return True

    until(is_stopped_without_lock)


def test_a_controller_killed_in_the_middle_of_writes_loses_nothing_that_it_acknowledged(running: Mesh):
    number = writer(running)
    acknowledged: list[str] = []
    asked: list[str] = []
    writing = threading.Thread(target=lambda: write_until_refused(running, number, asked, acknowledged))
    writing.start()
    until(lambda: len(acknowledged) >= ACKNOWLEDGED or not writing.is_alive())
    with dead(running.controllers[number]):
        writing.join(60)
    next_writer = writer(running)
    with running.control(address=running.controller_addresses[next_writer]) as control:
        found = {one.tenant for one in control.tenants() if one.tenant.startswith("writes-")}
        audit = control.changes(verify=True)
        moved(control)

    assert len(acknowledged) >= ACKNOWLEDGED
    assert set(acknowledged) <= found <= set(asked)
    assert audit.broken == ""


def write_until_refused(running: Mesh, number: int, asked: list[str], acknowledged: list[str]) -> None:
    with running.control(ONCE, address=running.controller_addresses[number]) as control:
        while True:
            asked.append(f"writes-{len(asked)}")
            try:
                control.set_tenant(asked[-1])
            except ServingError:
                return
            acknowledged.append(asked[-1])


def test_t9_a_route_of_an_older_revision_or_an_older_writer_changes_no_answer(running: Mesh):
    with running.control() as control:
        present = control.model(MODEL).route
        older = changed(present, revision=present.revision - 1)
        deposed = changed(present, revision=present.revision + 1000, writer_epoch=present.writer_epoch - 1)
        with SteadyLoad(running.router_addresses, MODEL, rate=RATE) as load:
            load.settled(time.monotonic())
            for stale in (older, deposed):
                asyncio.run(publish(running.kafka.address, stale))
            # One key is one partition: who confirms what comes after has read what came before.
            after = moved(control)
            load.settled(time.monotonic())

    assert after.route.revision > present.revision
    assert {one.version for one in load.told} == {"v1"}
    assert load.failures == []


def changed(route: routes_pb2.Route, **fields: int) -> routes_pb2.Route:
    """Return the route with all the traffic on v2."""
    stale = routes_pb2.Route()
    stale.CopyFrom(route)
    stale.change_id = "stale"
    for backend in stale.backends:
        backend.weight_basis_points = 10_000 * (backend.version == "v2")
    for name, value in fields.items():
        setattr(stale, name, value)
    return stale


async def publish(kafka: str, route: routes_pb2.Route) -> None:
    sender = KafkaSender(BusSettings(bootstrap_servers=kafka), "stale-writer", delivery=Delivery.DESIRED)
    sender.keep(ROUTES, MODEL, routes_pb2.RouteRecord(route=route.SerializeToString()).SerializeToString())
    async with kept(sender.run()):
        while not sender.counters.sent:
            await asyncio.sleep(0.005)
