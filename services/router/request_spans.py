"""Begins the spans of requests as they enter chunks."""

from __future__ import annotations

from services.mesh.chunk import Chunk
from services.router.calls import Calls
from services.router.tracing import RequestTracer


def begin_span(tracer: RequestTracer, chunk: Chunk, calls: Calls, traceparent: str | None) -> None:
    """Begin the span of the request that was entered last, when it is sampled."""
    span = tracer.begin(traceparent)
    if span is not None:
        position = len(calls.call_ids) - 1
        chunk.traces.append((position, span.traceparent))
        calls.spans = calls.spans or {}
        calls.spans[position] = span
