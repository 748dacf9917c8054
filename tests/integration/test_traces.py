"""A sampled call leaves a server span, a queue span below it, and the span of its batch linked to it, at a real OTLP collector."""

from __future__ import annotations

import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from penstock import Client
from tests.flows.models import write_repository
from tests.flows.serving import Served, serving

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.lock = threading.Lock()
        self.server = grpc.server(ThreadPoolExecutor(4))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self, self.server)
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def Export(self, request, context):
        with self.lock:
            self.spans += [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
        return trace_service_pb2.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Span]:
        with self.lock:
            return [span for span in self.spans if span.name == name]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.server.stop(0).wait()


@pytest.fixture
def served(collector: Collector, short_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_INSECURE", "true")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    assert os.environ["OTEL_TRACES_SAMPLER"] == "parentbased_always_off"
    with serving(short_dir, write_repository(tmp_path / "models")) as running:
        yield running


def until(condition, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_sampled_call_is_traced_through_router_queue_and_batch(served: Served, collector: Collector):
    with Client(served.grpc) as client:
        client.predict("echo", {"x": np.ones((1, 4), np.float32)}, traceparent=UNSAMPLED)
        client.predict("echo", {"x": np.ones((1, 4), np.float32)}, traceparent=SAMPLED)
    until(lambda: all(collector.named(name) for name in ("penstock.worker.queue", "penstock.worker.batch")))
    until(lambda: bool(collector.named("inference.GRPCInferenceService/ModelInfer")))
    (server,) = collector.named("inference.GRPCInferenceService/ModelInfer")
    (queue,) = collector.named("penstock.worker.queue")
    (batch,) = collector.named("penstock.worker.batch")

    assert server.trace_id.hex() == SAMPLED.split("-")[1]
    assert server.parent_span_id.hex() == SAMPLED.split("-")[2]
    assert (queue.trace_id, queue.parent_span_id) == (server.trace_id, server.span_id)
    assert [link.span_id for link in batch.links] == [server.span_id]
    attributes = {one.key: one.value.string_value for one in server.attributes}
    assert attributes["rpc.response.status_code"] == "OK"
    assert attributes["penstock.model.name"] == "echo"
    assert server.start_time_unix_nano <= queue.start_time_unix_nano <= queue.end_time_unix_nano <= server.end_time_unix_nano


def test_a_sampled_call_is_the_exemplar_of_its_latency(served: Served):
    with Client(served.grpc) as client:
        client.predict("echo", {"x": np.ones((1, 4), np.float32)}, traceparent=SAMPLED)
    asked = urllib.request.Request(
        f"http://{served.record['metrics']}/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"}
    )
    with urllib.request.urlopen(asked, timeout=5) as response:
        lines = response.read().decode().splitlines()
    exemplars = [line for line in lines if line.startswith("penstock_request_duration_seconds_bucket") and " # {" in line]

    assert len(exemplars) == 1
    assert f'trace_id="{SAMPLED.split("-")[1]}"' in exemplars[0]
    assert any(line.startswith('nv_inference_request_success{model="echo",version="1"} 1') for line in lines)
    assert lines[-1] == "# EOF"
