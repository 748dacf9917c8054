from __future__ import annotations

import asyncio

import pytest

from penstock.contracts.errors import Unavailable
from services.chassis.clock import SystemClock
from services.chassis.process import running
from services.controller import placement_loop
from services.controller.placement_loop import PlacementLoop
from services.controller.placement_values import Plan


class Rounds:
    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.done = 0
        self.changed = asyncio.Event()

    async def round(self) -> Plan:
        self.done += 1
        self.changed.set()
        if self.failures:
            raise self.failures.pop(0)
        return Plan()

    async def reach(self, count: int) -> None:
        async with asyncio.timeout(30):
            while self.done < count:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement_loop, "PAUSE_SECONDS", 0.0)


async def test_news_start_a_round_at_once(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(placement_loop, "ROUND_SECONDS", 3600.0)
    rounds = Rounds()
    loop = PlacementLoop(rounds, SystemClock(), is_writer=lambda: True)
    async with running(loop.follow()):
        for count in range(1, 4):
            await rounds.reach(count)
            loop.wake()
        await rounds.reach(4)


async def test_rounds_go_on_without_news_and_after_failures(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(placement_loop, "ROUND_SECONDS", 0.01)
    rounds = Rounds(Unavailable("away"), RuntimeError("a bug"))
    loop = PlacementLoop(rounds, SystemClock(), is_writer=lambda: True)
    async with running(loop.follow()):
        await rounds.reach(4)

    assert loop.rounds >= 1


async def test_whoever_is_not_the_writer_places_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(placement_loop, "ROUND_SECONDS", 0.001)
    rounds, asked = Rounds(), asyncio.Event()

    def is_writer() -> bool:
        asked.set()
        return False

    async with running(PlacementLoop(rounds, SystemClock(), is_writer=is_writer).follow()):
        for _ in range(3):
            asked.clear()
            await asyncio.wait_for(asked.wait(), 10)

    assert rounds.done == 0


async def test_no_round_is_done_before_the_workers_have_spoken():
    rounds, caught_up = Rounds(), asyncio.Event()
    waiting = asyncio.Event()

    async def spoken() -> None:
        waiting.set()
        await caught_up.wait()

    async with running(PlacementLoop(rounds, SystemClock(), is_writer=lambda: True, caught_up=spoken).follow()):
        await asyncio.wait_for(waiting.wait(), 10)
        assert rounds.done == 0
        caught_up.set()
        await rounds.reach(1)
