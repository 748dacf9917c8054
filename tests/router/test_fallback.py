"""The fallback chain: what answers when the chosen version cannot, in the declared order, each step once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import numpy as np
import pytest
import structlog

from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Backend, FallbackKind, FallbackStep, KillSwitch, Route
from penstock.oip.v2 import inference_pb2 as pb
from penstock.v1.link_pb2 import Answer, Chunk
from services.router.routes_in_force import RoutesInForce
from services.router.targets import DEGRADED, SERVED_BY
from tests.mesh.conftest import FakeWorker, echo, replica
from tests.router.inference_stand import Stand, request, standing

ALL_TO_TWO = (Backend(version="2", weight_basis_points=10_000),)
CACHED = FallbackStep(kind=FallbackKind.CACHED)


def version(name: str) -> FallbackStep:
    return FallbackStep(kind=FallbackKind.VERSION, version=name)


def declared(value: float) -> FallbackStep:
    answer = pb.ModelInferResponse()
    answer.outputs.add(name="y", datatype="FP32", shape=(1, 2))
    answer.raw_output_contents.append(np.array([value, value], "<f4").tobytes())
    return FallbackStep(kind=FallbackKind.DECLARED, declared_response=answer.SerializeToString())


def failing(*replica_ids: int):
    """Return what a worker answers whose replicas of these numbers fail everything."""

    def answer(chunk: Chunk) -> Answer:
        if chunk.replica_id not in replica_ids:
            return echo(chunk)
        refusal = Answer(chunk_id=chunk.chunk_id)
        for index in range(chunk.count):
            refusal.failures.add(index=index, reason="EXECUTION_FAILED", message="no")
        return refusal

    return answer


@pytest.fixture
async def stand(worker: FakeWorker, routes: RoutesInForce) -> AsyncIterator[Stand]:
    held = [replace(replica(version=str(number), replica_id=number), response_cache=number == 2) for number in (1, 2, 3)]
    async with standing([worker], [worker.status(*held)], routes=routes) as built:
        yield built


def put(routes: RoutesInForce, *steps: FallbackStep, revision: int = 1, kills: tuple[KillSwitch, ...] = ()) -> None:
    route = Route(model="echo", backends=ALL_TO_TWO, revision=revision, fallback=steps, kill_switches=kills)
    routes.apply("echo", RouteRecord(route=route))


def told(stand: Stand, call: int) -> tuple[str, str]:
    answer = stand.front.answers[call]
    return answer.parameters[SERVED_BY].string_param, answer.parameters[DEGRADED].string_param


async def test_a_version_that_fails_is_stood_in_for_and_nothing_stays_counted(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    worker.answer = failing(2)
    put(routes, version("1"))

    stand.take(*(request([[n, n]], id=f"r{n}") for n in range(20)))
    await stand.front.until(20)

    assert {told(stand, call) for call in stand.front.answers} == {("1", "version")}
    assert [stand.front.answers[call].id for call in range(1, 21)] == [f"r{n}" for n in range(20)]
    assert stand.inference.requests_in_flight == 0
    assert stand.tenants.of(None).rows_in_flight == 0


async def test_a_version_whose_tries_took_too_long_is_stood_in_for(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    worker.answer = lambda chunk: None if chunk.replica_id == 2 else echo(chunk)
    backend = Backend(version="2", weight_basis_points=10_000, try_timeout_seconds=0.06)
    routes.apply("echo", RouteRecord(route=Route(model="echo", backends=(backend,), revision=1, fallback=(version("1"),))))

    stand.take(request([[1, 1]]))
    await stand.front.until(1)

    assert told(stand, 1) == ("1", "version")
    assert [chunk.replica_id for chunk in worker.chunks] == [2, 1]
    assert (stand.inference.requests_in_flight, stand.tenants.of(None).rows_in_flight) == (0, 0)


async def test_the_steps_are_tried_in_their_order_once_each(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    worker.answer = failing(1, 2, 3)
    put(routes, version("1"), version("3"), declared(7.0))

    stand.take(request([[1, 1], [2, 2], [3, 3]], id="a"))
    await stand.front.until(1)

    assert [chunk.replica_id for chunk in worker.chunks] == [2, 1, 3]
    assert told(stand, 1) == ("", "declared")
    answer = stand.front.answers[1]
    assert np.frombuffer(answer.raw_output_contents[0], "<f4").tolist() == [7.0] * 6
    assert (list(answer.outputs[0].shape), answer.id, answer.model_name) == ([3, 2], "a", "echo")


async def test_a_chain_that_is_broken_itself_ends_in_one_refusal_and_an_alarm(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    worker.answer = failing(1, 2)
    put(routes, version("1"), CACHED, FallbackStep(kind=FallbackKind.DECLARED, declared_response=b"\xff"))

    with structlog.testing.capture_logs() as logs:
        stand.take(request([[1, 1]]))
        await stand.front.until(1)

    assert stand.front.errors[1].reason == "EXECUTION_FAILED"
    assert [chunk.replica_id for chunk in worker.chunks] == [2, 1]
    assert [entry["model"] for entry in logs if entry["event"] == "fallback_exhausted"] == ["echo"]
    assert stand.inference.fallback is not None
    assert stand.inference.fallback.helped["echo", "exhausted"] == 1


async def test_the_last_good_answer_is_given_however_old(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    put(routes, CACHED)
    stand.take(request([[4, 2]], id="first"))
    await stand.front.until(1)
    for key, (_, answer) in list(stand.shared.cache._entries.items()):
        stand.shared.cache._entries[key] = (0.0, answer)
    worker.answer = failing(2)

    stand.take(request([[4, 2]], id="second"), request([[5, 5]], id="other"), first_id=2)
    await stand.front.until(3)

    assert told(stand, 2) == ("2", "cached")
    assert stand.front.answers[2].id == "second"
    assert np.frombuffer(stand.front.answers[2].raw_output_contents[0], "<f4").tolist() == [4.0, 2.0]
    assert stand.front.errors[3].reason == "EXECUTION_FAILED"


async def test_a_killed_version_gives_nothing_not_even_what_is_cached(stand: Stand, routes: RoutesInForce):
    put(routes, CACHED)
    stand.take(request([[4, 2]]))
    await stand.front.until(1)
    put(routes, CACHED, declared(1.0), revision=2, kills=(KillSwitch(version="2"),))

    stand.take(request([[4, 2]]), first_id=2)
    await stand.front.until(2)

    assert told(stand, 2) == ("", "declared")


async def test_who_named_a_version_gets_it_or_a_refusal(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    worker.answer = failing(2)
    put(routes, version("1"), declared(1.0))

    stand.take(request([[1, 1]], model_version="2"))
    await stand.front.until(1)

    assert stand.front.errors[1].reason == "EXECUTION_FAILED"


async def test_the_chain_holds_when_every_worker_is_gone(stand: Stand, worker: FakeWorker, routes: RoutesInForce):
    put(routes, declared(3.0))
    stand.take(request([[1, 1]]))
    await stand.front.until(1)
    stand.dispatch.follow(worker.worker_id, None)
    await asyncio.sleep(0)

    stand.take(request([[9, 9]]), request([[1, 1], [2, 2]]), first_id=2)
    await stand.front.until(3)

    assert [told(stand, call) for call in (2, 3)] == [("", "declared")] * 2
    assert list(stand.front.answers[3].outputs[0].shape) == [2, 2]


async def test_a_bad_request_is_refused_by_no_chain(stand: Stand, routes: RoutesInForce):
    put(routes, declared(3.0))

    stand.take(request([[1, 1, 1]]))
    await stand.front.until(1)

    assert stand.front.errors[1].reason == "SHAPE_MISMATCH"
