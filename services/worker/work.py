"""What the worker does: a chunk of requests as it waits, runs and is answered, and the ports at both of its ends.

A chunk is never taken apart into requests. Its `Work` names requests by position; whoever holds some of them holds a `range` or a
list of positions, so that the common path (everything equal, nothing expired) costs the same for 1 request and for 64.

Values that are made once a chunk or once a batch are plain slots classes, nobody changes them: a frozen dataclass takes three times
as long to make, and a wave of one request makes a dozen of them (75 µs a wave with frozen ones, November 2026).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol

import numpy as np

from penstock.contracts.errors import ServingError
from penstock.contracts.tensors import DataType

NO_DEADLINE = float("inf")


class PriorityClass(IntEnum):
    """Scheduling class, lower first; the value is its number on the link."""

    ONLINE = 1
    STREAM = 2
    BULK = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateInput:
    """One input of every request that shares a template."""

    name: str
    datatype: DataType
    shape: tuple[int, ...]
    """Shape of one request's tensor, batch dimension included."""
    request_bytes: int | None
    """Bytes of one request's tensor; None for BYTES."""
    dtype: np.dtype[Any] = field(init=False)
    """NumPy's type of the datatype."""
    is_text: bool = field(init=False)
    """Whether it is BYTES."""
    is_checked: bool = field(init=False)
    """Whether there are bytes that are no value of the datatype."""

    def __post_init__(self) -> None:
        """Look up once what every batch asks for: hashing an enum's member is Python code."""
        object.__setattr__(self, "dtype", self.datatype.dtype)
        object.__setattr__(self, "is_text", self.datatype is DataType.BYTES)
        object.__setattr__(self, "is_checked", self.datatype is DataType.BOOL)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Template:
    """What all requests of a chunk have in common; checked against the signature once."""

    inputs: tuple[TemplateInput, ...]
    outputs: tuple[int, ...]
    """Positions of the wanted outputs in the signature."""
    rows: int
    """Rows of one request, at least 1; 1 for models without a batch dimension."""
    group: Hashable
    """Requests of equal groups may run in one execution, whatever their rows."""


@dataclass(slots=True, eq=False)
class Column:
    """One input's bytes of all requests of a chunk, one after the other."""

    raw: bytes | memoryview
    """A view where it is large and stays in the frame that it came in."""
    ends: Sequence[int] | None
    """End of each request's share in `raw`; None when all shares are equal."""
    size: int
    """Bytes of each request's share when all are equal."""

    def of(self, positions: Sequence[int]) -> list[bytes | memoryview]:
        """Return the shares of `positions`, joined where they are neighbours and equal."""
        if self.ends is not None:
            return [self.one(position) for position in positions]
        raw, size = self.raw, self.size
        if type(positions) is range:
            if len(positions) * size == len(raw):
                return [raw]
            return [raw[positions.start * size : positions.stop * size]]
        return [raw[position * size : (position + 1) * size] for position in positions]

    def one(self, position: int) -> bytes | memoryview:
        """Return one request's share."""
        if self.ends is None:
            return self.raw[position * self.size : (position + 1) * self.size]
        return self.raw[self.ends[position - 1] if position else 0 : self.ends[position]]


@dataclass(slots=True, eq=False, kw_only=True)
class Work:
    """A chunk in the worker. Mutable in one respect only: `left` and `waiting`, which say what is still owed."""

    chunk_id: int
    count: int
    template: Template
    columns: tuple[Column, ...]
    """In the order of `template.inputs`."""
    sink: AnswerSink
    arrived_at: float
    priority_class: PriorityClass = PriorityClass.ONLINE
    priority_level: int = 0
    """1 is the highest; 0 means the model's default."""
    deadlines: Sequence[float] | None = None
    """Of each request, in monotonic seconds of this process, NO_DEADLINE for none; None when no request has one."""
    tenants: Sequence[int] | None = None
    """Of each request; None when they all belong to `tenant`."""
    tenant: int = 0
    mark: int = 0
    """Names the chunk in the black box; 0 when nobody will ask for it there."""
    traces: tuple[tuple[int, str], ...] = ()
    """(position, traceparent) of each traced request."""
    earliest_deadline: float = field(init=False)
    latest_deadline: float = field(init=False)
    rows: int = field(init=False)
    """Rows of one request."""
    payload_bytes: int = field(init=False)
    """Bytes of all inputs."""
    row_bytes: int = field(init=False)
    """Mean bytes of one row, all inputs together; what a row of variable size costs depends on it."""
    left: int = field(init=False)
    """Requests that are neither answered, failed nor taken back; kept by the sink."""
    waiting: list[Any] = field(init=False, default_factory=list[Any])
    """Entries of the batch queue that still hold requests of this chunk; kept by the queue."""

    def __post_init__(self) -> None:
        """Measure."""
        self.left = self.count
        self.rows = self.template.rows
        deadlines = self.deadlines
        self.earliest_deadline = min(deadlines) if deadlines else NO_DEADLINE
        self.latest_deadline = max(deadlines) if deadlines else NO_DEADLINE
        self.payload_bytes = sum([len(column.raw) for column in self.columns])
        self.row_bytes = self.payload_bytes // (self.count * self.rows)


@dataclass(slots=True)
class OutputPart:
    """One output of some requests of a chunk, as it travels."""

    shape: bytes
    """Shape of one request's tensor; packed little-endian int64."""
    raw: bytes
    lengths: bytes = b""
    """Bytes of each request's share; packed little-endian uint32. Empty when all shares are equal."""


@dataclass(slots=True)
class Timing:
    """How the requests of one execution spent their time."""

    queue_microseconds: int
    compute_microseconds: int
    execution_rows: int
    waiting_rows: int = 0
    """Rows of the deployment that still waited when it ended."""


class Part:
    """Some requests of a chunk."""

    __slots__ = ("positions", "rows", "work")

    def __init__(self, work: Work, positions: Sequence[int]) -> None:
        self.work = work
        self.positions = positions
        self.rows = len(positions) * work.rows
        """Rows of all of them."""


class Batch:
    """Requests that run in one execution; their templates are of one group."""

    __slots__ = ("latest_deadline", "parts", "row_bytes", "rows")

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.rows = sum([part.rows for part in parts])
        self.row_bytes = max([part.work.row_bytes for part in parts])
        """Bytes of the longest rows: what a batch of rows of different sizes is padded to."""
        self.latest_deadline = max([part.work.latest_deadline for part in parts])
        """When nobody waits for it any more."""


class AnswerSink(Protocol):
    """Who waits for a chunk: every position of a chunk is reported exactly once, unless it was taken back before."""

    def answer(self, work: Work, positions: Sequence[int], outputs: Sequence[OutputPart], timing: Timing) -> None:
        """Take answers of the requests at `positions`; outputs are in the template's order."""
        ...

    def fail(self, work: Work, positions: Sequence[int], error: ServingError) -> None:
        """Take the failure of the requests at `positions`."""
        ...
