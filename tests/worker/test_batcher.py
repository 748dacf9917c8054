"""The shell: inline and threads, failures, deadlines, brakes, drain."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic

import numpy as np
import pytest

from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.contracts.worker_status import CostPoint
from services.worker.batch_policy import BatchPolicy, QueuePolicy
from services.worker.batcher import Batcher, BatcherConfig, BatcherPorts
from services.worker.cost_model import CostModel
from services.worker.execution import ExecutionRules
from services.worker.inline_guard import InlineGuard
from services.worker.instance import InstanceHooks
from services.worker.onnx_session import open_session
from services.worker.session import SessionConfig
from services.worker.tracing import TracedExecution
from services.worker.work import PriorityClass
from tests.worker import models
from tests.worker.works import FakeSession, RecordingSink, raw_work, signature, template, text_share, work

CHEAP = (CostPoint(rows=1, seconds=1e-6),)
DEAR = (CostPoint(rows=1, seconds=0.001),)


class WaitingSink(RecordingSink):
    """Lets a test wait for reports."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()
        self.on_report = self._changed.set

    async def reported(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.reports) < count:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def batcher_of(*sessions, costs=CHEAP, rules=None, policy=None, inline_seconds=0.0002, **ports) -> AsyncIterator[Batcher]:
    rules, policy = rules or ExecutionRules(signature=signature()), policy or BatchPolicy(max_batch_size=8)
    config = BatcherConfig(model="m", version="1", policy=policy, rules=rules, inline_seconds=inline_seconds)
    batcher = Batcher(config, sessions, CostModel(costs), BatcherPorts(**ports))
    batcher.start()
    try:
        yield batcher
    finally:
        for session in sessions:
            if isinstance(session, FakeSession):
                session.release.set()
        await batcher.close()


@pytest.fixture
def sink() -> WaitingSink:
    return WaitingSink()


def now_work(chunk_id: int, *args, **rest):
    return work(chunk_id, *args, at=monotonic(), **rest)


@pytest.mark.parametrize("costs", [CHEAP, DEAR, ()], ids=["inline", "thread", "unknown cost"])
async def test_every_request_is_answered_with_its_own_answer(sink, costs):
    session = FakeSession()
    async with batcher_of(session, costs=costs) as batcher:
        for number in range(20):
            batcher.submit(now_work(number, [[float(10 * number + at)] for at in range(number % 5 + 1)], sink=sink))
        await sink.reported(60)

    assert len(sink.reports) == len(set(sink.reports)) == 60
    assert all(sink.array(number, at) == [2.0 * (10 * number + at)] for number, at in sink.answers)
    assert sum(session.runs) == 60


async def test_cheap_batches_run_on_the_loop_and_dear_ones_in_a_thread(sink):
    threads: list[str] = []
    hooks = InstanceHooks(on_enter=lambda: threads.append(threading.current_thread().name))

    async with batcher_of(FakeSession(), costs=CHEAP, hooks=[hooks]) as batcher:
        batcher.submit(now_work(1, sink=sink))
        await sink.reported(1)
    async with batcher_of(FakeSession(), costs=DEAR, hooks=[hooks]) as batcher:
        batcher.submit(now_work(2, sink=sink))
        await sink.reported(2)

    assert threads == ["MainThread", "instance-m-1-0"]


async def test_hooks_are_called_around_every_execution(sink):
    seen: list[str] = []
    hooks = InstanceHooks(on_enter=lambda: seen.append("enter"), on_leave=lambda: seen.append("leave"))
    async with batcher_of(FakeSession(poison=1.0), hooks=[hooks]) as batcher:
        batcher.submit(now_work(1, [[1.0], [2.0]], sink=sink))
        await sink.reported(2)

    assert seen == ["enter", "leave"] * 2


