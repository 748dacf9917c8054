"""Copies: never felt by callers, bounded, and compared with what callers got."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from penstock.contracts.observations import OutcomeWindow
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Backend, KillSwitch, Route, Shadow
from penstock.v1.link_pb2 import Answer, Chunk
from services.router.observing import Observing
from services.router.routes_in_force import RoutesInForce
from tests.mesh.conftest import FakeWorker, echo, replica
from tests.router.inference_stand import Stand, request, standing

SHADOW = 2


@pytest.fixture
async def stand(worker: FakeWorker, routes: RoutesInForce) -> AsyncIterator[Stand]:
    held = worker.status(replica(version="1", replica_id=1), replica(version="2", replica_id=SHADOW))
    async with standing([worker], [held], routes=routes, observing=Observing("router-1")) as built:
        yield built


def put(routes: RoutesInForce, *, sample: int = 10_000, limit: int = 1024, kills: tuple[KillSwitch, ...] = ()) -> None:
    shadow = Shadow(version="2", sample_basis_points=sample, concurrency_limit=limit)
    backends = (Backend(version="1", weight_basis_points=10_000),)
    routes.apply("echo", RouteRecord(route=Route(model="echo", backends=backends, revision=1, shadow=shadow, kill_switches=kills)))


def copies(worker: FakeWorker) -> list[Chunk]:
    return [chunk for chunk in worker.chunks if chunk.replica_id == SHADOW]


def shadow_answers(worker: FakeWorker, behaviour: Callable[[Chunk], Answer | None]) -> None:
    worker.answer = lambda chunk: behaviour(chunk) if chunk.replica_id == SHADOW else echo(chunk)


async def window(stand: Stand, *, requests: int) -> OutcomeWindow:
    """Return the shadow's window once it has seen so many copies."""
    assert stand.observing is not None
    async with asyncio.timeout(30):
        while True:
            stand.observing.fold(1.0)
            if stand.observing.windows.of("echo", "2", is_shadow=True).requests >= requests:
                break
            await asyncio.sleep(0.005)
    (found,) = [one for one in stand.observing.windows.close(0.0, 1.0) if one.shadow]
    return found


async def test_every_sampled_request_is_copied_in_the_lowest_class_and_compared(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    put(routes)
    stand.take(*(request([[n, n]], id=f"r{n}") for n in range(100)))
    await stand.front.until(100)

    seen = await window(stand, requests=100)

    assert {answer.model_version for answer in stand.front.answers.values()} == {"1"}
    assert {chunk.priority_class for chunk in copies(worker)} == {3}
    assert seen.comparison is not None
    assert (seen.comparison.pairs, seen.comparison.agreeing, seen.comparison.against_version) == (100, 100, "1")


async def test_differences_are_measured(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    def double(chunk: Chunk) -> Answer:
        answer = Answer(chunk_id=chunk.chunk_id, count=chunk.count)
        answer.outputs.add(shape=chunk.inputs[0].shape, raw=b"\x00\x00\x00\x40" * (len(chunk.columns[0].raw) // 4))
        return answer

    shadow_answers(worker, double)
    put(routes)
    stand.take(*(request([[1.0, 1.5]], id=f"r{n}") for n in range(10)))
    await stand.front.until(10)

    compared = (await window(stand, requests=10)).comparison

    assert compared is not None
    assert (compared.pairs, compared.agreeing, compared.distance_max) == (10, 0, 1.0)


async def test_a_silent_or_failing_shadow_is_never_felt(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    def refuse(chunk: Chunk) -> Answer:
        answer = Answer(chunk_id=chunk.chunk_id)
        for index in range(chunk.count):
            answer.failures.add(index=index, reason="EXECUTION_FAILED", message="no")
        return answer

    put(routes, limit=4)
    shadow_answers(worker, lambda _chunk: None)
    stand.take(*(request([[n, n]], id=f"a{n}") for n in range(50)))
    await stand.front.until(50)
    assert len(stand.front.answers) == 50
    assert stand.inference.requests_in_flight == 0
    assert stand.tenants.of(None).rows_in_flight == 0
    assert sum(chunk.count for chunk in copies(worker)) <= 4

    routes.apply("echo", None)
    put(routes)
    shadow_answers(worker, refuse)
    stand.take(*(request([[n, n]], id=f"b{n}") for n in range(10)), first_id=100)
    await stand.front.until(60)

    seen = await window(stand, requests=10)
    assert seen.comparison is not None
    assert seen.comparison.failed == 10
    assert seen.comparison.not_copied == 46


async def test_about_as_many_are_copied_as_asked(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    put(routes, sample=1000)

    for wave in range(20):
        stand.take(*(request([[n, n]], id=f"{wave}-{n}") for n in range(50)), first_id=1000 * wave + 1)
    await stand.front.until(1000)
    await asyncio.sleep(0)

    assert 60 < sum(chunk.count for chunk in copies(worker)) < 150


@pytest.mark.parametrize(("tenant", "copied"), [("", 0), ("anonymous", 0), ("another", 10)])
async def test_a_shadow_that_is_killed_for_who_asks_gets_no_copy(
    stand: Stand, worker: FakeWorker, routes: RoutesInForce, tenant: str, copied: int
):
    put(routes, kills=(KillSwitch(version="2", tenant=tenant),))
    stand.take(*(request([[n, n]], id=f"r{n}") for n in range(10)))
    await stand.front.until(10)

    comparison = (await window(stand, requests=copied)).comparison

    assert sum(chunk.count for chunk in copies(worker)) == copied
    assert comparison is not None
    assert (comparison.pairs, comparison.not_copied) == (copied, 10 - copied)
