from __future__ import annotations

from penstock.contracts.worker_status import WorkerStatus
from services.controller.workers import SILENT_SECONDS, Workers
from tests.chassis.manual_clock import ManualClock


def status(worker_id: str) -> WorkerStatus:
    return WorkerStatus(worker_id=worker_id, instance_id=worker_id, link_address="")


class World:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.workers = Workers(self.clock.now)

    def speak(self, *names: str, seconds: float = 0.0) -> None:
        """Have workers report, and again every second for a while."""
        for second in range(int(seconds) + 1):
            if second:
                self.clock.advance(1.0)
            for name in names:
                self.workers.follow(name, status(name))

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
