"""Spans on their way to a real collector."""

from __future__ import annotations

import queue
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import structlog

from services.chassis import telemetry
from services.chassis.spans import batch_span, model_attributes, queue_span, rpc_attributes, server_span
from services.chassis.trace_context import SpanContext

IDS = random.Random(7)
CALLER = SpanContext(0xABC, 0xDEF, 0x123)
METHOD = "inference.GRPCInferenceService/ModelInfer"


class Collector:
    """A gRPC server with the one method that OTLP calls for traces."""

    def __init__(self) -> None:
        self.requests: queue.Queue = queue.Queue()
        self.refuse = False
        self._server = grpc.server(ThreadPoolExecutor(2))
        service = "opentelemetry.proto.collector.trace.v1.TraceService"
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": self._method()}),))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def _method(self):
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

        def export(request, context):
            if self.refuse:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "refused")
            self.requests.put(request)
            return ExportTraceServiceResponse()

        return grpc.unary_unary_rpc_method_handler(
            export, ExportTraceServiceRequest.FromString, ExportTraceServiceResponse.SerializeToString
        )

    def spans(self) -> dict:
        """Return the spans of the next export by name."""
        [resource] = self.requests.get(timeout=20).resource_spans
        self.resource = {entry.key: entry.value.string_value for entry in resource.resource.attributes}
        return {span.name: span for scope in resource.scope_spans for span in scope.spans}

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "5")
    yield collector
    collector.stop()


async def test_spans_arrive_with_their_tree_times_links_and_names(collector: Collector):
    now = time.monotonic()
    async with telemetry.started("router") as traces:
        traces.emit(server_span(CALLER, METHOD, (now - 0.5, now), {**rpc_attributes(METHOD, "OK"), **model_attributes("digits", "2")}))
        traces.emit(queue_span(CALLER, IDS, (now - 0.4, now - 0.3), model_attributes("digits", "2")))
        traces.emit(batch_span([CALLER], IDS, (now - 0.3, now - 0.1), {"penstock.batch.rows": 8}, error="EXECUTION_FAILED"))

    spans = collector.spans()
    server, wait, batch = spans[METHOD], spans["penstock.worker.queue"], spans["penstock.worker.batch"]
    assert (int.from_bytes(server.trace_id), int.from_bytes(server.span_id)) == (0xABC, 0xDEF)
    assert int.from_bytes(server.parent_span_id) == 0x123
    assert server.kind == server.SPAN_KIND_SERVER
    assert [event.name for event in server.events] == ["REQUEST_START", "REQUEST_END"]
    assert server.end_time_unix_nano - server.start_time_unix_nano == pytest.approx(5e8, rel=1e-3)
    assert server.end_time_unix_nano == pytest.approx(time.time_ns(), abs=5e9)
    attributes = {entry.key: entry.value.string_value for entry in server.attributes}
    assert attributes["rpc.system.name"] == "grpc"
    assert attributes["rpc.method"] == METHOD
    assert attributes["rpc.response.status_code"] == "OK"
    assert wait.parent_span_id == server.span_id
    assert batch.trace_id != server.trace_id
    assert [link.span_id for link in batch.links] == [server.span_id]
    assert batch.status.code == batch.status.STATUS_CODE_ERROR
    assert collector.resource["service.name"] == "penstock-router"
    assert traces.exported == 3


async def test_the_environment_may_rename_the_service(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    async with telemetry.started("router") as traces:
        traces.emit(server_span(CALLER, METHOD, (0.0, 1.0), {}))

    collector.spans()
    assert collector.resource["service.name"] == "shop"


def test_a_full_buffer_drops_and_counts():
    traces = telemetry.Telemetry("router", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_MAX_QUEUE_SIZE": "10"})

    for _ in range(25):
        traces.emit(server_span(CALLER, METHOD, (0.0, 1.0), {}))

    assert traces.dropped == 15


async def test_spans_that_the_collector_refuses_are_counted(collector: Collector):
    collector.refuse = True
    async with telemetry.started("router") as traces:
        traces.emit(server_span(CALLER, METHOD, (0.0, 1.0), {}))

    assert (traces.exported, traces.dropped) == (0, 1)


async def test_a_collector_that_is_away_does_not_hold_the_process(collector: Collector):
    collector.stop()
    begun = time.monotonic()
    async with telemetry.started("router") as traces:
        traces.emit(server_span(CALLER, METHOD, (0.0, 1.0), {}))

    assert time.monotonic() - begun < telemetry.CLOSE_SECONDS + 20


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
async def test_without_somewhere_to_go_nothing_is_traced_or_started(environment):
    async with telemetry.started("router", environment) as traces:
        traces.emit(server_span(CALLER, METHOD, (0.0, 1.0), {}))

        assert not traces.is_exporting
        assert traces.sampler.should_sample(None) is None
        assert not traces._thread.is_alive()
    assert (traces.dropped, traces.exported) == (0, 0)


def test_settings_that_cannot_be_used_are_left_out_and_logged():
    with structlog.testing.capture_logs() as logs:
        traces = telemetry.Telemetry("router", {"OTEL_TRACES_SAMPLER": "nonsense", "OTEL_BSP_MAX_QUEUE_SIZE": "many"})

    assert traces.sampler.should_sample(None) is None
    assert [entry["event"] for entry in logs] == ["telemetry_setting_ignored"] * 2
