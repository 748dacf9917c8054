"""Traces, set up by OpenTelemetry's standard environment and nothing else.

    OTEL_EXPORTER_OTLP_ENDPOINT, …_TRACES_ENDPOINT    where spans go; without one nothing is exported and no library is loaded
    OTEL_TRACES_SAMPLER, OTEL_TRACES_SAMPLER_ARG      what is traced (`sampling`)
    OTEL_BSP_MAX_QUEUE_SIZE, …_MAX_EXPORT_BATCH_SIZE, …_SCHEDULE_DELAY, OTEL_RESOURCE_ATTRIBUTES, OTEL_SERVICE_NAME,
    OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER           as the specification says

Spans are handed over when they are over, as values, and wait in a bounded buffer for a thread that exports them. A collector that is
slow or away costs spans, which are counted, and never a request.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import threading
import time
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import structlog

from services.chassis.sampling import Sampler, SamplingRule, rule_from
from services.chassis.spans import Span

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter

CLOSE_SECONDS = 2.0
"""Longest wait for the last spans when a process ends."""

_EXPORTERS = {
    "grpc": "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http.trace_exporter",
}

log = structlog.get_logger(__name__)


class Telemetry:
    """Decides what is traced and takes the spans of it."""

    def __init__(self, service: str, environment: Mapping[str, str]) -> None:
        """Store the arguments; settings that cannot be used are logged and left out, as the specification asks."""
        self._service = service
        self._environment = environment
        self.is_exporting = _has_exporter(environment)
        """Whether spans go anywhere."""
        self.ids = Random(os.urandom(16))
        """Source of span ids."""
        self.sampler = Sampler(_rule(environment, has_exporter=self.is_exporting), self.ids)
        """Decides which calls are traced."""
        self.dropped = 0
        """Spans lost because the buffer was full or the collector refused them."""
        self.exported = 0
        """Spans that the collector took."""
        self._limit = _number(environment, "OTEL_BSP_MAX_QUEUE_SIZE", 2048)
        self._batch = min(_number(environment, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512), self._limit)
        self._delay_seconds = _number(environment, "OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000
        self._spans: deque[Span] = deque()
        self._wake = threading.Event()
        self._is_closing = False
        self._exporter: SpanExporter | None = None
        self._thread = threading.Thread(target=self._export_all, name="span-export", daemon=True)

    def emit(self, span: Span) -> None:
        """Take a span that is over; drops and counts it when the buffer is full. Safe from any thread, never waits."""
        if not self.is_exporting:
            return
        if len(self._spans) >= self._limit:
            self.dropped += 1
            return
        self._spans.append(span)
        if len(self._spans) >= self._batch:
            self._wake.set()

    def start(self) -> None:
        """Begin to export, when there is somewhere to export to."""
        if self.is_exporting:
            self._thread.start()

    def close(self) -> None:
        """Export what waits, for at most CLOSE_SECONDS."""
        if not self.is_exporting:
            return
        self._is_closing = True
        self._wake.set()
        self._thread.join(CLOSE_SECONDS / 2)
        if self._thread.is_alive() and self._exporter is not None:
            self._exporter.shutdown()  # ends its retries
            self._thread.join(CLOSE_SECONDS / 2)

    def _export_all(self) -> None:
        # The libraries are loaded here: a process does not start later because it is traced.
        try:
            self._exporter = _exporter(self._environment)
            resource = _resource(self._service)
        except Exception:
            self.is_exporting = False
            log.exception("telemetry_unavailable")
            return
        is_last = False
        while not is_last:
            is_last = self._is_closing or (self._wake.wait(self._delay_seconds) and self._is_closing)
            self._wake.clear()
            while self._spans:
                self._export(self._exporter, [self._spans.popleft() for _ in range(min(len(self._spans), self._batch))], resource)
        self._exporter.shutdown()

    def _export(self, exporter: SpanExporter, spans: list[Span], resource: Resource) -> None:
        from opentelemetry.sdk.trace.export import SpanExportResult  # noqa: PLC0415  loaded only by a process that is traced

        try:
            result = exporter.export(readable(spans, resource))
        except Exception:
            log.exception("span_export_failed", spans=len(spans))
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
        else:
            self.dropped += len(spans)


@asynccontextmanager
async def started(service: str, environment: Mapping[str, str] | None = None) -> AsyncGenerator[Telemetry]:
    """Take spans until the block ends, then export what is left."""
    telemetry = Telemetry(service, os.environ if environment is None else environment)
    telemetry.start()
    try:
        yield telemetry
    finally:
        await asyncio.to_thread(telemetry.close)


def readable(spans: Sequence[Span], resource: Resource) -> list[ReadableSpan]:
    """Translate spans for OpenTelemetry's exporters; monotonic instants become wall times by what the clocks show now."""
    from opentelemetry import trace  # noqa: PLC0415  as above
    from opentelemetry.sdk.trace import Event, ReadableSpan  # noqa: PLC0415  as above
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415  as above

    offset = time.time() - time.monotonic()
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    scope = InstrumentationScope("penstock")

    def nanoseconds(at: float) -> int:
        return int((at + offset) * 1e9)

    def context(trace_id: int, span_id: int) -> trace.SpanContext:
        return trace.SpanContext(trace_id, span_id, is_remote=False, trace_flags=flags)

    return [
        ReadableSpan(
            name=span.name,
            context=context(span.context.trace_id, span.context.span_id),
            parent=context(span.context.trace_id, span.context.parent_span_id) if span.context.parent_span_id else None,
            resource=resource,
            attributes=span.attributes if span.error is None else {**span.attributes, "error.type": span.error},
            events=[Event(event.name, timestamp=nanoseconds(event.at)) for event in span.events],
            links=[trace.Link(context(link.trace_id, link.span_id)) for link in span.links],
            kind=trace.SpanKind(span.kind),
            status=trace.Status(trace.StatusCode.UNSET if span.error is None else trace.StatusCode.ERROR),
            start_time=nanoseconds(span.interval[0]),
            end_time=nanoseconds(span.interval[1]),
            instrumentation_scope=scope,
        )
        for span in spans
    ]


def _has_exporter(environment: Mapping[str, str]) -> bool:
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() not in {"", "otlp"}:
        return False
    return bool(environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"))


def _rule(environment: Mapping[str, str], *, has_exporter: bool) -> SamplingRule:
    try:
        return rule_from(environment, has_exporter=has_exporter)
    except ValueError as error:
        log.warning("telemetry_setting_ignored", reason=str(error))
        return rule_from({}, has_exporter=has_exporter)


def _number(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    if not text.isdecimal() or int(text) == 0:
        log.warning("telemetry_setting_ignored", reason=f"{name}={text} is no positive number")
        return default
    return int(text)


def _exporter(environment: Mapping[str, str]) -> SpanExporter:
    protocol = environment.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environment.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"
    module: Any = importlib.import_module(_EXPORTERS[protocol])
    return module.OTLPSpanExporter()


def _resource(service: str) -> Resource:
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415  as above

    ours = Resource(
        {
            "service.name": f"penstock-{service}",
            "service.namespace": "penstock",
            "service.instance.id": f"{service}-{os.getpid()}",
            "process.pid": os.getpid(),
        }
    )
    return ours.merge(OTELResourceDetector().detect())
