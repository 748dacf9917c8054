"""A batch while it runs: who still waits for it, and when it has to be stopped."""

from __future__ import annotations

from enum import Enum

from services.worker.session import RunHandle
from services.worker.work import NO_DEADLINE, Batch, Work

STUCK_SECONDS = 1.0
"""An execution that goes on this long after it was told to stop will not stop."""


class RunMode(Enum):
    """What an instance is asked to do with a batch."""

    WHOLE = "run it"
    HALVED = "there was not enough memory: run its halves"
    APART = "it failed as a whole: find the culprits"


class RunningBatch:
    """A batch in execution. Pure: the caller passes `now`."""

    __slots__ = ("_left", "batch", "dead_at", "handle", "is_closing", "is_reported", "mode", "started_at", "stopped_at")

    def __init__(self, batch: Batch, handle: RunHandle, started_at: float) -> None:
        self.batch = batch
        self.handle = handle
        self.started_at = started_at
        self.mode = RunMode.WHOLE
        self.dead_at = batch.latest_deadline
        """When nobody waits for it any more."""
        self.stopped_at: float | None = None
        """When it was told to stop."""
        self.is_closing = False
        """Whether it is stopped because its deployment closes."""
        self.is_reported = False
        """Whether it was reported as stuck."""
        self._left: set[tuple[int, int]] = set()

    @property
    def next_check_at(self) -> float:
        """When it has to be looked at."""
        if self.is_reported:
            return NO_DEADLINE
        return self.dead_at if self.stopped_at is None else self.stopped_at + STUCK_SECONDS

    def leave(self, work: Work, position: int) -> bool:
        """Note that a caller left; False when the request is not in this batch."""
        if not any(part.work is work and position in part.positions for part in self.batch.parts):
            return False
        self._left.add((id(work), position))
        self.dead_at = self._latest_deadline()
        return True

    def leave_all(self, work: Work) -> bool:
        """Note that nobody waits for a chunk any more; False when none of it is in this batch."""
        mine = {(id(work), position) for part in self.batch.parts if part.work is work for position in part.positions}
        if mine:
            self._left |= mine
            self.dead_at = self._latest_deadline()
        return bool(mine)

    def stop(self, now: float) -> None:
        """Pull the brake."""
        self.handle.terminate()
        self.stopped_at = now

    def is_dead(self, now: float) -> bool:
        """Whether it runs for nobody and was not stopped yet."""
        return self.stopped_at is None and self.dead_at <= now

    def is_stuck(self, now: float) -> bool:
        """Whether it ignores the brake, and nobody was told yet."""
        return not self.is_reported and self.stopped_at is not None and self.stopped_at + STUCK_SECONDS <= now

    def _latest_deadline(self) -> float:
        latest = -NO_DEADLINE
        for part in self.batch.parts:
            deadlines = part.work.deadlines
            for position in part.positions:
                if (id(part.work), position) not in self._left:
                    latest = max(latest, deadlines[position] if deadlines else NO_DEADLINE)
        return latest
