"""The whole mesh while a configuration changes, somebody loads past the controller, and a topic is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

import grpc
import pytest

from penstock import Client, ServingError
from penstock.client.answers import status_word
from penstock.client.options import ClientOptions
from penstock.client.retry import RetryPolicy
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.topics import ROUTES, Topic
from penstock.contracts.worker_status import WorkerStatus
from penstock.oip.v2 import inference_pb2
from penstock.oip.v2 import inference_pb2_grpc as oip
from penstock.v1 import controller_pb2 as pb
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import admin
from services.controller.topic_looks import KafkaTopicLooks
from services.stack.topic_catalogue import make_topics
from tests.integration.test_mesh import ROWS, Mesh, mesh_of
from tests.kafka_broker import Broker, running_broker

pytestmark = pytest.mark.timeout(420)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, session_ports: Callable[[int], list[int]]) -> Iterator[Broker]:
    """A broker of this mesh alone: a catalogue begins anew here, and one of the topics is deleted."""
    with running_broker(tmp_path_factory.mktemp("kafka"), session_ports(2)) as broker:
        yield broker


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Mesh]:
    with mesh_of(tmp_path_factory.mktemp("mesh"), broker.bus.bootstrap_servers) as mesh:
        mesh.registered("scaled", "v1", 2.0)
        mesh.registered("scaled", "v2", 3.0)
        mesh.deployed("scaled", "v1", replicas=2)
        mesh.deployed("scaled", "v2")
        yield mesh


def workers_of(mesh: Mesh) -> list[WorkerStatus]:
    """Return what the workers say of themselves in the state folder."""
    return [WorkerStatus.from_bytes(path.read_bytes()) for path in (mesh.folder / "s" / "workers").glob("*.pb")]


def test_a_changed_configuration_is_rolled_through_the_workers_without_a_failure(mesh: Mesh):
    deployment = next(one.deployment_id for one in mesh.control.deployments("scaled") if one.version == "v1")
    failures: list[ServingError] = []
    done = threading.Event()

    def ask() -> None:
        with Client(mesh.target, ClientOptions(retries=RetryPolicy(attempts=1), timeout_seconds=30)) as client:
            while not done.is_set():
                try:
                    client.predict("scaled", ROWS)
                except ServingError as error:
                    failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        change = pb.UpdateDeploymentRequest(deployment_id=deployment, config_json='{"max_batch_size": 4}')
        changed = mesh.control.call(mesh.control.stub.UpdateDeployment, change).deployment
        mesh.until(lambda: mesh.status(deployment) == "active")
    finally:
        done.set()
        asking.join()

    held = [
        replica
        for status in workers_of(mesh)
        for replica in status.replicas
        if (replica.model, replica.version) == ("scaled", "v1") and replica.is_ready
    ]
    assert status_word(changed) == "deploying"
    assert [replica.signature.max_batch_size for replica in held] == [4, 4]
    assert failures == []


def test_a_load_past_the_controller_is_refused_with_the_way_to_do_it(mesh: Mesh):
    with grpc.insecure_channel(mesh.target) as channel, pytest.raises(grpc.RpcError) as refused:
        oip.GRPCInferenceServiceStub(channel).RepositoryModelLoad(inference_pb2.RepositoryModelLoadRequest(model_name="scaled"), timeout=30)

    assert isinstance(refused.value, grpc.Call)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "penstock deploy" in str(refused.value.details())


def test_a_topic_that_was_deleted_and_made_anew_is_filled_again_and_routers_serve_meanwhile(mesh: Mesh, broker: Broker):
    bus = BusSettings(bootstrap_servers=broker.bus.bootstrap_servers)
    asyncio.run(made_anew(bus, ROUTES))
    without = mesh.answer("scaled")
    published = list(mesh.control.republish().records)
    held: dict[str, bytes] = {}

    def is_filled() -> bool:
        held.update(asyncio.run(KafkaTopicLooks(bus, "test").held(ROUTES)))
        return "scaled" in held

    mesh.until(is_filled)

    # The controller looks by itself as well, and may have been first.
    assert published == [] or f"{ROUTES.name}/scaled" in published
    assert RouteRecord.from_bytes(held["scaled"]).route is not None
    assert without == mesh.answer("scaled") == (2.0, "v1")
    assert mesh.control.set_traffic("scaled", {"v1": 10_000, "v2": 0}).change.revision >= 0


async def made_anew(bus: BusSettings, topic: Topic) -> None:
    """Delete a topic and make it again, empty."""
    client = admin(bus, "test")
    await client.start()
    try:
        await client.delete_topics([topic.name])
        while topic.name in await client.list_topics():
            await asyncio.sleep(0.05)
    finally:
        await client.close()
    while not await make_topics(bus.bootstrap_servers, [topic]):
        await asyncio.sleep(0.05)
