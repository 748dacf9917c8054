"""Requests on the only replica of a version, when it is lost while the next version is ready elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from penstock.contracts.signature import Signature
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus
from penstock.v1.link_pb2 import Answer, Chunk
from tests.mesh.conftest import SIGNATURE, FakeWorker, replica
from tests.router.inference_stand import Stand, request, standing

OLD, NEW = replica(version="1", replica_id=1), replica(version="2", replica_id=2)


def half_way(workers: list[FakeWorker], new: ReplicaStatus = NEW):
    """Return statuses in the middle of a swap: the first worker still loads what the second one has had ready."""
    loading = replace(NEW, state=ReplicaState.LOADING)
    draining = replace(OLD, state=ReplicaState.DRAINING)
    return [workers[0].status(OLD, loading), workers[1].status(draining, new)]


@pytest.fixture
async def stand(workers: list[FakeWorker]) -> AsyncIterator[Stand]:
    workers[0].answer = lambda chunk: None
    async with standing(workers, half_way(workers)) as built:
        yield built


async def lose(worker: FakeWorker) -> None:
    await asyncio.wait_for(worker.arrived.wait(), 5)
    worker.kill()


def versions(stand: Stand) -> set[str]:
    return {answer.model_version for answer in stand.front.answers.values()}


async def test_requests_on_the_last_replica_of_a_version_are_answered_by_the_one_that_serves_by_then(
    stand: Stand, workers: list[FakeWorker]
):
    stand.take(*(request([[n, n]], id=f"call-{n}") for n in range(40)))
    await lose(workers[0])
    await stand.front.until(40)

    assert not stand.front.errors
    assert versions(stand) == {"2"}
    assert all(answer.id == f"call-{call - 1}" for call, answer in stand.front.answers.items())
    assert stand.dispatch.counters.retried_requests == 40
    assert stand.inference.requests_in_flight == 0


async def test_a_silent_worker_is_left_in_the_same_way(stand: Stand, workers: list[FakeWorker]):
    workers[0].is_mute = True
    stand.take(*(request([[n, n]]) for n in range(5)))
    await stand.front.until(5)

    assert versions(stand) == {"2"}


async def test_a_replica_that_is_gone_is_left_in_the_same_way(stand: Stand, workers: list[FakeWorker]):
    def gone(chunk: Chunk) -> Answer:
        answer = Answer(chunk_id=chunk.chunk_id)
        for index in range(chunk.count):
            answer.failures.add(index=index, reason="REPLICA_GONE", message="unloaded")
        return answer

    workers[0].answer = gone
    stand.take(*(request([[n, n]]) for n in range(5)))
    await stand.front.until(5)

    assert versions(stand) == {"2"}
    assert len(workers[0].chunks) == 1


async def test_who_named_the_version_is_refused_rather_than_answered_by_another(stand: Stand, workers: list[FakeWorker]):
    stand.take(request([[1, 1]], model_version="1"), request([[2, 2]]))
    await lose(workers[0])
    await stand.front.until(2)

    assert stand.front.errors[1].reason == "NO_READY_REPLICA"
    assert stand.front.answers[2].model_version == "2"


async def test_a_version_with_other_inputs_answers_nobody_who_was_chosen_for_the_lost_one(workers: list[FakeWorker]):
    workers[0].answer = lambda chunk: None
    other = Signature(inputs=SIGNATURE.inputs, outputs=SIGNATURE.inputs, max_batch_size=64)
    async with standing(workers, half_way(workers, replace(NEW, signature=other))) as stand:
        stand.take(request([[1, 1]]))
        await lose(workers[0])
        await stand.front.until(1)

        assert stand.front.errors[1].reason == "NO_READY_REPLICA"


async def test_with_nothing_else_to_serve_the_refusal_stays_what_it_was(workers: list[FakeWorker]):
    workers[0].answer = lambda chunk: None
    async with standing(workers[:1], [workers[0].status(OLD)]) as stand:
        stand.take(request([[1, 1]]))
        await lose(workers[0])
        await stand.front.until(1)

        assert stand.front.errors[1].reason == "NO_READY_REPLICA"
        assert stand.inference.requests_in_flight == 0
