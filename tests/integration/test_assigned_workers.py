"""Workers hold what they are assigned over a real Kafka, and go on holding it whatever is away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from penstock.contracts.assignments import AssignedReplica, Holding
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import single
from penstock.contracts.topics import ROUTES
from tests.chassis.s3_server import s3_server
from tests.faults.proxy import Proxy, Toxic
from tests.integration.assigned_mesh import Caller, Mesh, until
from tests.kafka_broker import Broker, running_broker
from tests.worker import models

ONE, TWO = models.row_sum(), models.row_sum() + b"\x12\x01x"
"""Two versions that answer alike: the second one says that it was made by x."""
SLOW_WARM_UP = (
    b'[[model_warmup]]\nname = "w"\nbatch_size = 1\ninputs = { x = { data_type = "FP32", dims = [1], input_data_file = "w.raw" } }\n'
)

pytestmark = pytest.mark.timeout(300)
"""Each test starts several processes; on a machine that others use as well a minute is not enough for them."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, session_ports: Callable[[int], list[int]]) -> Iterator[Broker]:
    """A broker that these tests may kill."""
    with running_broker(tmp_path_factory.mktemp("kafka"), session_ports(2)) as broker:
        yield broker


def padded(filler: bytes) -> bytes:
    """Return a model of which the smallest cache has room for one: with a producer's name of 600,000 letters."""
    return models.row_sum() + b"\x12\xc0\xcf\x24" + 600_000 * filler


@pytest.fixture
def mesh(broker: Broker, short_dir: Path) -> Mesh:
    return Mesh(short_dir, broker)


def held(digest: str, version: str, holding: Holding = Holding.ACTIVE, **rest: str) -> AssignedReplica:
    return AssignedReplica(model="m", version=version, digest=digest, holding=holding, **rest)


def test_what_is_assigned_is_fetched_loaded_and_reported_until_the_worker_ends(mesh: Mesh):
    one, two = mesh.register(ONE), mesh.register(TWO)
    with mesh.worker(gpu_type="nvidia-l4", labels={"zone": "a"}) as child:
        revision = mesh.assign(held(one, "1"), held(two, "2", Holding.STANDBY, config_json='{"max_batch_size": 4}'))
        replicas = mesh.until_states(child, {"m@1": "READY", "m@2": "READY"})
        mine = mesh.worker_id()
        told = mesh.heard(lambda told: len({status.observed_time for key, status in told if key == mine and status}) >= 3)
        assert mine in mesh.known_workers()

    assert replicas["m@1"].digest == one
    assert replicas["m@2"].digest == held(two, "2", config_json='{"max_batch_size": 4}').loaded_digest
    assert replicas["m@2"].signature.max_batch_size == 4
    newest = [status for key, status in told if key == mine and status is not None][-1]
    assert (newest.assignment_revision, newest.gpu_type, newest.labels) == (revision, "nvidia-l4", {"zone": "a"})
    assert [replica.is_ready for replica in newest.replicas] == [True, True]
    assert mesh.status() is None
    assert mine not in mesh.known_workers()


def test_a_newer_assignment_swaps_versions_without_a_failed_request(mesh: Mesh):
    one, two = mesh.register(ONE), mesh.register(TWO)
    mesh.assign(held(one, "1"))
    with mesh.worker() as child:
        mesh.until_states(child, {"m@1": "READY"})
        with mesh.router() as client:
            until(lambda: client.is_ready("m"), child)
            with Caller(client, "m").calling() as caller:
                caller.until_asked(20)
                mesh.assign(held(one, "1", Holding.DRAINING), held(two, "2"))
                mesh.until_states(child, {"m@1": "READY", "m@2": "READY"})
                caller.until_asked(20)
                mesh.assign(held(two, "2"))
                mesh.until_states(child, {"m@2": "READY"})
                caller.until_asked(20)

    assert caller.failures == []
    assert (caller.versions[0], caller.versions[-1]) == ("1", "2")


def test_a_router_of_another_machine_knows_workers_by_the_bus_and_keeps_them_without_it(mesh: Mesh, broker: Broker):
    one = mesh.register(ONE)
    mesh.publish(ROUTES, "m", RouteRecord(route=single("m", "1", revision=1)).to_bytes())
    mesh.assign(held(one, "1"))
    elsewhere = {"state_dir": str(mesh.folder / "r"), "bus": broker.bus.model_dump(mode="json", exclude={"password"}), "bus_workers": True}
    with mesh.worker(link_host="127.0.0.1") as child, mesh.router(**elsewhere) as client:
        until(lambda: client.is_ready("m"), child)
        broker.kill()
        try:
            with Caller(client, "m").calling() as caller:
                caller.until_asked(200)
        finally:
            broker.start()
        # Whoever ends before the bus has him again says his farewell to nobody.
        until(lambda: len(child.events("bus_is_back")) >= len(child.events("bus_away")), child)
        child.end()
        until(lambda: not client.is_ready("m"), child)

    assert caller.failures == []
    assert set(caller.versions) == {"1"}


def test_a_stale_revision_and_a_replaced_controller_change_nothing(mesh: Mesh):
    one, two = mesh.register(ONE), mesh.register(TWO)
    with mesh.worker() as child:
        mesh.assign(held(one, "1"), revision=5, epoch=7)
        mesh.until_states(child, {"m@1": "READY"})
        mesh.assign(held(two, "2"), revision=4, epoch=7)
        mesh.assign(held(two, "2"), revision=9, epoch=6)
        mesh.assign(held(one, "1"), held(two, "3"), revision=6, epoch=7)
        mesh.until_states(child, {"m@1": "READY", "m@3": "READY"})

    taken = [(line["revision"], line["writer_epoch"]) for line in child.events("assignment_taken")]
    assert taken == [(5, 7), (6, 7)]


