"""A traced request gets a span for its wait, and an execution one that is linked to all of its traced requests."""

from __future__ import annotations

from services.chassis.spans import Span
from services.chassis.telemetry import Telemetry
from services.chassis.trace_context import SpanContext
from services.worker.execution_spans import SpanTracer
from services.worker.tracing import TracedExecution, TracedRequest


class Recording(Telemetry):
    """Keeps the spans."""

    def __init__(self) -> None:
        super().__init__("worker", {})
        self.spans: list[Span] = []

    def emit(self, span: Span) -> None:
        self.spans.append(span)


def execution(*traceparents: str) -> TracedExecution:
    requests = tuple(TracedRequest(traceparent=one, arrived_at=float(number)) for number, one in enumerate(traceparents))
    return TracedExecution(model="m", version="1", started_at=10.0, ended_at=11.0, rows=4, requests=requests)


def test_waits_end_where_the_execution_begins_and_the_execution_knows_its_members():
    telemetry, callers = Recording(), [SpanContext(1, 2), SpanContext(3, 4)]

    SpanTracer(telemetry).executed(execution(*(caller.traceparent for caller in callers)))

    *waits, batch = telemetry.spans
    assert [(wait.interval, wait.context.trace_id, wait.context.parent_span_id) for wait in waits] == [
        ((0.0, 10.0), 1, 2),
        ((1.0, 10.0), 3, 4),
    ]
    assert (batch.interval, batch.links, batch.attributes["penstock.batch.rows"]) == ((10.0, 11.0), tuple(callers), 4)
    assert batch.context.trace_id not in (1, 3)


def test_what_is_not_sampled_or_not_valid_makes_no_span():
    telemetry = Recording()

    SpanTracer(telemetry).executed(execution("nonsense", SpanContext(1, 2).traceparent.removesuffix("01") + "00"))

    assert telemetry.spans == []
