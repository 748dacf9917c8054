"""What a batcher tells about executions that traced requests were part of; nothing when none was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from services.worker.work import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedRequest:
    """One traced request of an execution."""

    traceparent: str
    """W3C traceparent of the span that waits for the answer."""
    arrived_at: float
    """Start of its wait, in monotonic seconds; the execution's start is the end of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedExecution:
    """An execution with at least one traced request; instants in monotonic seconds."""

    model: str
    version: str
    started_at: float
    ended_at: float
    rows: int
    requests: tuple[TracedRequest, ...]


class ExecutionTracer(Protocol):
    """Makes spans: a wait for each traced request and one execution linked to all of them."""

    def executed(self, execution: TracedExecution) -> None:
        """Record an execution; called on the event loop."""
        ...


def traced_requests(parts: Sequence[Part]) -> tuple[TracedRequest, ...]:
    """Return the traced requests among those of a batch."""
    return tuple(
        TracedRequest(traceparent=traceparent, arrived_at=part.work.arrived_at)
        for part in parts
        if part.work.traces
        for position, traceparent in part.work.traces
        if position in part.positions
    )