async def test_a_batch_forms_while_the_previous_one_runs(sink):
    session = FakeSession()
    session.gate = threading.Event()
    async with batcher_of(session, costs=DEAR) as batcher:
        batcher.submit(now_work(0, sink=sink))
        await asyncio.to_thread(session.entered.wait, 5)
        for number in range(1, 6):
            batcher.submit(now_work(number, sink=sink))
        assert batcher.waiting_requests == 5
        session.gate.set()
        await sink.reported(6)

    assert session.runs == [1, 5]


async def test_a_backlog_of_cheap_batches_leaves_the_loop_room_for_others(sink):
    session = FakeSession(output=lambda x: (time.sleep(0.0003), x)[1])
    policy, seen = BatchPolicy(max_batch_size=1), []
    async with batcher_of(session, policy=policy, inline_seconds=10.0) as batcher:
        batcher.submit(now_work(1, count=60, sink=sink))
        while len(sink.reports) < 60:
            await asyncio.sleep(0)
            seen.append(len(sink.reports))

    assert len({count for count in seen if 0 < count < 60}) >= 5


async def test_several_instances_run_at_the_same_time(sink):
    sessions = [FakeSession(), FakeSession()]
    barrier = threading.Barrier(2, timeout=5)
    for session in sessions:
        session.output = lambda x: (barrier.wait(), x * 2)[1]
    async with batcher_of(*sessions, costs=DEAR, policy=BatchPolicy(max_batch_size=1)) as batcher:
        batcher.submit(now_work(1, count=2, sink=sink))
        await sink.reported(2)

    assert [session.runs for session in sessions] == [[1], [1]]


async def test_a_heavy_deployment_does_not_delay_a_cheap_one(sink):
    heavy, cheap = FakeSession(), FakeSession()
    heavy.gate = threading.Event()
    async with batcher_of(heavy, costs=DEAR) as one, batcher_of(cheap) as other:
        one.submit(now_work(1, sink=sink))
        await asyncio.to_thread(heavy.entered.wait, 5)
        other.submit(now_work(2, sink=sink))
        await sink.reported(1)
        assert list(sink.answers) == [(2, 0)]
        heavy.gate.set()
        await sink.reported(2)


async def test_a_delay_is_kept_and_ends(sink):
    policy = BatchPolicy(max_batch_size=8, max_queue_delay_microseconds=30_000)
    session = FakeSession()
    async with batcher_of(session, policy=policy) as batcher:
        begun = monotonic()
        batcher.submit(now_work(1, sink=sink))
        batcher.submit(now_work(2, sink=sink))
        await sink.reported(2)

    assert monotonic() - begun >= 0.028
    assert session.runs == [2]


# Failures.


@pytest.mark.parametrize("costs", [CHEAP, DEAR], ids=["inline", "thread"])
async def test_a_poison_row_fails_alone(sink, costs):
    async with batcher_of(FakeSession(poison=3.0), costs=costs) as batcher:
        for number in range(6):
            batcher.submit(now_work(number, [[float(number)]], sink=sink))
        await sink.reported(6)

    assert {key: error.reason for key, error in sink.errors.items()} == {(3, 0): "POISON_ROW"}
    assert len(sink.answers) == 5


async def test_a_broken_instance_answers_with_an_internal_error_and_goes_on(sink):
    session = FakeSession(output=lambda x: np.zeros("nonsense"))
    async with batcher_of(session, costs=DEAR) as batcher:
        batcher.submit(now_work(1, count=2, sink=sink))
        await sink.reported(2)
        session.output = lambda x: x
        batcher.submit(now_work(2, sink=sink))
        await sink.reported(3)

    assert [error.reason for error in sink.errors.values()] == ["INTERNAL"] * 2
    assert "nonsense" not in sink.errors[1, 0].message
    assert (2, 0) in sink.answers


