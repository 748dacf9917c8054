from __future__ import annotations

import asyncio

from penstock.contracts.worker_status import WorkerStatus
from services.controller.workers import BUS_SILENT_SECONDS, SILENT_SECONDS, SKEW_SECONDS, Workers
from tests.chassis.manual_clock import ManualClock

WALL = 1_000_000.0


def status(worker_id: str, observed_time: float = 0.0) -> WorkerStatus:
    return WorkerStatus(worker_id=worker_id, instance_id=worker_id, link_address="", observed_time=observed_time)


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.workers = Workers(self.clock.now, lambda: WALL + self.clock.now())

    def speak(self, *names: str, seconds: float = 0.0) -> None:
        """Have workers report, and again every second for a while."""
        for second in range(int(seconds) + 1):
            if second:
                self.clock.advance(1.0)
            for name in names:
                self.workers.follow(name, status(name))

    def find(self, name: str, *, age: float) -> None:
        """Read a word that says of itself that it is so old."""
        self.workers.follow(name, status(name, WALL + self.clock.now() - age))

    @property
    def live(self) -> list[str]:
        return [one.worker_id for one in self.workers.workers()]


def test_a_worker_that_is_silent_while_others_speak_is_none_any_more():
    world = World()
    world.speak("a", "b")
    world.speak("b", seconds=SILENT_SECONDS)
    assert world.live == ["a", "b"]
    world.speak("b", seconds=1)

    assert world.live == ["b"]


def test_a_worker_that_says_goodbye_is_gone_at_once():
    world = World()
    world.speak("a", "b")
    world.workers.follow("a", None)

    assert world.live == ["b"]


def test_a_silent_bus_says_nothing_of_workers():
    world = World()
    world.speak("a", "b")
    world.clock.advance(600.0)

    assert world.live == ["a", "b"]


def test_the_first_one_heard_after_an_outage_is_not_the_last_one_alive():
    world = World()
    world.speak("a", "b")
    world.clock.advance(600.0)
    world.speak("b", seconds=SILENT_SECONDS)
    assert world.live == ["a", "b"]
    world.speak("b", seconds=1)

    assert world.live == ["b"]


def test_a_word_of_a_worker_that_died_an_hour_ago_counts_for_nothing_whoever_else_speaks():
    world = World()
    world.find("dead", age=3600.0)
    world.find("alive", age=0.5)
    assert world.live == ["alive"]

    world.clock.advance(BUS_SILENT_SECONDS + 1)
    assert world.live == ["alive"]
    world.clock.advance(600.0)
    world.speak("alive")
    assert world.live == ["alive"]


def test_without_anybody_else_the_word_of_a_dead_worker_is_not_taken_for_a_silent_bus():
    world = World()
    world.find("dead", age=3600.0)
    world.clock.advance(600.0)

    assert world.live == []


def test_clocks_that_are_a_little_apart_make_nobody_old():
    world = World()
    world.find("slow", age=SKEW_SECONDS + 1)
    world.find("fast", age=-3600.0)

    assert world.live == ["slow", "fast"]


def test_one_whose_clock_is_far_off_counts_from_its_second_word_on():
    world = World()
    world.find("off", age=3600.0)
    world.clock.advance(1.0)
    world.find("off", age=3600.0)

    assert world.live == ["off"]


def test_the_same_word_read_again_is_no_sign_of_life():
    world = World()
    word = status("a", WALL)
    world.workers.follow("a", word)
    world.speak("b", seconds=SILENT_SECONDS)
    world.workers.follow("a", word)
    world.speak("b", seconds=1)

    assert world.live == ["b"]


async def test_placement_waits_for_those_who_were_found_but_not_for_ever():
    world = World()
    world.find("dead", age=3600.0)
    world.find("late", age=60.0)
    waiting = asyncio.create_task(world.workers.settled(world.clock))
    for _ in range(int(SILENT_SECONDS)):
        await world.clock.asleep()
        assert not waiting.done()
        world.find("late", age=0.0)
        world.clock.advance(1.0)
    await waiting

    assert world.live == ["late"]


async def test_placement_waits_for_nobody_when_all_that_were_found_are_young():
    world = World()
    world.find("a", age=0.5)

    await world.workers.settled(world.clock)
