"""Two routers and a worker on a real Kafka: routes apply at once, and nothing that goes away takes the answers with it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from penstock.contracts.observations import AnswerSource, Exposure, ExposureBatch, OutcomeWindow
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.router_status import RouterStatus
from penstock.contracts.routes import Backend, FallbackKind, FallbackStep, Route, Shadow, single
from penstock.contracts.topics import EXPOSURES, OUTCOMES, ROUTERS, ROUTES, Topic
from services.chassis.kafka import Delivery, reader
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.kafka_sending import KafkaPublisher, KafkaSender
from services.chassis.process import running
from services.mesh.plan import Reason
from services.router.targets import ROUTE_REVISION, SERVED_BY
from tests.flows.bus_load import loaded
from tests.flows.serving import Served, serving
from tests.flows.test_declared_routing import write_versions
from tests.kafka_broker import Broker, running_broker

pytestmark = pytest.mark.timeout(180)
BOTH = "version_policy = { all = {} }\n"


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory, session_ports: Callable[[int], list[int]]) -> Iterator[Broker]:
    with running_broker(tmp_path_factory.mktemp("bus"), session_ports(2)) as broker:
        yield broker


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, broker: Broker) -> Iterator[Served]:
    folder = Path(os.environ["XDG_RUNTIME_DIR"]) / "bus"
    folder.mkdir()
    repository = write_versions(tmp_path_factory.mktemp("models"))
    (repository / "scaled" / "model.toml").write_text(BOTH)
    publish(broker, single("scaled", "1", revision=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PENSTOCK_ROUTER__BUS__BOOTSTRAP_SERVERS", broker.bus.bootstrap_servers)
        with serving(folder, repository, "--routers", "2") as opened:
            yield opened


def publish(broker: Broker, route: Route) -> None:
    async def send() -> None:
        sender = KafkaSender(broker.bus, "test", delivery=Delivery.DESIRED)
        KafkaPublisher(sender, ROUTES, RouteRecord.to_bytes).publish(route.model, RouteRecord(route=route))
        async with running(sender.run()):
            while not sender.counters.sent:
                await asyncio.sleep(0.005)

    asyncio.run(send())


async def put(broker: Broker, route: Route) -> None:
    await asyncio.to_thread(publish, broker, route)


async def messages(broker: Broker, topic: Topic) -> list[bytes]:
    """Return all that a topic of events holds."""
    client = reader(broker.bus, "test")
    await client.start()
    try:
        from aiokafka import TopicPartition

        partitions = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
        client.assign(partitions)
        ends = await client.end_offsets(partitions)
        found: list[bytes] = []
        while any([await client.position(one) < ends[one] for one in partitions]):
            for records in (await client.getmany(timeout_ms=100)).values():
                found += [record.value for record in records]
        return found
    finally:
        await client.stop()


async def test_a_route_is_in_force_within_a_second_and_no_request_fails(served: Served, broker: Broker):
    statuses: dict[str, RouterStatus | None] = {}
    feed = KafkaFeed(TopicSource(topic=ROUTERS, bus=broker.bus), RouterStatus.from_bytes)
    async with running(feed.follow(statuses.__setitem__)), loaded(served.grpc) as load:
        await load.until(lambda: len(load.answers) > 50)
        assert load.versions() == {"1"}
        for revision, version in ((2, "2"), (3, "1"), (4, "2")):
            await put(broker, Route(**fields(version), revision=revision, sequence=revision, change_id=f"c{revision}"))

            told_after = await load.until(lambda: sum(s is not None and s.has_applied(revision, "") for s in statuses.values()) == 2)  # noqa: B023
            applied_at = time.monotonic()
            await load.until(lambda: load.answers[-1][0] > applied_at + 0.2)  # noqa: B023

            assert told_after < 20.0
            assert load.versions(since=applied_at + 0.1) == {version}

        assert load.failures == []
    last = load.answers[-1][1]
    assert last.parameters[SERVED_BY].string_param == last.model_version == "2"
    assert last.parameters[ROUTE_REVISION].int64_param == 4


async def test_a_split_is_seen_whole_by_whoever_judges_it(served: Served, broker: Broker):
    halves = (Backend(version="1", weight_basis_points=5000), Backend(version="2", weight_basis_points=5000))
    await put(broker, Route(model="scaled", backends=halves, revision=5, sequence=5))
    async with loaded(served.grpc) as load:
        await load.until(lambda: sum(a.parameters[ROUTE_REVISION].int64_param == 5 for _, a in load.answers) > 500)
    answered = {a.id: a.model_version for _, a in load.answers if a.parameters[ROUTE_REVISION].int64_param == 5}

    exposed: dict[str, str] = {}
    windows: list[OutcomeWindow] = []
    async with asyncio.timeout(20):
        while not (answered.keys() <= exposed.keys() and sum(window.requests for window in windows) >= len(answered)):
            batches = [ExposureBatch.from_bytes(raw) for raw in await messages(broker, EXPOSURES)]
            exposed = {one.request_id: one.version for batch in batches for one in batch.exposures}
            windows = [OutcomeWindow.from_bytes(raw) for raw in await messages(broker, OUTCOMES)]
            windows = [window for window in windows if window.route_revision == 5 and not window.segment]

    assert {request_id: exposed[request_id] for request_id in answered} == answered
    assert {window.version for window in windows} == {"1", "2"}
    assert all(window.latency.count == window.requests for window in windows)


async def test_what_a_shadow_saw_and_who_got_another_version_than_was_meant_is_on_the_bus(served: Served, broker: Broker):
    shadow = Shadow(version="2", sample_basis_points=10_000, concurrency_limit=1000)
    everybody = (Backend(version="1", weight_basis_points=10_000),)
    nobody = (Backend(version="9", weight_basis_points=10_000),)
    instead = (FallbackStep(kind=FallbackKind.VERSION, version="2"),)
    await put(broker, Route(model="scaled", backends=everybody, shadow=shadow, revision=6, sequence=6))
    async with loaded(served.grpc) as load:
        await load.until(lambda: sum(a.parameters[ROUTE_REVISION].int64_param == 6 for _, a in load.answers) > 100)
        await put(broker, Route(model="scaled", backends=nobody, fallback=instead, revision=7, sequence=7))
        await load.until(lambda: sum(a.parameters[ROUTE_REVISION].int64_param == 7 for _, a in load.answers) > 100)
    by_revision = {revision: {a.id for _, a in load.answers if a.parameters[ROUTE_REVISION].int64_param == revision} for revision in (6, 7)}

    copied: dict[str, Exposure] = {}
    stood_in: dict[str, Exposure] = {}
    async with asyncio.timeout(60):
        while len(copied.keys() & by_revision[6]) < 100 or not by_revision[7] <= stood_in.keys():
            seen = [one for raw in await messages(broker, EXPOSURES) for one in ExposureBatch.from_bytes(raw).exposures]
            copied = {one.request_id: one for one in seen if one.reason == Reason.SHADOW}
            stood_in = {one.request_id: one for one in seen if one.reason == Reason.FALLBACK}

    assert load.failures == []
    assert {(one.version, one.route_revision, one.sample_basis_points) for one in copied.values()} == {("2", 6, 10_000)}
    assert {(one.version, one.route_revision, one.source) for one in stood_in.values()} == {("2", 7, AnswerSource.WORKER)}


async def test_ten_seconds_without_the_bus_cost_no_request(served: Served, broker: Broker):
    await put(broker, single("scaled", "1", revision=8))
    async with loaded(served.grpc) as load:
        await load.until(lambda: bool(load.answers) and load.answers[-1][1].parameters[ROUTE_REVISION].int64_param == 8)
        broker.kill()
        await asyncio.sleep(10)  # the claim is about this time
        await asyncio.to_thread(broker.start)
        await put(broker, single("scaled", "2", revision=9))
        await load.until(lambda: load.answers[-1][1].parameters[ROUTE_REVISION].int64_param == 9, seconds=30)

        assert load.failures == []


async def test_a_router_that_starts_without_the_bus_serves_by_its_snapshot(served: Served, broker: Broker):
    await put(broker, single("scaled", "1", revision=10))
    async with loaded(served.grpc) as load:
        await load.until(lambda: bool(load.answers) and load.answers[-1][1].parameters[ROUTE_REVISION].int64_param == 10)
        await asyncio.sleep(1.0)  # snapshots are written when the topic is quiet
    broker.kill()
    ended = [served.child(name) for name in ("router-0", "router-1")]
    for process_id in ended:
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)

    await asyncio.to_thread(served.until, lambda: all(served.child(name) not in ended for name in ("router-0", "router-1")))
    await asyncio.to_thread(served.until, lambda: is_ready(served))
    async with loaded(served.grpc) as load:
        await load.until(lambda: len(load.answers) > 100)

    assert load.versions() == {"1"}
    assert {answer.parameters[ROUTE_REVISION].int64_param for _, answer in load.answers} == {10}


def is_ready(served: Served) -> bool:
    try:
        return served.get("/v2/health/ready")[0] == 200
    except OSError:
        return False


def fields(version: str) -> dict[str, object]:
    return {"model": "scaled", "backends": (Backend(version=version, weight_basis_points=10_000),)}
