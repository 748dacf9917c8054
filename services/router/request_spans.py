"""Begins the spans of requests as they enter chunks."""

from __future__ import annotations

from services.chassis.trace_context import SpanContext
from services.mesh.chunk import Chunk
from services.router.calls import Calls
from services.router.tracing import RequestTracer


def begin_span(tracer: RequestTracer, chunk: Chunk, calls: Calls, traceparent: str | None) -> None:
    """Begin the span of the request that was entered last, when it is sampled."""
    span = tracer.begin(traceparent)
    if span is not None:
        note_span(chunk, calls, len(calls.call_ids) - 1, span)


def note_span(chunk: Chunk, calls: Calls, position: int, span: SpanContext) -> None:
    """Let the request at a position of its chunk carry a span that has begun."""
    chunk.traces.append((position, span.traceparent))
    calls.spans = calls.spans or {}
    calls.spans[position] = span
