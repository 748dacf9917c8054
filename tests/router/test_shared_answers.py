"""The result cache on the way to a worker."""

from __future__ import annotations

import asyncio
import dataclasses
import time

import numpy as np
import pytest

from penstock.oip.v2 import inference_pb2 as pb
from penstock.v1 import link_pb2
from services.mesh.dispatch import SWEEP_SECONDS
from services.router.front import Wave
from tests.mesh.conftest import FakeWorker, replica
from tests.router.inference_stand import PaperFront, Stand, request, standing, wave_of


@pytest.fixture
async def stand(worker: FakeWorker):
    async with standing([worker]) as built:
        yield built


def rows_of(answer: pb.ModelInferResponse) -> list[list[float]]:
    return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(tuple(answer.outputs[0].shape)).tolist()


@pytest.fixture
async def cached(worker: FakeWorker):
    status = worker.status(dataclasses.replace(replica(), response_cache=True))
    async with standing([worker], [status]) as built:
        yield built


async def test_the_same_question_is_computed_once(cached: Stand, worker: FakeWorker):
    cached.take(request([[1, 2]], id="a"))
    await cached.front.until(1)
    cached.take(request([[1, 2]], id="b"), request([[1, 3]], id="c"), first_id=2)
    await cached.front.until(3)

    assert sum(chunk.count for chunk in worker.chunks) == 2
    assert cached.front.answers[2].id == "b"
    assert rows_of(cached.front.answers[2]) == [[1, 2]]
    assert cached.tenants.all()["anonymous"].rows_in_flight == 0


async def test_identical_questions_under_way_wait_for_one_execution(cached: Stand, worker: FakeWorker):
    worker.is_mute = True
    cached.take(*(request([[1, 2]], id=str(n)) for n in range(10)))
    await asyncio.wait_for(worker.arrived.wait(), 5)
    worker.speak()
    await cached.front.until(10)

    assert sum(chunk.count for chunk in worker.chunks) == 1
    assert [cached.front.answers[n + 1].id for n in range(10)] == [str(n) for n in range(10)]
    assert cached.tenants.all()["anonymous"].rows_in_flight == 0


async def test_when_the_first_caller_leaves_the_next_takes_its_place(cached: Stand, worker: FakeWorker):
    worker.is_mute = True
    cached.take(request([[1, 2]], id="first"), request([[1, 2]], id="second"))
    await asyncio.wait_for(worker.arrived.wait(), 5)
    cached.inference.take(cached.front, Wave(cancelled=[1]))
    worker.speak()
    await cached.front.until(1)

    assert list(cached.front.answers) == [2]
    assert not worker.cancels
    assert cached.tenants.all()["anonymous"].rows_in_flight == 0


async def test_a_question_whose_only_caller_left_is_asked_again(cached: Stand, worker: FakeWorker):
    worker.is_mute = True
    cached.take(request([[1, 2]], id="first"))
    await asyncio.wait_for(worker.arrived.wait(), 5)
    cached.inference.take(cached.front, Wave(cancelled=[1]))
    worker.speak()
    cached.take(request([[1, 2]], id="second"), first_id=2)
    await cached.front.until(1)

    assert cached.front.answers[2].id == "second"
    assert sum(chunk.count for chunk in worker.chunks) == 2
    assert cached.tenants.all()["anonymous"].rows_in_flight == 0


async def test_the_first_who_waits_at_the_same_front_takes_the_place(cached: Stand, worker: FakeWorker):
    other = PaperFront()
    worker.is_mute = True
    cached.take(request([[1, 2]]))
    cached.inference.take(other, wave_of([request([[1, 2]])], first_id=2))
    cached.take(request([[1, 2]], id="third"), first_id=3)
    await asyncio.wait_for(worker.arrived.wait(), 5)
    cached.inference.take(cached.front, Wave(cancelled=[1]))
    worker.speak()
    await cached.front.until(1)
    await other.until(1)

    assert cached.front.answers[3].id == "third"
    assert rows_of(other.answers[2]) == [[1, 2]]
    assert sum(chunk.count for chunk in worker.chunks) == 1
    assert cached.tenants.all()["anonymous"].rows_in_flight == 0


