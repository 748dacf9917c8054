"""Who stood still is up to date before anything is decided; a bus that is away is not waited for without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from services.router.standstill import STILL_SECONDS, TURN_SECONDS, Standstill
from tests.chassis.manual_clock import ManualClock


class Topic:
    """A feed that is up to date when the test says so."""

    def __init__(self) -> None:
        self.asked = 0
        self.is_current = asyncio.Event()

    async def refreshed(self) -> None:
        self.asked += 1
        await self.is_current.wait()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(100.0)


@pytest.fixture
async def topic() -> Topic:
    return Topic()


@pytest.fixture
async def standstill(topic: Topic, clock: ManualClock) -> AsyncIterator[Standstill]:
    made = Standstill((topic,), clock)
    yield made
    topic.is_current.set()


async def released(standstill: Standstill) -> None:
    went_on = asyncio.Event()
    standstill.then(went_on.set)
    async with asyncio.timeout(30):
        await went_on.wait()


def test_turns_that_follow_each_other_leave_nobody_behind(standstill: Standstill, clock: ManualClock, topic: Topic):
    for _ in range(5):
        clock.advance(STILL_SECONDS)
        assert not standstill.note_turn()

    assert (topic.asked, standstill.count) == (0, 0)


async def test_after_a_standstill_the_feeds_are_read_before_anybody_goes_on(standstill: Standstill, clock: ManualClock, topic: Topic):
    clock.advance(STILL_SECONDS + 0.1)
    assert standstill.note_turn()
    went_on: list[str] = []
    standstill.then(lambda: went_on.append("front"))
    async with asyncio.timeout(30):
        while not topic.asked:
            await asyncio.sleep(0)
    assert (went_on, standstill.note_turn(), topic.asked) == ([], True, 1)

    topic.is_current.set()
    await released(standstill)

    assert (went_on, standstill.note_turn(), standstill.count) == (["front"], False, 1)


async def test_a_bus_that_is_away_holds_nobody_up_for_good(standstill: Standstill, clock: ManualClock):
    clock.advance(60.0)
    assert standstill.note_turn()

    await released(standstill)

    assert not standstill.note_turn()


async def test_who_stopped_meanwhile_is_not_called(standstill: Standstill, clock: ManualClock, topic: Topic):
    clock.advance(60.0)
    standstill.note_turn()
    called: list[int] = []
    go_on = lambda: called.append(1)
    standstill.then(go_on)
    standstill.forget(go_on)
    topic.is_current.set()
    await released(standstill)

    assert called == []


async def test_a_standstill_is_noticed_when_nobody_calls(standstill: Standstill, clock: ManualClock):
    turning = asyncio.create_task(standstill.run())
    await clock.asleep()
    clock.advance(TURN_SECONDS)
    await clock.asleep()
    assert standstill.count == 0
    clock.advance(STILL_SECONDS + 1)
    await clock.asleep()
    turning.cancel()

    assert standstill.count == 1