def test_a_worker_serves_and_starts_again_while_kafka_and_the_store_are_away(mesh: Mesh, broker: Broker):
    one = mesh.register(ONE)
    mesh.assign(held(one, "1"))
    with mesh.worker() as child, mesh.router() as client:
        mesh.until_states(child, {"m@1": "READY"})
        until(lambda: client.is_ready("m"), child)
        broker.kill()
        try:
            (mesh.folder / "store").rename(mesh.folder / "elsewhere")
            with Caller(client, "m").calling() as caller:
                caller.until_asked(50)
            child.kill()
            with mesh.worker() as again:
                replica = mesh.until_states(again, {"m@1": "READY"})["m@1"]
                until(lambda: client.is_ready("m"), again)
                answer = client.predict("m", {"x": np.ones((2, 3), np.float32)})
        finally:
            broker.start()

    assert caller.failures == []
    assert replica.digest == one
    assert answer["sum"].tolist() == [[3.0], [3.0]]


def test_files_that_this_disk_has_spoilt_are_fetched_once_more(mesh: Mesh):
    one = mesh.register(ONE)
    mesh.assign(held(one, "1"))
    with mesh.worker() as child:
        mesh.until_states(child, {"m@1": "READY"})
    file = mesh.state / "artefacts" / mesh.worker_id() / one / "files" / "version" / "model.onnx"
    file.write_bytes(bytes(len(ONE)))

    with mesh.worker() as again:
        mesh.until_states(again, {"m@1": "READY"})

    assert len(again.events("cached_version_spoilt")) == 1
    assert len(again.events("version_cached")) == 1
    assert file.read_bytes() == ONE


def test_a_full_cache_never_gives_up_what_is_assigned_and_gives_up_what_is_not(mesh: Mesh):
    one, two = mesh.register(padded(b"a")), mesh.register(padded(b"b"))
    settings = {"store": mesh.store, "limit_bytes": 1 << 20, "retry_limit_seconds": 0.5}
    mesh.assign(held(one, "1", Holding.STANDBY))
    with mesh.worker(artefacts=settings) as child:
        mesh.until_states(child, {"m@1": "READY"})
        mesh.assign(held(one, "1", Holding.STANDBY), held(two, "2"))
        full = mesh.until_states(child, {"m@1": "READY", "m@2": "FAILED"})
        until(lambda: len(child.events("replica_failed")) >= 2, child)
        assert mesh.cached() == {one}
        mesh.assign(held(two, "2"))
        mesh.until_states(child, {"m@2": "READY"})

    assert "the artefact cache has a limit of" in full["m@2"].reason
    assert mesh.cached() == {two}


def test_p19_a_worker_killed_on_its_way_leaves_the_old_version_serving_and_finishes_when_it_is_back(mesh: Mesh):
    one = mesh.register(ONE)
    slow = mesh.register(models.looping(), {"model.toml": SLOW_WARM_UP, "warmup/w.raw": np.array([[4e5]], np.float32).tobytes()})
    for number in (0, 1):
        mesh.assign(held(one, "1"), number=number)
    with mesh.worker(1) as other, mesh.router() as client, ExitStack() as stack:
        child = stack.enter_context(mesh.worker(0))
        for number, one_of in enumerate((child, other)):
            mesh.until_states(one_of, {"m@1": "READY"}, number)
        caller = stack.enter_context(Caller(client, "m", version="1").calling())
        caller.until_asked(10)
        for phase in ("LOADING", "WARMING", "DRAINING"):
            mesh.assign(*([] if phase == "DRAINING" else [held(one, "1", Holding.DRAINING), held(slow, "2")]))
            # Of two states that follow one another closely the bus may tell the second alone.
            seen = {phase, *(("WARMING",) if phase == "LOADING" else ())}
            until(lambda seen=seen: seen & set(mesh.states().values()), child)
            child.kill()
            caller.until_asked(20)
            child = stack.enter_context(mesh.worker(0))
            if phase == "WARMING":
                until(lambda: mesh.states().get("m@2") == "READY", child)
        mesh.until_states(child, {})
        caller.until_asked(20)

    assert caller.failures == []
    assert set(caller.versions) == {"1"}


def test_m10_while_the_store_is_away_others_serve_and_what_is_new_waits_until_it_is_back(broker: Broker, short_dir: Path):
    with s3_server() as server:
        mesh = Mesh(short_dir, broker, store=server.bucket(), store_options=server.options())
        one, two, three = mesh.register(ONE), mesh.register(TWO), mesh.register(models.row_sum() + b"\x12\x01y")
        mesh.assign(held(one, "1"))
        with Proxy("store", lambda: ("127.0.0.1", server.port)) as proxy:
            mesh.store_options = server.options(proxy.port)
            with mesh.worker() as child, mesh.router() as client:
                mesh.until_states(child, {"m@1": "READY"})
                until(lambda: client.is_ready("m"), child)
                proxy.poison(Toxic(reset=True))
                with Caller(client, "m", version="1").calling() as caller:
                    mesh.assign(held(one, "1", Holding.STANDBY), held(two, "2"), held(three, "3", Holding.STANDBY))
                    waiting = mesh.until_states(child, {"m@1": "READY", "m@2": "FAILED", "m@3": "FAILED"})
                    until(lambda: len(child.events("replica_failed")) >= 4, child)
                    proxy.heal()
                    mesh.until_states(child, {"m@1": "READY", "m@2": "READY", "m@3": "READY"})
                    caller.until_asked(1)

    assert waiting["m@2"].reason.startswith("the object store")
    assert caller.failures == []
