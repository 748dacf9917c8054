"""Spans of executions that traced requests were part of."""

from __future__ import annotations

from services.chassis.spans import batch_span, model_attributes, queue_span
from services.chassis.telemetry import Telemetry
from services.chassis.trace_context import SpanContext, parse_traceparent
from services.worker.tracing import TracedExecution


class SpanTracer:
    """Makes a queue span for each traced request and one batch span that is linked to all of them."""

    def __init__(self, telemetry: Telemetry) -> None:
        """Store where spans go."""
        self._telemetry = telemetry

    def executed(self, execution: TracedExecution) -> None:
        """Hand over the spans of an execution; requests whose traceparent is not valid have none."""
        ids, attributes = self._telemetry.ids, model_attributes(execution.model, execution.version)
        members: list[SpanContext] = []
        for request in execution.requests:
            parent = parse_traceparent(request.traceparent)
            if parent is None or not parent.is_sampled:
                continue
            caller = SpanContext(parent.trace_id, parent.span_id)
            members.append(caller)
            self._telemetry.emit(queue_span(caller, ids, (request.arrived_at, execution.started_at), attributes))
        if members:
            interval = (execution.started_at, execution.ended_at)
            self._telemetry.emit(batch_span(members, ids, interval, {**attributes, "penstock.batch.rows": execution.rows}))
