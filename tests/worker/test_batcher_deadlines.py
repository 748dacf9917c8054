"""Deadlines, cancels and brakes: nobody computes for nobody."""

from __future__ import annotations

import asyncio
import math
import threading
from time import monotonic

import pytest

from penstock.contracts.worker_status import CostPoint
from services.worker.inline_guard import InlineGuard
from services.worker.instance import InstanceHooks
from services.worker.onnx_session import open_session
from services.worker.session import SessionConfig
from tests.worker import models
from tests.worker.batchers import DEAR, WaitingSink, batcher_of, now_work
from tests.worker.works import FakeSession


@pytest.fixture
def sink() -> WaitingSink:
    return WaitingSink()


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
        assert await batcher.drain(monotonic() + 20)

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
        assert await batcher.drain(monotonic() + 20)

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
        async with asyncio.timeout(30):
            await stuck.wait()
        assert 1.0 <= monotonic() - begun < 20.0
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
    assert 0.09 <= stopped - begun < 20.0
    assert sink.array(2) == [3.0]
