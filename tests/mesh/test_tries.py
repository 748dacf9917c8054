"""What a route says of tries on a version: how many, and how long one may take."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

import pytest

from penstock.contracts.errors import DeadlineExceeded, Unavailable, WorkerLost
from penstock.contracts.routes import Backend, Route
from penstock.v1 import link_pb2 as pb
from services.mesh import tries
from services.mesh.dispatch import Dispatch
from services.mesh.plan import Plan
from services.mesh.retry_budget import RetryBudget
from services.mesh.route_table import Deployment, RouteTable
from tests.mesh.conftest import FakeWorker, echo
from tests.mesh.ledger import Ledger, chunk_of

TRY_SECONDS = 0.06


def silent(_chunk: pb.Chunk) -> None:
    return None


@asynccontextmanager
async def routed(workers: Sequence[FakeWorker], **edge: Any) -> AsyncIterator[tuple[Dispatch, Deployment]]:
    """Give out a dispatch under a route whose only backend has these limits."""
    route = Route(model="echo", backends=(Backend(version="1", weight_basis_points=10_000, **edge),), revision=1)
    table = RouteTable({"echo": Plan(route)})
    dispatch = Dispatch(table, router_id="router-under-test", clock=time.monotonic, random=Random(1))
    task = asyncio.create_task(dispatch.run())
    await asyncio.sleep(0)
    for worker in workers:
        dispatch.follow(worker.worker_id, worker.status())
    async with asyncio.timeout(30):
        while sum(link.is_up for link in dispatch.links) < len(workers):
            await asyncio.sleep(0.001)
    try:
        yield dispatch, table.resolve("echo")
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def send(dispatch: Dispatch, ledger: Ledger, deployment: Deployment, numbers: Sequence[int], **more: Any) -> None:
    chunk = chunk_of(ledger, deployment, numbers, **more)
    dispatch.send(chunk, deployment, time.monotonic())
    dispatch.flush()


def answer_second(workers: Sequence[FakeWorker]) -> None:
    """Let whoever is asked first say nothing, and everybody after that answer."""
    asked: list[pb.Chunk] = []

    def answer(chunk: pb.Chunk) -> pb.Answer | None:
        asked.append(chunk)
        return None if len(asked) == 1 else echo(chunk)

    for worker in workers:
        worker.answer = answer


async def test_a_try_without_an_answer_is_cancelled_there_and_made_elsewhere(workers: list[FakeWorker]):
    answer_second(workers)
    ledger = Ledger()
    async with routed(workers, try_timeout_seconds=TRY_SECONDS) as (dispatch, deployment):
        send(dispatch, ledger, deployment, range(5))
        await ledger.until(5)
        first = next(worker for worker in workers if worker.cancels)
        second = next(worker for worker in workers if worker is not first)

        assert (len(ledger.answers), [chunk.count for chunk in second.chunks]) == (5, [5])
        assert [cancel.index for cancel in first.cancels] == [0, 1, 2, 3, 4]
        assert [(link.rows_in_flight, len(link.open)) for link in dispatch.links] == [(0, 0)] * 2
        assert (dispatch.counters.timed_out_tries, dispatch.counters.retried_requests) == (5, 5)


async def test_the_late_answer_of_a_cancelled_try_reaches_nobody(workers: list[FakeWorker]):
    answer_second(workers)
    ledger = Ledger()
    async with routed(workers, try_timeout_seconds=TRY_SECONDS) as (dispatch, deployment):
        send(dispatch, ledger, deployment, [1])
        await ledger.until(1)
        first = next(worker for worker in workers if worker.cancels)
        first.pinged.clear()
        first.connections[0].send(pb.WorkerFrame(answers=[echo(first.chunks[0])]))
        await asyncio.wait_for(first.pinged.wait(), 5)

        assert (len(ledger.answers), ledger.failures) == (1, {})
        assert [link.rows_in_flight for link in dispatch.links] == [0, 0]


@pytest.mark.parametrize(("attempts", "tried"), [(1, 1), (2, 2), (0, tries.MAX_ATTEMPTS), (4, 4)])
async def test_tries_end_with_a_reason_of_their_own_when_they_are_used_up(workers: list[FakeWorker], attempts: int, tried: int):
    for worker in workers:
        worker.answer = silent
    ledger = Ledger()
    async with routed(workers, try_timeout_seconds=TRY_SECONDS, attempts=attempts) as (dispatch, deployment):
        send(dispatch, ledger, deployment, [1, 2])
        await ledger.until(2)

        assert sum(len(worker.chunks) for worker in workers) == tried
        assert {(type(error), error.reason) for error in ledger.failures.values()} == {(Unavailable, "TRY_TIMEOUT")}
        assert [link.rows_in_flight for link in dispatch.links] == [0, 0]


async def test_with_nowhere_else_to_go_one_try_is_all(workers: list[FakeWorker]):
    workers[0].answer = silent
    ledger = Ledger()
    async with routed(workers[:1], try_timeout_seconds=TRY_SECONDS) as (dispatch, deployment):
        send(dispatch, ledger, deployment, [1])
        await ledger.until(1)

        assert (ledger.failures[1].reason, len(workers[0].chunks)) == ("TRY_TIMEOUT", 1)
        assert dispatch.counters.retried_requests == 0


async def test_without_retry_budget_no_second_try_is_made(workers: list[FakeWorker]):
    for worker in workers:
        worker.answer = silent
    ledger = Ledger()
    async with routed(workers, try_timeout_seconds=TRY_SECONDS) as (dispatch, deployment):
        dispatch._budget = RetryBudget(floor_requests=0)
        send(dispatch, ledger, deployment, [1])
        await ledger.until(1)

        assert (ledger.failures[1].reason, sum(len(worker.chunks) for worker in workers)) == ("TRY_TIMEOUT", 1)


async def test_what_must_not_be_executed_twice_is_not(workers: list[FakeWorker]):
    for worker in workers:
        worker.answer = silent
    ledger = Ledger()
    async with routed(workers, try_timeout_seconds=TRY_SECONDS) as (dispatch, deployment):
        chunk = chunk_of(ledger, deployment, [1])
        chunk.is_idempotent = False
        dispatch.send(chunk, deployment, time.monotonic())
        dispatch.flush()
        await ledger.until(1)

        assert (ledger.failures[1].reason, sum(len(worker.chunks) for worker in workers)) == ("TRY_TIMEOUT", 1)


async def test_a_deadline_before_the_end_of_a_try_stays_a_deadline(workers: list[FakeWorker]):
    for worker in workers:
        worker.answer = silent
    ledger = Ledger()
    async with routed(workers, try_timeout_seconds=30.0) as (dispatch, deployment):
        send(dispatch, ledger, deployment, [1], deadline=time.monotonic() + 0.05)
        await ledger.until(1)

        assert isinstance(ledger.failures[1], DeadlineExceeded)


async def test_one_attempt_is_one_although_the_worker_died(workers: list[FakeWorker]):
    for worker in workers:
        worker.answer = silent
    ledger = Ledger()
    async with routed(workers, attempts=1) as (dispatch, deployment):
        send(dispatch, ledger, deployment, [1])
        async with asyncio.timeout(30):
            while not any(worker.chunks for worker in workers):
                await asyncio.sleep(0.001)
        next(worker for worker in workers if worker.chunks).kill()
        await ledger.until(1)

        assert isinstance(ledger.failures[1], WorkerLost)
        assert sum(len(worker.chunks) for worker in workers) == 1


async def test_who_was_refused_unexecuted_has_used_up_no_attempt(workers: list[FakeWorker]):
    asked: list[pb.Chunk] = []

    def full_first(chunk: pb.Chunk) -> pb.Answer:
        asked.append(chunk)
        if len(asked) > 1:
            return echo(chunk)
        answer = pb.Answer(chunk_id=chunk.chunk_id)
        answer.failures.add(index=0, reason="REPLICA_OVERLOADED", message="full")
        return answer

    for worker in workers:
        worker.answer = full_first
    ledger = Ledger()
    async with routed(workers, attempts=1) as (dispatch, deployment):
        send(dispatch, ledger, deployment, [1])
        await ledger.until(1)

        assert (len(ledger.answers), len(asked)) == (1, 2)
