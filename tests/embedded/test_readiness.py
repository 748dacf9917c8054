"""When everything that can be ready is ready."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.chassis.child import ChildSpec
from services.embedded import run_folder
from services.embedded.addresses import Addresses
from services.embedded.readiness import Readiness, answers
from services.embedded.run_folder import RunFolder
from tests.chassis.manual_clock import ManualClock

REVISION = 5


class RunningChild:
    def __init__(self, name: str, process_id: int | None) -> None:
        self.spec = ChildSpec(name=name, command=())
        self.process_id = process_id


@pytest.fixture
def folder(short_dir: Path) -> Iterator[RunFolder]:
    with run_folder.opened(short_dir / "s", None) as folder:
        yield folder


def report(folder: RunFolder, process_id: int, *, settled: bool, state: ReplicaState = ReplicaState.READY) -> None:
    replica = ReplicaStatus(replica_id=1, model="digits", version="1", state=state)
    status = WorkerStatus(
        worker_id="worker-0",
        instance_id="a",
        link_address="unix:/x",
        process_id=process_id,
        revision=REVISION,
        replicas=(replica,),
        settled=settled,
    )
    (folder.workers / "worker-0.pb").write_bytes(status.to_bytes())


async def looked(clock: ManualClock) -> None:
    """Let the waiting task look once more."""
    clock.advance(0.02)
    await asyncio.sleep(0)
    await clock.asleep()


async def test_a_router_is_ready_when_its_present_process_says_so(folder: RunFolder):
    clock = ManualClock()
    readiness = Readiness(folder, [RunningChild("router-0", 7)], [], clock)
    waiting = asyncio.create_task(readiness.routers_ready())
    for content in ("", "junk", "[7]", json.dumps({"pid": 6})):
        folder.ready("router-0").write_text(content)
        await clock.asleep()
        await looked(clock)
        assert not waiting.done()
    folder.ready("router-0").write_text(json.dumps({"pid": 7}))
    clock.advance(0.02)

    await asyncio.wait_for(waiting, 5)


async def test_a_worker_is_settled_when_its_present_process_says_so(folder: RunFolder):
    clock = ManualClock()
    readiness = Readiness(folder, [], [RunningChild("worker-0", 7)], clock)
    waiting = asyncio.create_task(readiness.workers_settled())
    for process_id, settled in ((6, True), (7, False)):
        report(folder, process_id, settled=settled)
        await clock.asleep()
        await looked(clock)
        assert not waiting.done()
    report(folder, 7, settled=True)
    clock.advance(0.02)

    assert (await asyncio.wait_for(waiting, 5))["worker-0"].replicas[0].model == "digits"


async def test_everything_is_ready_when_every_router_reaches_what_the_workers_have_loaded(folder: RunFolder):
    clock = ManualClock()
    report(folder, 7, settled=True)
    routers = [RunningChild("router-0", 8), RunningChild("router-1", 9)]
    waiting = asyncio.create_task(Readiness(folder, routers, [RunningChild("worker-0", 7)], clock).workers_reached())
    folder.ready("router-0").write_text(json.dumps({"pid": 8, "workers": {"worker-0": REVISION}}))
    for workers in ({}, {"worker-1": REVISION}, {"worker-0": REVISION - 1}):
        folder.ready("router-1").write_text(json.dumps({"pid": 9, "workers": workers}))
        await clock.asleep()
        await looked(clock)
        assert not waiting.done()
    folder.ready("router-1").write_text(json.dumps({"pid": 9, "workers": {"worker-0": REVISION + 1}}))
    clock.advance(0.02)

    assert await asyncio.wait_for(waiting, 5)


async def test_a_router_that_reaches_nobody_is_named_and_not_waited_for_without_end(folder: RunFolder):
    clock = ManualClock()
    report(folder, 7, settled=True)
    folder.ready("router-0").write_text(json.dumps({"pid": 8, "workers": {}}))
    readiness = Readiness(folder, [RunningChild("router-0", 8)], [RunningChild("worker-0", 7)], clock)
    with structlog.testing.capture_logs() as logs:
        waiting = asyncio.create_task(readiness.workers_reached())
        await clock.asleep()
        clock.advance(11.0)

        assert not await asyncio.wait_for(waiting, 5)
    assert logs == [{"event": "workers_not_reached", "log_level": "warning", "routers": ["router-0"]}]


async def test_a_long_start_says_what_is_awaited(folder: RunFolder):
    clock = ManualClock()
    report(folder, 7, settled=False, state=ReplicaState.LOADING)
    readiness = Readiness(folder, [], [RunningChild("worker-0", 7), RunningChild("worker-1", None)], clock)
    with structlog.testing.capture_logs() as logs:
        waiting = asyncio.create_task(readiness.workers_settled())
        await clock.asleep()
        clock.advance(6.0)
        await asyncio.sleep(0)
        await clock.asleep()
    waiting.cancel()

    assert logs == [{"event": "still_starting", "log_level": "info", "awaited": ["worker-0 (loading digits@1)", "worker-1"]}]


class Face:
    """An HTTP face that answers each request with the next status."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.line = await reader.readline()
        writer.write(f"HTTP/1.1 {self.statuses.pop(0)} x\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()


def at(port: int, *, is_tls: bool = False) -> Addresses:
    return Addresses(host="0.0.0.0", http_port=port, grpc_port=1, metrics_port=1, is_tls=is_tls)


async def test_the_http_face_is_asked_until_it_says_yes():
    face, clock = Face(503, 200), ManualClock()
    async with await asyncio.start_server(face.answer, "127.0.0.1", 0) as server:
        asking = asyncio.create_task(answers(at(server.sockets[0].getsockname()[1]), clock))
        await asyncio.wait_for(clock.asleep(), 5)
        clock.advance(0.02)

        assert await asyncio.wait_for(asking, 5)

    assert face.line == b"GET /v2/health/ready HTTP/1.1\r\n"


async def test_a_face_that_never_says_yes_is_not_asked_for_ever(free_port: int):
    clock = ManualClock()
    asking = asyncio.create_task(answers(at(free_port), clock))
    await asyncio.wait_for(clock.asleep(), 5)
    clock.advance(6.0)

    assert not await asyncio.wait_for(asking, 5)


async def test_a_face_that_speaks_tls_is_not_asked(free_port: int):
    assert await answers(at(free_port, is_tls=True), ManualClock())