async def test_a_full_queue_refuses_with_a_word_on_when_to_come_back(sink):
    session = FakeSession()
    session.gate = threading.Event()
    policy = BatchPolicy(max_batch_size=1, queue=QueuePolicy(max_queue_size=2))
    async with batcher_of(session, costs=DEAR, policy=policy) as batcher:
        batcher.submit(now_work(1, sink=sink))
        await asyncio.to_thread(session.entered.wait, 5)
        batcher.submit(now_work(2, count=3, sink=sink))
        assert {key: error.reason for key, error in sink.errors.items()} == {(2, 2): "REPLICA_OVERLOADED"}
        session.gate.set()
        await sink.reported(4)
    assert batcher.statistics.failures == {"REPLICA_OVERLOADED": 1}


# Deadlines, cancels, brakes.


async def test_a_request_that_expires_while_the_executor_is_busy_hears_of_it_at_once(sink):
    session = FakeSession()
    session.gate = threading.Event()
    async with batcher_of(session, costs=DEAR) as batcher:
        batcher.submit(now_work(1, sink=sink))
        await asyncio.to_thread(session.entered.wait, 5)
        batcher.submit(now_work(2, count=2, sink=sink, deadlines=[monotonic() + 0.02, math.inf]))
        await sink.reported(1)
        assert {key: error.reason for key, error in sink.errors.items()} == {(2, 0): "DEADLINE_EXCEEDED"}
        session.gate.set()
        await sink.reported(3)
    assert sorted(sink.answers) == [(1, 0), (2, 1)]
    assert batcher.statistics.dropped == 1


async def test_what_cannot_make_its_deadline_does_not_run(sink):
    session = FakeSession()
    async with batcher_of(session, costs=(CostPoint(rows=1, seconds=5.0),)) as batcher:
        session.gate = threading.Event()
        batcher.submit(now_work(1, sink=sink))
        await asyncio.to_thread(session.entered.wait, 5)
        batcher.submit(now_work(2, sink=sink, deadlines=[monotonic() + 2.0]))
        batcher.costs.observe(1, 4, 50.0)
        session.gate.set()
        await sink.reported(2)

    assert sink.errors[2, 0].reason == "DEADLINE_EXCEEDED"
    assert "cannot be met" in sink.errors[2, 0].message
    assert session.runs == [1]


async def test_a_cancelled_request_does_not_run_and_is_not_reported(sink):
    session = FakeSession()
    session.gate = threading.Event()
    async with batcher_of(session, costs=DEAR) as batcher:
        batcher.submit(now_work(1, sink=sink))
        await asyncio.to_thread(session.entered.wait, 5)
        chunk = now_work(2, count=2, sink=sink)
        batcher.submit(chunk)
        assert batcher.cancel(chunk, 0)
        assert not batcher.cancel(chunk, 0)
        session.gate.set()
        await sink.reported(2)
        assert await batcher.drain(monotonic() + 5)

    assert sink.reports == [(1, 0), (2, 1)]
    assert batcher.statistics.cancelled == 1


async def test_the_brake_is_pulled_when_the_last_caller_of_a_running_batch_left(sink):
    session = FakeSession()
    session.is_endless = True
    async with batcher_of(session, costs=DEAR) as batcher:
        chunk, other = now_work(1, count=2, sink=sink), now_work(2, sink=sink, deadlines=[monotonic() + 0.05])
        batcher.submit(chunk)
        batcher.submit(other)
        await asyncio.to_thread(session.entered.wait, 5)
        assert not batcher.cancel(chunk, 0)
        assert not sink.reports
        batcher.abandon(chunk)
        await sink.reported(3)
        assert await batcher.drain(monotonic() + 1)

    assert sink.errors[2, 0].reason == "DEADLINE_EXCEEDED"
    assert batcher.statistics.wasted_nanoseconds > 0


async def test_the_brake_is_pulled_when_the_callers_leave_one_by_one(sink):
    session = FakeSession()
    session.is_endless = True
    async with batcher_of(session, costs=DEAR) as batcher:
        chunk = now_work(1, count=2, sink=sink)
        batcher.submit(chunk)
        await asyncio.to_thread(session.entered.wait, 5)
        batcher.cancel(chunk, 0)
        batcher.cancel(chunk, 1)
        await sink.reported(2)


