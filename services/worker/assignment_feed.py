"""From the assignments on the bus to whoever acts on this worker's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from penstock.contracts.assignments import Assignment
from services.chassis.feeds import Feed

log = structlog.get_logger(__name__)


class AssignmentTaker(Protocol):
    """Who acts on assignments."""

    def take(self, assignment: Assignment | None) -> None:
        """Take the assignment that is in force; None means that there is none any more."""
        ...

    def know(self) -> None:
        """Note that everything that was there has been told."""
        ...


class AssignmentFeed:
    """Picks this worker's assignments out of those of all workers."""

    def __init__(self, worker_id: str, feed: Feed[Assignment], taker: AssignmentTaker, on_change: Callable[[], None]) -> None:
        """Store the arguments; `on_change` is called after `taker` has been told something."""
        self._worker_id = worker_id
        self._feed = feed
        self._taker = taker
        self._on_change = on_change

    async def follow(self) -> None:
        """Hand on what is there, then every change, until cancelled."""
        await self._feed.follow(self._tell)

    async def note_caught_up(self) -> None:
        """Say when everything that was there has been told: nothing assigned is known to be nothing then."""
        await self._feed.caught_up()
        self._taker.know()
        self._on_change()

    def _tell(self, worker_id: str, assignment: Assignment | None) -> None:
        if worker_id != self._worker_id:
            return
        if assignment is not None and assignment.worker_id != worker_id:
            log.error("assignment_of_another_worker", key=worker_id, worker=assignment.worker_id)
            return
        self._taker.take(assignment)
        self._on_change()
