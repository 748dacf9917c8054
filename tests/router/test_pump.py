"""Waves are carried as soon as there are calls; while calls are refused for lack of time they are left to gather."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence

import pytest

from penstock.contracts.errors import ServingError
from services.mesh.dispatch_counters import DispatchCounters
from services.router.front import NO_DEADLINE, Wave
from services.router.pump import WAVE_LIMIT, Pump
from services.router.standstill import Standstill
from tests.chassis.manual_clock import ManualClock


class EventFront:
    """A front whose calls are numbers; its descriptor is readable while some wait."""

    def __init__(self) -> None:
        self.waiting: list[int] = []
        self.failed: list[int] = []
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK)

    def fileno(self) -> int:
        return self._descriptor

    def call(self, *calls: int) -> None:
        self.waiting += calls
        os.eventfd_write(self._descriptor, 1)

    def recv_wave(self, limit: int) -> Wave:
        taken, self.waiting = self.waiting[:limit], self.waiting[limit:]
        if not self.waiting:
            os.eventfd_read(self._descriptor)
        count = len(taken)
        return Wave(call_ids=taken, payloads=[b""] * count, keys=[None] * count, deadlines=[NO_DEADLINE] * count, traces=[None] * count)

    def fail_many(self, call_ids: Sequence[int], errors: Sequence[ServingError]) -> None:
        self.failed += call_ids

    def close(self) -> None:
        os.close(self._descriptor)


class Decider:
    """Takes waves in the place of the inference path; refuses or fails at will."""

    def __init__(self) -> None:
        self.counters = DispatchCounters()
        self.waves: list[list[int]] = []
        self.refuses = self.fails = False

    def take(self, front: EventFront, wave: Wave) -> None:
        self.waves.append(list(wave.call_ids))
        if self.fails:
            raise ValueError("a mistake of ours")
        if self.refuses:
            self.counters.shed_requests += 1


@pytest.fixture
def front() -> Iterator[EventFront]:
    made = EventFront()
    yield made
    made.close()


@pytest.fixture
def decider() -> Decider:
    return Decider()


@pytest.fixture
async def pump(front: EventFront, decider: Decider):
    made = Pump(front, decider, decider.counters)  # type: ignore[arg-type]
    made.start()
    yield made
    made.stop()


async def turns(count: int = 5) -> None:
    """Let the loop look at its descriptors so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(decider: Decider, waves: int) -> None:
    async with asyncio.timeout(30):
        while len(decider.waves) < waves:
            await asyncio.sleep(0.001)


@pytest.mark.usefixtures("pump")
async def test_without_refusals_every_call_is_taken_in_the_next_turn(front: EventFront, decider: Decider):
    for call in range(3):
        front.call(call)
        await turns()

    assert decider.waves == [[0], [1], [2]]


@pytest.mark.usefixtures("pump")
async def test_after_a_refusal_what_comes_is_gathered_and_none_is_forgotten(front: EventFront, decider: Decider):
    decider.refuses = True
    front.call(0)
    await until(decider, 1)
    decider.refuses = False
    front.call(1)
    front.call(2)
    front.call(3)
    await until(decider, 2)

    assert decider.waves == [[0], [1, 2, 3]]


@pytest.mark.usefixtures("pump")
async def test_a_full_wave_is_followed_by_the_rest_at_once(front: EventFront, decider: Decider):
    decider.refuses = True
    front.call(*range(WAVE_LIMIT + 1))
    await turns()

    assert [len(wave) for wave in decider.waves] == [WAVE_LIMIT, 1]


@pytest.mark.usefixtures("pump")
async def test_a_mistake_fails_its_wave_and_no_other(front: EventFront, decider: Decider):
    decider.fails = True
    front.call(0, 1)
    await until(decider, 1)
    decider.fails = False
    front.call(2)
    await until(decider, 2)

    assert front.failed == [0, 1]


async def test_a_pump_that_is_stopped_while_it_pauses_takes_no_more(front: EventFront, decider: Decider, pump: Pump):
    decider.refuses = True
    front.call(0)
    await until(decider, 1)
    pump.stop()
    front.call(1)
    await asyncio.sleep(0.05)

    assert decider.waves == [[0]]


async def test_what_waits_since_a_standstill_is_taken_when_the_router_is_up_to_date(front: EventFront, decider: Decider):
    clock, is_current = ManualClock(), asyncio.Event()

    class Topic:
        async def refreshed(self) -> None:
            await is_current.wait()

    pump = Pump(front, decider, decider.counters, Standstill((Topic(),), clock))  # type: ignore[arg-type]
    pump.start()
    clock.advance(60)
    front.call(0)
    await turns(20)
    assert decider.waves == []

    is_current.set()
    await until(decider, 1)
    front.call(1)
    await until(decider, 2)
    pump.stop()

    assert decider.waves == [[0], [1]]
