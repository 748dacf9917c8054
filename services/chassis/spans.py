"""Finished spans as values, in the names of OpenTelemetry's semantic conventions. Pure: times come from the caller.

    server span                 the call at the router; events REQUEST_START … REQUEST_END as in Triton's OpenTelemetry mode
      └─ queue span             the wait in the worker's queue
    batch span                  one execution, in a trace of its own, linked to the server span of every sampled member: the conventions'
                                answer to fan-in, since a span has one parent and an execution many

RPC names are the stable ones (`rpc.system.name`, a fully qualified `rpc.method`, `rpc.response.status_code`), not the older
`rpc.system` and `rpc.service`. What is specific to this house starts with `penstock.`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from random import Random

from services.chassis.trace_context import SpanContext, new_span_id, new_trace_id

Attributes = Mapping[str, str | bool | int | float]
Interval = tuple[float, float]
"""Start and end, in monotonic seconds."""

REQUEST_START = "REQUEST_START"
QUEUE_START = "QUEUE_START"
COMPUTE_START = "COMPUTE_START"
COMPUTE_END = "COMPUTE_END"
REQUEST_END = "REQUEST_END"


class SpanKind(IntEnum):
    """Part of a span in its trace; values of the OpenTelemetry API."""

    INTERNAL = 0
    SERVER = 1
    CLIENT = 2


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened at one instant of a span, in monotonic seconds."""

    name: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A span that is over."""

    name: str
    context: SpanContext
    interval: Interval
    kind: SpanKind = SpanKind.INTERNAL
    attributes: Attributes = field(default_factory=dict[str, str])
    events: tuple[SpanEvent, ...] = ()
    links: tuple[SpanContext, ...] = ()
    error: str | None = None
    """Why the work failed, for example a reason of the error table; None when it did not."""


def rpc_attributes(method: str, status: str) -> dict[str, str]:
    """Return the attributes of a gRPC call.

    Args:
        method: fully qualified, for example `inference.GRPCInferenceService/ModelInfer`.
        status: name of the gRPC status, for example `OK`.
    """
    return {"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": status}


def http_attributes(method: str, route: str, status: int) -> dict[str, str | int]:
    """Return the attributes of an HTTP call; `route` is the template, such as `/v2/models/{model}/infer`."""
    return {"http.request.method": method, "http.route": route, "http.response.status_code": status}


def model_attributes(model: str, version: str) -> dict[str, str]:
    """Return the attributes that name what was asked."""
    return {"penstock.model.name": model, "penstock.model.version": version}


def server_span(context: SpanContext, name: str, interval: Interval, attributes: Attributes, error: str | None = None) -> Span:
    """Return the span of a call at the router; its name is the RPC's method, or HTTP method and route."""
    events = (SpanEvent(REQUEST_START, interval[0]), SpanEvent(REQUEST_END, interval[1]))
    return Span(name=name, context=context, interval=interval, kind=SpanKind.SERVER, attributes=attributes, events=events, error=error)


def queue_span(caller: SpanContext, ids: Random, interval: Interval, attributes: Attributes) -> Span:
    """Return the span of a wait in the queue, below the call's span."""
    return Span(
        name="penstock.worker.queue",
        context=caller.child(ids),
        interval=interval,
        attributes=attributes,
        events=(SpanEvent(QUEUE_START, interval[0]), SpanEvent(COMPUTE_START, interval[1])),
    )


def batch_span(members: Sequence[SpanContext], ids: Random, interval: Interval, attributes: Attributes, error: str | None = None) -> Span:
    """Return the span of one execution, linked to its sampled members."""
    return Span(
        name="penstock.worker.batch",
        context=SpanContext(new_trace_id(ids), new_span_id(ids)),
        interval=interval,
        attributes={**attributes, "penstock.batch.sampled_requests": len(members)},
        events=(SpanEvent(COMPUTE_START, interval[0]), SpanEvent(COMPUTE_END, interval[1])),
        links=tuple(members),
        error=error,
    )