async def test_a_batch_with_one_caller_left_goes_on(sink):
    session = FakeSession()
    session.gate = threading.Event()
    async with batcher_of(session, costs=DEAR) as batcher:
        doomed, patient = now_work(1, sink=sink, deadlines=[monotonic() + 0.02]), now_work(2, sink=sink)
        batcher.submit(doomed)
        batcher.submit(patient)
        await asyncio.to_thread(session.entered.wait, 5)
        await asyncio.sleep(0.05)  # the deadline passes
        session.gate.set()
        await sink.reported(2)

    assert sorted(sink.answers) == [(1, 0), (2, 0)]


async def test_an_execution_that_ignores_its_brake_is_reported_once(sink):
    session = FakeSession()
    session.is_endless = session.ignores_brake = True
    stuck = asyncio.Event()
    reports: list[None] = []
    async with batcher_of(session, costs=DEAR, on_stuck=lambda: (reports.append(None), stuck.set())) as batcher:
        begun = monotonic()
        batcher.submit(now_work(1, sink=sink, deadlines=[begun + 0.05]))
        async with asyncio.timeout(5):
            await stuck.wait()
        assert 1.0 <= monotonic() - begun < 1.5
        session.release.set()
        await sink.reported(1)

    assert len(reports) == 1


async def test_an_endless_execution_on_the_loop_is_stopped_from_outside_and_tried_again_in_a_thread(sink):
    session = FakeSession()
    session.is_endless = True
    threads: list[str] = []

    def enter() -> None:
        threads.append(threading.current_thread().name)
        session.is_endless = len(threads) == 1

    with InlineGuard(on_stuck=lambda: None, limit_seconds=0.05) as guard:
        async with batcher_of(session, guard=guard, hooks=[InstanceHooks(on_enter=enter)]) as batcher:
            batcher.submit(now_work(1, [[4.0]], sink=sink))
            await sink.reported(1)

    assert threads == ["MainThread", "instance-m-1-0"]
    assert sink.array(1) == [8.0]
    assert batcher.costs.predict(1, 4) > 0.01


def test_the_guard_tells_when_an_execution_on_the_loop_ignores_its_brake():
    stuck = threading.Event()
    with InlineGuard(on_stuck=stuck.set, limit_seconds=0.02) as guard:
        handle = FakeSession().new_handle()
        guard.begin(handle)

        assert stuck.wait(5)
        assert handle.is_terminated


# The end.


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


# What is told.


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
    assert first.compute_microseconds >= 29_000 > first.queue_microseconds
    assert second.queue_microseconds >= 29_000


# With ONNX Runtime.


def tensors(*specs: tuple[str, DataType, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name=name, datatype=datatype, shape=shape) for name, datatype, shape in specs)


async def run_on(model: bytes, shape: Signature, *chunks, wait: Callable | None = None, **kwargs) -> Batcher:
    session = open_session(model, SessionConfig())
    policy = kwargs.pop("policy", BatchPolicy(max_batch_size=shape.max_batch_size))
    async with batcher_of(session, rules=ExecutionRules(signature=shape), policy=policy, **kwargs) as batcher:
        for chunk in chunks:
            batcher.submit(chunk)
        await chunks[0].sink.reported(sum(chunk.count for chunk in chunks))
    return batcher


async def test_a_real_model_sums_every_row_of_its_own_request(sink):
    shape = Signature(inputs=tensors(("x", DataType.FP32, (-1, 3))), outputs=tensors(("sum", DataType.FP32, (-1, 1))), max_batch_size=16)
    generator = np.random.default_rng(1)
    chunks = []
    for number in range(12):
        rows = number % 3 + 1
        values = generator.normal(size=(number % 4 + 1, rows * 3)).astype(np.float32).tolist()
        chunks.append((values, rows))

    def chunk_of(number, values, rows):
        raw = np.float32(values).tobytes()
        shaped = template(rows=rows, width=3)
        return raw_work(number, [raw[at * rows * 12 : (at + 1) * rows * 12] for at in range(len(values))], shaped, sink=sink)

    await run_on(models.row_sum(), shape, *(chunk_of(number, *one) for number, one in enumerate(chunks)), costs=CHEAP)

    for number, (values, rows) in enumerate(chunks):
        for position, one in enumerate(values):
            expected = np.float32(one).reshape(rows, 3).sum(axis=1)
            assert np.allclose(sink.array(number, position), expected, atol=1e-5)


