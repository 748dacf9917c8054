"""When waiting ends without an execution: deadlines and queue timeouts, by the chunk that reaches its first one soonest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from heapq import heapify, heappop, heappush

from services.worker.work import NO_DEADLINE, Work

SLACK = 256
"""Stale ends that are tolerated beside four times the waiting chunks."""


class DropCause(Enum):
    """Why a request left the queue without running."""

    EXPIRED = "the deadline passed while the request waited"
    HOPELESS = "the deadline cannot be met"
    WAITED_TOO_LONG = "the request waited longer than the queue's timeout"


@dataclass(frozen=True, slots=True)
class Drop:
    """Requests that left the queue without running."""

    work: Work
    positions: Sequence[int]
    cause: DropCause


class WaitingEnds:
    """The first end of each waiting chunk.

    A chunk that left for another reason stays in until its end comes, everything has left, or too many such chunks would keep their
    bytes alive.
    """

    __slots__ = ("_heap", "_notes")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Work]] = []
        self._notes = 0

    @property
    def next_at(self) -> float:
        """The soonest end, infinite when there is none."""
        return self._heap[0][0] if self._heap else NO_DEADLINE

    def note(self, work: Work, at: float, waiting_requests: int) -> None:
        """Remember that a chunk's waiting may end at `at`; an infinite end is none."""
        if at == NO_DEADLINE:
            return
        if len(self._heap) > 4 * waiting_requests + SLACK:
            self._heap = [end for end in self._heap if end[2].waiting]
            heapify(self._heap)
        self._notes += 1
        heappush(self._heap, (at, self._notes, work))

    def pop(self, now: float) -> Iterator[Work]:
        """Yield the chunks that wait and whose ends have come; they have to be noted again."""
        while self._heap and self._heap[0][0] <= now:
            work = heappop(self._heap)[2]
            if work.waiting:
                yield work

    def clear(self) -> None:
        """Forget all of them: nothing waits."""
        self._heap.clear()
