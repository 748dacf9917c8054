"""What is refused, by the door or by a worker that is full, and where it goes then."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from penstock.contracts.errors import NoReadyReplica, Overloaded, ReplicaOverloaded
from penstock.contracts.status import GrpcCode
from penstock.contracts.worker_status import CostPoint
from penstock.v1 import link_pb2 as pb
from services.mesh import dispatch as dispatching_module
from services.mesh.lane import Lane
from tests.mesh.conftest import FakeWorker, echo
from tests.mesh.ledger import Ledger, chunk_of, dispatching


def refusing(reason: str, calls: Counter[str], name: str):
    """Answer every request with a refusal, and count them."""

    def answer(chunk: pb.Chunk) -> pb.Answer:
        calls[name] += chunk.count
        refusal = pb.Answer(chunk_id=chunk.chunk_id)
        for index in range(chunk.count):
            refusal.failures.add(index=index, reason=reason, message="no")
        return refusal

    return answer


async def test_a_full_replica_sends_requests_elsewhere_although_they_are_not_idempotent(workers: list[FakeWorker]):
    calls: Counter[str] = Counter()
    workers[0].answer = refusing("REPLICA_OVERLOADED", calls, "full")
    ledger = Ledger()
    async with dispatching(workers) as (dispatch, table):
        deployment = table.resolve("echo")
        for number in range(12):
            chunk = chunk_of(ledger, deployment, [number])
            chunk.is_idempotent = False
            dispatch.send(chunk, deployment, time.monotonic())
        dispatch.flush()
        await ledger.until(12)

        assert sorted(ledger.answers) == list(range(12))
        assert calls["full"] == dispatch.counters.retried_requests > 0


async def test_with_every_replica_full_callers_hear_it_once_each_was_asked_at_most_once(workers: list[FakeWorker]):
    calls: Counter[str] = Counter()
    for number, worker in enumerate(workers):
        worker.answer = refusing("REPLICA_OVERLOADED", calls, str(number))
    ledger = Ledger()
    async with dispatching(workers) as (dispatch, table):
        deployment = table.resolve("echo")
        dispatch.send(chunk_of(ledger, deployment, range(4)), deployment, time.monotonic())
        dispatch.flush()
        await ledger.until(4)

        assert {type(error) for error in ledger.failures.values()} == {ReplicaOverloaded}
        assert calls.total() <= 4 * dispatching_module.MAX_ATTEMPTS


async def test_full_replicas_are_not_asked_again_beyond_the_budget(workers: list[FakeWorker]):
    calls: Counter[str] = Counter()
    workers[0].answer = refusing("REPLICA_OVERLOADED", calls, "full")
    workers[1].answer = refusing("REPLICA_OVERLOADED", calls, "full")
    ledger = Ledger()
    async with dispatching(workers) as (dispatch, table):
        deployment = table.resolve("echo")
        for start in range(0, 1280, 64):
            dispatch.send(chunk_of(ledger, deployment, range(start, start + 64)), deployment, time.monotonic())
        dispatch.flush()
        await ledger.until(1280)

        assert dispatch.counters.retried_requests <= 256
        assert all(error.retry_after_seconds for error in ledger.failures.values() if "replicas" in error.message)


async def test_when_no_worker_holds_the_replica_any_more_it_ends_with_a_refusal_that_says_when_to_come_back(workers: list[FakeWorker]):
    calls: Counter[str] = Counter()
    for worker in workers:
        worker.answer = refusing("REPLICA_GONE", calls, "gone")
    ledger = Ledger()
    async with dispatching(workers) as (dispatch, table):
        deployment = table.resolve("echo")
        dispatch.send(chunk_of(ledger, deployment, [1]), deployment, time.monotonic())
        dispatch.flush()
        await ledger.until(1)

        assert isinstance(ledger.failures[1], NoReadyReplica)
        assert ledger.failures[1].retry_after_seconds
        assert calls["gone"] == len(workers)


@pytest.mark.parametrize("reason", ["REPLICA_GONE", "DRAINING"])
async def test_a_replica_that_takes_nothing_any_more_is_never_asked_again(workers: list[FakeWorker], reason: str):
    calls: Counter[str] = Counter()
    workers[0].answer = refusing(reason, calls, "gone")
    ledger = Ledger()
    async with dispatching(workers[:1]) as (dispatch, table):
        deployment = table.resolve("echo")
        dispatch.send(chunk_of(ledger, deployment, range(8)), deployment, time.monotonic())
        dispatch.flush()
        await ledger.until(8)
        for number in range(8, 400):
            dispatch.send(chunk_of(ledger, deployment, [number]), table.newest(deployment), time.monotonic())
        dispatch.flush()
        await ledger.until(400)

        assert {error.reason for error in ledger.failures.values()} == {"NO_READY_REPLICA"}
        assert (calls["gone"], dispatch.counters.retried_requests) == (8, 8)


async def test_what_a_gone_replica_does_not_take_another_one_takes_and_gets_everything_later(workers: list[FakeWorker]):
    calls: Counter[str] = Counter()
    workers[0].answer = refusing("REPLICA_GONE", calls, "gone")
    ledger = Ledger()
    async with dispatching(workers) as (dispatch, table):
        deployment = table.resolve("echo")
        for number in range(12):
            dispatch.send(chunk_of(ledger, deployment, [number]), deployment, time.monotonic())
        dispatch.flush()
        await ledger.until(12)
        asked = calls["gone"]
        for number in range(12, 100):
            dispatch.send(chunk_of(ledger, deployment, [number]), table.resolve("echo"), time.monotonic())
        dispatch.flush()
        await ledger.until(100)

        assert sorted(ledger.answers) == list(range(100))
        assert calls["gone"] == asked > 0


async def test_what_cannot_be_answered_in_time_is_refused_at_once_with_when_to_come_back(workers: list[FakeWorker]):
    workers[0].answer = lambda chunk: None
    ledger = Ledger()
    async with dispatching(workers[:1]) as (dispatch, table):
        deployment = table.resolve("echo")
        now = time.monotonic()
        lane = dispatch.links[0].lanes[7] = Lane(4)
        lane.seed([CostPoint(rows=1, seconds=5.0), CostPoint(rows=4, seconds=5.0)])
        dispatch.send(chunk_of(ledger, deployment, range(20), deadline=now + 20.0), deployment, now)

        assert 0 < len(ledger.failures) == dispatch.counters.shed_requests == 20 - lane.rows < 20
        error = ledger.failures[19]
        assert (type(error), error.status.grpc, error.reason) == (Overloaded, GrpcCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert error.retry_after_seconds


async def test_what_one_replica_has_no_time_for_another_one_answers(workers: list[FakeWorker]):
    workers[0].answer = lambda chunk: None
    ledger = Ledger()
    async with dispatching(workers) as (dispatch, table):
        deployment = table.resolve("echo")
        now = time.monotonic()
        for link in dispatch.links:
            link.lanes[7] = Lane(4)
            link.lanes[7].seed([CostPoint(rows=1, seconds=1.0)])
        dispatch.send(chunk_of(ledger, deployment, range(40), deadline=now + 4.0), deployment, now)
        dispatch.flush()

        assert [link.lanes[7].rows for link in dispatch.links] == [12, 12]
        assert len(ledger.failures) == 16


@pytest.mark.parametrize("left", ["answered", "failed", "cancelled"])
async def test_a_lane_is_empty_when_everything_came_back(workers: list[FakeWorker], left: str):
    if left != "answered":
        workers[0].answer = refusing("INVALID_ARGUMENT", Counter(), "bad") if left == "failed" else lambda chunk: None
    ledger = Ledger()
    async with dispatching(workers[:1]) as (dispatch, table):
        deployment = table.resolve("echo")
        chunk = chunk_of(ledger, deployment, range(8))
        dispatch.send(chunk, deployment, time.monotonic())
        dispatch.flush()
        lane = dispatch.links[0].lanes[7]
        assert (lane.rows, sum(lane.levels.values())) == (8, 8)
        if left == "cancelled":
            assert all(dispatch.cancel(chunk, position) for position in range(8))
        else:
            await ledger.until(8)

        assert (lane.rows, sum(lane.levels.values()), dispatch.links[0].rows_in_flight) == (0, 0, 0)


async def test_the_echo_answers_without_an_execution_teach_nothing(workers: list[FakeWorker]):
    workers[0].answer = echo
    ledger = Ledger()
    async with dispatching(workers[:1]) as (dispatch, table):
        deployment = table.resolve("echo")
        lane = dispatch.links[0].lanes[7] = Lane(8)
        lane.seed([CostPoint(rows=1, seconds=0.5)])
        dispatch.send(chunk_of(ledger, deployment, range(8)), deployment, time.monotonic())
        dispatch.flush()
        await ledger.until(8)

        assert lane.cost(8) == 0.5