async def test_texts_go_through_a_real_model_and_a_bad_one_fails_alone(sink):
    shape = Signature(inputs=tensors(("x", DataType.BYTES, (-1, 1))), outputs=tensors(("y", DataType.BYTES, (-1, 1))), max_batch_size=8)
    shares = [text_share("häuser"), text_share(b"\xff\xfe"), text_share("")]

    await run_on(models.echo_bytes(), shape, raw_work(1, shares, template(datatype=DataType.BYTES), sink=sink))

    assert {key: answer[0] for key, answer in sink.answers.items()} == {(1, 0): shares[0], (1, 2): shares[2]}
    assert sink.errors[1, 1].reason == "NOT_TEXT"


async def test_a_model_without_batch_dimension_runs_each_request_alone(sink):
    shape = Signature(inputs=tensors(("x", DataType.FP32, (3,))), outputs=tensors(("y", DataType.FP32, (3,))), max_batch_size=0)
    one = template(width=3)
    flat = type(one.inputs[0])(name="x", datatype=DataType.FP32, shape=(3,), request_bytes=12)
    shaped = type(one)(inputs=(flat,), outputs=(0,), rows=1, group="flat")
    shares = [np.float32([at, at, at]).tobytes() for at in range(4)]

    batcher = await run_on(models.no_batch(), shape, raw_work(1, shares, shaped, sink=sink), costs=CHEAP)

    assert [sink.array(1, at) for at in range(4)] == [[2.0 * at] * 3 for at in range(4)]
    assert batcher.statistics.execution_count == 4


async def test_a_real_poison_row_fails_alone(sink):
    shape = Signature(inputs=tensors(("index", DataType.INT64, (-1, 1))), outputs=tensors(("y", DataType.FP32, (-1, 1))), max_batch_size=32)
    shares = [np.int64([99 if at == 5 else at % 10]).tobytes() for at in range(16)]

    await run_on(models.poisonable(), shape, raw_work(1, shares, template(datatype=DataType.INT64, name="index"), sink=sink))

    assert {key: error.reason for key, error in sink.errors.items()} == {(1, 5): "POISON_ROW"}
    assert "idx" not in sink.errors[1, 5].message
    assert all(sink.array(1, at) == [float(at % 10)] for at in range(16) if at != 5)


async def test_an_endless_loop_of_a_real_model_ends_at_its_deadline_and_the_next_request_is_served(sink):
    session = open_session(models.looping(), SessionConfig())
    async with batcher_of(session, costs=DEAR) as batcher:
        begun = monotonic()
        batcher.submit(now_work(1, [[-1.0]], sink=sink, deadlines=[begun + 0.1]))
        await sink.reported(1)
        stopped = monotonic()
        batcher.submit(now_work(2, [[3.0]], sink=sink))
        await sink.reported(2)

    assert sink.errors[1, 0].reason == "DEADLINE_EXCEEDED"
    assert 0.09 <= stopped - begun < 0.6
    assert sink.array(2) == [3.0]


async def test_bulk_and_online_work_of_a_real_model_all_get_their_answers(sink):
    shape = signature(2, max_batch_size=16)
    online = [work(number, [[float(number), 1.0]], sink=sink) for number in range(10)]
    bulk = [work(100 + number, [[float(at), 2.0] for at in range(40)], sink=sink, priority_class=PriorityClass.BULK) for number in range(3)]

    await run_on(models.identity(), shape, *bulk, *online)

    assert len(sink.answers) == 130
    assert all(sink.array(100 + number, at) == [float(at), 2.0] for number in range(3) for at in range(40))
