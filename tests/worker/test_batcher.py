"""The shell: inline and threads, late formation, failures."""

from __future__ import annotations

import asyncio
import threading
import time
from time import monotonic

import numpy as np
import pytest

from services.worker.batch_policy import BatchPolicy, QueuePolicy
from services.worker.instance import InstanceHooks
from services.worker.memory_shortage import out_of_memory
from tests.worker.batchers import CHEAP, DEAR, WaitingSink, batcher_of, now_work
from tests.worker.works import FakeSession


@pytest.fixture
def sink() -> WaitingSink:
    return WaitingSink()


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
    barrier = threading.Barrier(2, timeout=30)
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


@pytest.mark.parametrize("costs", [CHEAP, DEAR], ids=["inline", "thread"])
async def test_a_poison_row_fails_alone(sink, costs):
    async with batcher_of(FakeSession(poison=3.0), costs=costs) as batcher:
        for number in range(6):
            batcher.submit(now_work(number, [[float(number)]], sink=sink))
        await sink.reported(6)

    assert {key: error.reason for key, error in sink.errors.items()} == {(3, 0): "POISON_ROW"}
    assert len(sink.answers) == 5


@pytest.mark.parametrize("costs", [CHEAP, DEAR], ids=["inline", "thread"])
async def test_a_batch_without_enough_memory_is_halved_and_the_next_one_is_as_large_as_before(sink, costs):
    is_short = [True]

    def execute(x: np.ndarray) -> np.ndarray:
        if is_short[0] and len(x) > 2:
            raise out_of_memory()
        return x * 2

    session = FakeSession(output=execute)
    async with batcher_of(session, costs=costs) as batcher:
        batcher.submit(now_work(1, [[1.0], [2.0], [3.0], [4.0]], sink=sink))
        await sink.reported(4)
        is_short[0] = False
        batcher.submit(now_work(2, [[1.0], [2.0], [3.0], [4.0]], sink=sink))
        await sink.reported(8)

    assert sink.errors == {}
    assert session.runs == [4, 2, 2, 4]


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
