"""How a batcher ends, and what it tells: statistics, traces, timing."""

from __future__ import annotations

import asyncio
import threading
from time import monotonic

import pytest

from services.worker.batch_policy import BatchPolicy
from services.worker.tracing import TracedExecution
from tests.worker.batchers import DEAR, WaitingSink, batcher_of, now_work
from tests.worker.works import FakeSession


@pytest.fixture
def sink() -> WaitingSink:
    return WaitingSink()


async def test_drain_finishes_what_is_there_and_refuses_what_comes(sink):
    session = FakeSession()
    session.gate = threading.Event()
    policy = BatchPolicy(max_batch_size=2, max_queue_delay_microseconds=10_000_000)
    async with batcher_of(session, costs=DEAR, policy=policy) as batcher:
        batcher.submit(now_work(1, count=3, sink=sink))
        drained = asyncio.create_task(batcher.drain(monotonic() + 5))
        await asyncio.to_thread(session.entered.wait, 5)
        batcher.submit(now_work(2, sink=sink))
        assert sink.errors[2, 0].reason == "DRAINING"
        assert not drained.done()
        session.gate.set()
        assert await drained

    assert len(sink.answers) == 3


async def test_drain_gives_up_at_its_deadline(sink):
    session = FakeSession()
    session.gate = threading.Event()
    async with batcher_of(session, costs=DEAR) as batcher:
        batcher.submit(now_work(1, sink=sink))
        assert not await batcher.drain(monotonic() + 0.02)
        session.gate.set()


async def test_close_fails_what_waits_and_stops_what_runs(sink):
    session = FakeSession()
    session.is_endless = True
    async with batcher_of(session, costs=DEAR, policy=BatchPolicy(max_batch_size=1)) as batcher:
        batcher.submit(now_work(1, count=2, sink=sink))
        await asyncio.to_thread(session.entered.wait, 5)
        await batcher.close()

    assert {key: error.reason for key, error in sink.errors.items()} == {(1, 0): "WORKER_LOST", (1, 1): "DRAINING"}
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("instance-m")]


async def test_statistics_count_requests_rows_and_executions(sink):
    async with batcher_of(FakeSession(poison=9.0), wall_clock=lambda: 12.5) as batcher:
        batcher.submit(now_work(1, [[1.0, 2.0], [3.0, 4.0]], rows=2, sink=sink))
        await sink.reported(2)
        batcher.submit(now_work(2, [[9.0]], sink=sink))
        await sink.reported(3)

    proto = batcher.statistics.to_proto("m", "1", 77)
    assert (proto.model, proto.version, proto.memory_bytes) == ("m", "1", 77)
    assert (proto.inference_count, proto.execution_count, proto.last_inference_milliseconds) == (4, 1, 12_500)
    assert (proto.success.count, proto.fail.count, proto.queue.count) == (2, 1, 2)
    assert (proto.compute_input.count, proto.compute_infer.count, proto.compute_output.count) == (2, 2, 2)
    assert [(one.batch_size, one.compute_infer.count) for one in proto.batches] == [(4, 1)]
    assert proto.compute_infer.nanoseconds == 2 * proto.batches[0].compute_infer.nanoseconds > 0
    spent = sum(step.nanoseconds for step in (proto.queue, proto.compute_input, proto.compute_infer, proto.compute_output))
    assert proto.success.nanoseconds == spent


async def test_the_cost_model_learns_from_executions(sink):
    async with batcher_of(FakeSession(), costs=()) as batcher:
        batcher.submit(now_work(1, count=4, sink=sink))
        await sink.reported(4)

    assert batcher.costs.predict(4, 4) > 0


async def test_only_traced_requests_are_told_of(sink):
    traced: list[TracedExecution] = []

    class Tracer:
        def executed(self, execution: TracedExecution) -> None:
            traced.append(execution)

    async with batcher_of(FakeSession(), tracer=Tracer()) as batcher:
        batcher.submit(now_work(1, count=3, sink=sink))
        await sink.reported(3)
        assert traced == []
        chunk = now_work(2, count=3, sink=sink, traces=((1, "00-aa-bb-01"),))
        batcher.submit(chunk)
        await sink.reported(6)

    ((execution, (request,)),) = [(one, one.requests) for one in traced]
    assert (execution.model, execution.version, execution.rows) == ("m", "1", 3)
    assert (request.traceparent, request.arrived_at) == ("00-aa-bb-01", chunk.arrived_at)
    assert chunk.arrived_at <= execution.started_at <= execution.ended_at


async def test_timing_tells_wait_and_compute_apart(sink):
    session = FakeSession()
    session.gate = threading.Event()
    async with batcher_of(session, costs=DEAR) as batcher:
        batcher.submit(now_work(1, sink=sink))
        await asyncio.to_thread(session.entered.wait, 5)
        batcher.submit(now_work(2, count=2, sink=sink))
        await asyncio.sleep(0.03)  # it waits
        session.gate.set()
        await sink.reported(3)

    first, second = sink.timings
    assert (first.execution_rows, second.execution_rows) == (1, 2)
    assert first.compute_microseconds >= 29_000
    assert second.queue_microseconds >= 29_000
