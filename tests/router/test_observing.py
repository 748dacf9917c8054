"""What routers saw: exposures and outcome windows of the inference path."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from penstock.contracts.observations import ExposureBatch, OutcomeWindow
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Backend, Route
from penstock.contracts.topics import Topic
from penstock.v1.link_pb2 import Answer, Chunk
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka_sending import KafkaSender
from services.router import exposing as module
from services.router.observation_loop import ObservationLoop
from services.router.observing import Observing
from tests.mesh.conftest import FakeWorker, echo, replica
from tests.router.inference_stand import Stand, request, standing
from tests.router.operators import in_force, written

SPLIT = (Backend(version="1", weight_basis_points=5000), Backend(version="2", weight_basis_points=5000))


@pytest.fixture
async def stand(worker: FakeWorker) -> AsyncIterator[Stand]:
    routes = in_force()
    held = worker.status(replica(version="1", replica_id=1), replica(version="2", replica_id=2))
    async with standing([worker], [held], routes=routes, observing=Observing("router-1")) as built:
        routes.apply("echo", RouteRecord(route=Route(model="echo", backends=SPLIT, revision=4)))
        yield built


def folded(stand: Stand) -> Observing:
    assert stand.observing is not None
    while stand.observing.fold(100.0):
        pass
    return stand.observing


async def test_every_request_of_a_split_is_exposed_once_with_its_unit(stand: Stand):
    stand.take(*(request([[n, 0]], id=f"r{n}") for n in range(100)))
    await stand.front.until(100)

    exposures = folded(stand).exposures.waiting

    assert sorted(one.request_id for one in exposures) == sorted(f"r{n}" for n in range(100))
    assert {one.request_id: one.version for one in exposures} == {
        answer.id: answer.model_version for answer in stand.front.answers.values()
    }
    assert len({one.unit for one in exposures}) == 100
    assert {(one.tenant, one.route_revision, one.reason, one.source, one.time) for one in exposures} == {("anonymous", 4, 1, 1, 100.0)}


async def test_windows_hold_every_request_by_version_and_by_tenant(stand: Stand):
    stand.take(*(request([[n + 1, 0]], id=f"r{n}") for n in range(100)))
    await stand.front.until(100)

    windows = folded(stand).windows.close(10.0, 1.0)

    everybody = [window for window in windows if not window.segment]
    assert sum(window.requests for window in everybody) == 100
    assert sum(window.requests for window in windows if window.segment == "anonymous") == 100
    assert sum(window.latency.count for window in everybody) == 100
    assert sum(window.scores.total for window in everybody) == sum(range(1, 101))
    assert {window.route_revision for window in windows} == {4}
    assert folded(stand).windows.close(11.0, 1.0) == []


async def test_failures_are_in_the_window_with_their_reason(stand: Stand, worker: FakeWorker):
    def refuse(chunk: Chunk) -> Answer:
        answer = Answer(chunk_id=chunk.chunk_id)
        answer.failures.add(index=0, reason="EXECUTION_FAILED", message="no")
        return answer

    worker.answer = refuse
    stand.take(request([[1, 1]], id="a", model_version="1"))
    await stand.front.until(1)
    worker.answer = echo

    (everybody,) = [window for window in folded(stand).windows.close(0.0, 1.0) if not window.segment]
    assert (everybody.requests, dict(everybody.errors)) == (1, {"EXECUTION_FAILED": 1})
    assert not folded(stand).exposures.waiting


async def test_a_route_without_a_choice_exposes_nobody(worker: FakeWorker):
    routes = in_force()
    async with standing([worker], routes=routes, observing=Observing("router-1")) as stand:
        routes.apply("echo", written("echo", "1", 1))
        stand.take(request([[1, 1]]), request([[2, 2]]))
        await stand.front.until(2)

        assert not folded(stand).exposures.waiting


async def test_what_finds_no_room_is_counted(stand: Stand, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "EXPOSURES_LIMIT", 10)
    stand.take(*(request([[n, 0]], id=f"r{n}") for n in range(25)))
    await stand.front.until(25)

    exposures = folded(stand).exposures

    assert (len(exposures.waiting), exposures.dropped, exposures.untold(), exposures.untold()) == (10, 15, 15, 0)


class Kept(KafkaSender):
    """A sender that keeps what it is given, as long as it is told to."""

    def __init__(self) -> None:
        super().__init__(BusSettings(bootstrap_servers="nowhere:1"), "test")
        self.messages: list[tuple[str, bytes]] = []
        self.is_full = False

    def offer(self, topic: Topic, key: str, value: bytes) -> bool:
        if not self.is_full:
            self.messages.append((topic.name, value))
        return not self.is_full


async def test_what_the_bus_would_not_take_is_counted_in_the_next_message(stand: Stand):
    sender = Kept()
    assert stand.observing is not None
    loop = ObservationLoop(stand.observing, sender, "router-1", window_seconds=1.0)
    for is_full in (True, False):
        sender.is_full = is_full
        stand.take(*(request([[n, 0]], id=f"r{n}") for n in range(10)), first_id=100 if is_full else 200)
        await stand.front.until(10 if is_full else 20)
        while stand.observing.fold(1.0):
            pass
        await loop._send_exposures()
        loop._send_windows(0.0, 1.0)

    batches = [ExposureBatch.from_bytes(raw) for name, raw in sender.messages if "exposures" in name]
    windows = [OutcomeWindow.from_bytes(raw) for name, raw in sender.messages if "outcomes" in name]
    assert [(len(batch.exposures), batch.dropped) for batch in batches] == [(10, 10)]
    assert windows[0].dropped_windows > 0
    assert windows[1].dropped_windows == 0
