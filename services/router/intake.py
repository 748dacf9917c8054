"""One wave while it is taken in: what has been opened, what is full, what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from penstock.contracts.errors import ServingError
from services.mesh.chunk import Chunk, ChunkSink
from services.router.admission import Tenant
from services.router.calls import Calls
from services.router.front import Front, Wave
from services.router.targets import Target
from services.router.templates import Learnt

LONGEST_DEADLINE_SECONDS = 60.0
"""Deadline of a call that brings none, and the longest that any call may bring."""

T = TypeVar("T")


class Intake:
    """One wave while it is taken in."""

    __slots__ = ("cut", "errors", "front", "now", "number", "opened", "refused", "wave")

    def __init__(self, front: Front, wave: Wave, now: float, number: int) -> None:
        """Start with nothing opened; `number` tells one wave from another."""
        self.front = front
        self.wave = wave
        self.now = now
        self.number = number
        self.opened: dict[tuple[Learnt, int], tuple[Chunk, Calls]] = {}
        self.cut: list[Chunk] = []
        """Chunks that are full."""
        self.refused: list[int] = []
        self.errors: list[ServingError] = []

    def open(self, sink: ChunkSink, target: Target, learnt: Learnt, level: int) -> tuple[Chunk, Calls]:
        """Open a chunk for requests of a description and priority level, in place of one that was cut."""
        calls = Calls(self.front, target, learnt, self.now)
        opened = self.opened[learnt, level] = Chunk(sink, learnt.template, calls, priority_level=level), calls
        return opened

    def of(self, column: Sequence[T], places: Sequence[int]) -> Sequence[T]:
        """Return the values of a column of the wave at `places`, which ascend."""
        return column if len(places) == len(column) else [column[place] for place in places]

    def meet(self, tenant: Tenant) -> None:
        """Fill a tenant's buckets, once a wave."""
        if tenant.wave != self.number:
            tenant.wave = self.number
            tenant.open(self.now)

    def close_full(self, chunk: Chunk, learnt: Learnt, level: int) -> None:
        """Cut a chunk that is full."""
        if len(chunk.deadlines) >= learnt.chunk_limit:
            self.cut.append(chunk)
            del self.opened[learnt, level]