async def test_when_the_first_caller_leaves_those_of_other_fronts_do_not_wait_for_nobody(cached: Stand, worker: FakeWorker):
    other = PaperFront()
    worker.is_mute = True
    cached.take(request([[1, 2]]))
    cached.inference.take(other, wave_of([request([[1, 2]]), request([[1, 2]])], first_id=2))
    await asyncio.wait_for(worker.arrived.wait(), 5)
    cached.inference.take(cached.front, Wave(cancelled=[1]))
    await other.until(2)

    assert [error.reason for error in other.errors.values()] == ["UNAVAILABLE", "UNAVAILABLE"]
    assert cached.tenants.all()["anonymous"].rows_in_flight == 0


async def test_a_failed_question_fails_for_everybody_who_waited(cached: Stand, worker: FakeWorker):
    def refuse(chunk: link_pb2.Chunk) -> link_pb2.Answer:
        answer = link_pb2.Answer(chunk_id=chunk.chunk_id)
        answer.failures.add(index=0, reason="EXECUTION_FAILED", message="no")
        return answer

    worker.answer = refuse
    cached.take(request([[1, 2]]), request([[1, 2]]))
    await cached.front.until(2)

    assert {error.reason for error in cached.front.errors.values()} == {"EXECUTION_FAILED"}
    assert cached.tenants.all()["anonymous"].rows_in_flight == 0


async def test_who_takes_the_place_of_a_caller_that_left_may_wait_longer(cached: Stand, worker: FakeWorker):
    soon = time.monotonic() + 0.3
    worker.is_mute = True
    cached.take(request([[1, 2]]), deadline=soon)
    cached.take(request([[1, 2]]), first_id=2)
    await asyncio.wait_for(worker.arrived.wait(), 5)
    cached.inference.take(cached.front, Wave(cancelled=[1]))
    while time.monotonic() < soon + 2 * SWEEP_SECONDS:
        await asyncio.sleep(0.01)
    worker.speak()
    await cached.front.until(1)

    assert list(cached.front.answers) == [2]


async def test_who_takes_the_place_of_a_caller_that_left_waits_no_longer_than_it_said(cached: Stand, worker: FakeWorker):
    worker.answer = lambda _chunk: None
    cached.take(request([[1, 2]]))
    cached.take(request([[1, 2]]), first_id=2, deadline=time.monotonic() + 0.3)
    await asyncio.wait_for(worker.arrived.wait(), 5)
    cached.inference.take(cached.front, Wave(cancelled=[1]))
    await cached.front.until(1)

    assert cached.front.errors[2].reason == "DEADLINE_EXCEEDED"


def counted(stand: Stand) -> tuple[int, int, int, int]:
    """Return hits, misses, successes and failures."""
    counts = stand.metrics.triton.of("echo", "1")
    return counts.cache_hits, counts.cache_misses, counts.request_success, counts.backend + counts.canceled


async def test_who_had_an_answer_without_an_execution_is_a_hit_and_everybody_is_counted_once(cached: Stand, worker: FakeWorker):
    worker.is_mute = True
    cached.take(*(request([[1, 2]], id=str(n)) for n in range(10)))
    await asyncio.wait_for(worker.arrived.wait(), 5)
    cached.inference.take(cached.front, Wave(cancelled=[1, 5]))
    worker.speak()
    await cached.front.until(8)
    cached.take(request([[1, 2]]), first_id=11)
    await cached.front.until(9)

    assert sum(chunk.count for chunk in worker.chunks) == 1
    assert counted(cached) == (8, 3, 9, 2)


async def test_who_waited_for_a_call_that_failed_is_no_hit(cached: Stand, worker: FakeWorker):
    def refuse(chunk: link_pb2.Chunk) -> link_pb2.Answer:
        answer = link_pb2.Answer(chunk_id=chunk.chunk_id)
        answer.failures.add(index=0, reason="EXECUTION_FAILED", message="no")
        return answer

    worker.answer = refuse
    cached.take(*(request([[1, 2]]) for _ in range(3)))
    await cached.front.until(3)

    assert counted(cached) == (0, 3, 0, 3)
