"""Chunks: up to 64 requests of one deployment and one input template, and the book-keeping of their release.

All book-keeping is per chunk, not per request: one in-flight entry, one placement, one frame entry. What varies within a chunk
(tenant, deadline, caller) is a column. A request of a chunk is released exactly once, by whoever comes first: its answer, a
cancellation, its deadline or the loss of its worker. `take` and `take_range` are the only ways to release, and say whether the
release is the caller's to act on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from penstock.contracts.errors import ServingError
from services.mesh.lane import Lane
from services.mesh.route_table import Deployment

CHUNK_LIMIT = 64
"""Most requests of a chunk."""
CHUNK_BYTES = 1 << 20
"""Most bytes of inputs of a chunk that holds more than one request, where all of them are of one size."""

NO_DEADLINE = float("inf")


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """What all requests of a chunk have in common; two requests share a template when this very object is shared."""

    input_positions: tuple[int, ...]
    """Position in the signature of each input that is present."""
    shapes: tuple[tuple[int, ...], ...]
    """Shape of each present input, batch dimension included."""
    rows: int
    """Rows of one request; 1 for models without a batch dimension."""
    outputs: tuple[int, ...]
    """Positions of the wanted outputs in the signature."""
    wire_inputs: tuple[tuple[int, bytes], ...]
    """(position, packed little-endian int64 shape) of each present input."""
    wire_outputs: bytes
    """Wanted outputs as packed little-endian uint32; empty for all."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A part of a worker's answer to one chunk."""

    start: int
    count: int
    indices: Sequence[int] | None
    """Positions of the answered requests when they are not start, start + 1, …"""
    outputs: Sequence[tuple[bytes, bytes, bytes]]
    """(packed int64 shape of one request, raw bytes, packed uint32 lengths or empty) of each wanted output."""
    queue_microseconds: int
    compute_microseconds: int
    execution_rows: int

    def positions(self) -> Sequence[int]:
        """Return the positions of the answered requests in their chunk."""
        return range(self.start, self.start + self.count) if self.indices is None else self.indices


class ChunkContext(Protocol):
    """What the sender of a chunk keeps with it."""

    @property
    def deployment(self) -> Deployment:
        """The deployment that is to answer."""
        ...

    def part(self, positions: Sequence[int]) -> ChunkContext:
        """Return the context of the requests at `positions` alone, renumbered from 0 in this order."""
        ...


class ChunkSink(Protocol):
    """Who wants to know what became of a chunk. Every position is reported exactly once, by one of the two."""

    def answered(self, chunk: Chunk, answer: Answered, released: Sequence[int] | None) -> None:
        """Take answers; `released` lists the offsets within the answer that are still open, None when all are."""
        ...

    def failed(self, chunk: Chunk, positions: Sequence[int], error: ServingError) -> None:
        """Take a failure of the requests at `positions`."""
        ...


class Chunk:
    """Requests that travel together."""

    __slots__ = (
        "attempts",
        "chunk_id",
        "columns",
        "context",
        "deadlines",
        "deaths",
        "earliest_deadline",
        "is_idempotent",
        "lane",
        "left",
        "priority_class",
        "priority_level",
        "rank",
        "refusals",
        "released",
        "replica_id",
        "sent_at",
        "sink",
        "size",
        "template",
        "tenants",
        "traces",
        "try_until",
    )

    def __init__(
        self, sink: ChunkSink, template: Template, context: ChunkContext, *, priority_class: int = 1, priority_level: int = 0
    ) -> None:
        """Open an empty chunk; requests are added by `add`, then `seal` closes it."""
        self.sink = sink
        self.template = template
        self.context = context
        self.priority_class = priority_class
        self.priority_level = priority_level
        # A lower rank is served first; level 0, the model's default, counts as the one that it means.
        self.rank = priority_class << 32 | (priority_level or context.deployment.default_priority_level)
        self.columns: list[list[bytes]] = [[] for _ in template.input_positions]
        self.deadlines: list[float] = []
        self.tenants: list[int] = []
        self.traces: list[tuple[int, str]] = []
        self.earliest_deadline = NO_DEADLINE
        self.is_idempotent = True
        self.attempts = 0
        self.refusals = 0
        self.deaths = 0
        """Workers that crashed while they executed it."""
        self.chunk_id = 0
        self.replica_id = 0
        self.lane: Lane | None = None
        self.sent_at = 0.0
        self.try_until = NO_DEADLINE
        self.size = 0
        self.left = 0
        self.released = bytearray()

    def seal(self) -> None:
        """Fix the number of requests; call once, after the last one was added."""
        self.size = self.left = len(self.deadlines)
        self.released = bytearray(self.size)
        self.earliest_deadline = min(self.deadlines, default=NO_DEADLINE)

    @property
    def rows_left(self) -> int:
        """Rows whose requests are not released yet."""
        return self.left * self.template.rows

    def take(self, position: int) -> bool:
        """Release one request; False when it was released before or does not exist."""
        if not self.is_open(position):
            return False
        self.released[position] = 1
        self.left -= 1
        return True

    def is_open(self, position: int) -> bool:
        """Whether a request exists and is not released."""
        return 0 <= position < self.size and not self.released[position]

    def take_range(self, positions: Sequence[int]) -> Sequence[int] | None:
        """Release many requests; return the offsets in `positions` that were still open, or None when all were.

        The common case, a whole chunk answered at once with nothing released before, costs one comparison.
        """
        if len(positions) == self.size == self.left and isinstance(positions, range):
            self.left = 0
            self.released = bytearray(b"\x01") * self.size
            return None
        open_offsets = [offset for offset, position in enumerate(positions) if self.take(position)]
        return None if len(open_offsets) == len(positions) else open_offsets

    def part(self, positions: Sequence[int]) -> Chunk:
        """Move the requests at `positions` to a new sealed chunk; here they count as released."""
        part = Chunk(
            self.sink,
            self.template,
            self.context.part(positions),
            priority_class=self.priority_class,
            priority_level=self.priority_level,
        )
        part.attempts = self.attempts
        part.refusals = self.refusals
        part.deaths = self.deaths
        part.is_idempotent = self.is_idempotent
        part.columns = [[column[position] for position in positions] for column in self.columns]
        part.deadlines = [self.deadlines[position] for position in positions]
        part.tenants = [self.tenants[position] for position in positions] if self.tenants else []
        renumbered = {position: index for index, position in enumerate(positions)}
        part.traces = [(renumbered[position], trace) for position, trace in self.traces if position in renumbered]
        part.seal()
        for position in positions:
            self.take(position)
        return part

    def wait_until(self, position: int, deadline: float) -> None:
        """Let a request end at another deadline, in a chunk that is sealed; a worker that has it goes by the one that it was told."""
        self.deadlines[position] = deadline
        self.earliest_deadline = min(self.earliest_deadline, deadline)

    def open_positions(self) -> list[int]:
        """Return the positions that are not released."""
        return [position for position, released in enumerate(self.released) if not released]

    def expired_positions(self, now: float) -> list[int]:
        """Return the open positions whose deadline has passed, and look up the next deadline."""
        expired: list[int] = []
        earliest = NO_DEADLINE
        for position, deadline in enumerate(self.deadlines):
            if self.released[position]:
                continue
            if deadline <= now:
                expired.append(position)
            elif deadline < earliest:
                earliest = deadline
        self.earliest_deadline = earliest
        return expired
