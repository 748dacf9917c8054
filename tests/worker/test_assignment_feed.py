"""A worker hears of its own assignments only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from penstock.contracts.assignments import Assignment
from services.worker.assignment_feed import AssignmentFeed


class Told:
    """A feed that tells what it is made with, and then nothing."""

    def __init__(self, *changes: tuple[str, Assignment | None]) -> None:
        self.changes = changes
        self.is_over = asyncio.Event()

    def snapshot(self) -> Mapping[str, Assignment]:
        return {}

    async def follow(self, on_change: Callable[[str, Assignment | None], None]) -> None:
        for key, value in self.changes:
            on_change(key, value)
        self.is_over.set()

    async def caught_up(self) -> None:
        await self.is_over.wait()


class Taker:
    def __init__(self) -> None:
        self.taken: list[Assignment | None] = []
        self.is_known = False

    def take(self, assignment: Assignment | None) -> None:
        self.taken.append(assignment)

    def know(self) -> None:
        self.is_known = True


async def test_its_own_are_handed_on_and_those_of_others_and_misnamed_ones_are_not():
    mine, newer = Assignment(worker_id="w", revision=1), Assignment(worker_id="w", revision=2)
    other = Assignment(worker_id="v", revision=1)
    taker, changes = Taker(), []
    feed = AssignmentFeed(
        "w", Told(("w", mine), ("v", other), ("w", other), ("w", newer), ("w", None)), taker, lambda: changes.append(len(taker.taken))
    )

    await feed.follow()
    await feed.note_caught_up()

    assert taker.taken == [mine, newer, None]
    assert taker.is_known
    assert changes == [1, 2, 3, 3]
