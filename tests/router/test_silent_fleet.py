"""Every worker that could answer falls silent at once: their machine stood still, and they are waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Backend, KillSwitch, Route
from services.mesh.link import Link
from services.router.routes_in_force import RoutesInForce
from tests.mesh.conftest import FakeWorker
from tests.router.inference_stand import Stand, request, standing
from tests.router.test_fallback import CACHED


@pytest.fixture
async def stand(worker: FakeWorker) -> AsyncIterator[Stand]:
    async with standing([worker]) as built:
        yield built


async def fall_silent(stand: Stand, worker: FakeWorker) -> Link:
    """Let the only worker say nothing until its link is out of rotation; return that link."""
    worker.is_mute = True
    (link,) = stand.dispatch.links
    async with asyncio.timeout(30):
        while not link.silence.is_silent:
            await asyncio.sleep(0.01)
    return link


async def test_who_asks_meanwhile_is_answered_when_they_speak_again(stand: Stand, worker: FakeWorker):
    await fall_silent(stand, worker)
    stand.take(*(request([[n, n]], id=f"call-{n}") for n in range(40)))
    refused_at_once = dict(stand.front.errors)
    worker.speak()
    await stand.front.until(40)

    assert not refused_at_once
    assert not stand.front.errors
    assert all(answer.id == f"call-{call - 1}" for call, answer in stand.front.answers.items())
    assert stand.inference.requests_in_flight == 0


async def test_who_was_in_flight_is_answered_as_well_and_once(stand: Stand, worker: FakeWorker):
    worker.is_mute = True
    stand.take(request([[1, 1]]))
    link = await fall_silent(stand, worker)
    worker.speak()
    await stand.front.until(1)

    assert not stand.front.errors
    assert len(worker.chunks) == 1
    assert link.rows_in_flight == 0


async def test_who_was_in_flight_is_told_when_it_stays_silent(stand: Stand, worker: FakeWorker):
    worker.is_mute = True
    stand.take(request([[1, 1]]))
    await stand.front.until(1)

    assert stand.front.errors[1].reason == "NO_READY_REPLICA"
    assert stand.inference.requests_in_flight == 0


async def test_of_several_the_first_who_speaks_answers_for_the_others(workers: list[FakeWorker]):
    async with standing(workers) as stand:
        for worker in workers:
            worker.is_mute = True
        stand.take(*(request([[n, n]]) for n in range(200)))  # chunks of 64, on both
        async with asyncio.timeout(30):
            while not all(link.silence.is_silent for link in stand.dispatch.links):
                await asyncio.sleep(0.01)
        stand.take(*(request([[n, n]]) for n in range(40)), first_id=201)
        workers[0].speak()
        await stand.front.until(240)

        assert not stand.front.errors


async def test_nobody_waits_for_one_that_stays_silent(stand: Stand, worker: FakeWorker):
    link = await fall_silent(stand, worker)
    stand.take(request([[1, 1]]))
    await stand.front.until(1)
    stand.take(request([[2, 2]]), first_id=2)
    await stand.front.until(2)

    assert {error.reason for error in stand.front.errors.values()} == {"NO_READY_REPLICA"}
    assert not link.may_wake
    assert not worker.chunks
    assert stand.inference.requests_in_flight == 0


async def test_a_caller_who_cannot_wait_that_long_is_told_at_its_deadline(stand: Stand, worker: FakeWorker):
    await fall_silent(stand, worker)
    stand.take(request([[1, 1]]), deadline=time.monotonic() + 0.1)
    await stand.front.until(1)

    assert stand.front.errors[1].reason == "DEADLINE_EXCEEDED"


async def test_nobody_waits_for_a_version_that_must_not_answer(worker: FakeWorker, routes: RoutesInForce):
    async with standing([worker], routes=routes) as stand:
        route = Route(model="echo", backends=(Backend(version="1", weight_basis_points=10_000),), revision=1, fallback=(CACHED,))
        routes.apply("echo", RouteRecord(route=replace(route, kill_switches=(KillSwitch(version="1"),))))
        await fall_silent(stand, worker)
        stand.take(request([[1, 1]]))
        worker.speak()
        await stand.front.until(1)

    assert stand.front.errors[1].reason == "VERSION_KILLED"
    assert not worker.chunks
