"""Metrics of a server far away, over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, generate_latest

from services.chassis.metrics import Asked, CounterFamily, GaugeFamily, HistogramFamily, registry


def prometheus_text(shown: CollectorRegistry) -> str:
    return generate_latest(shown).decode()


@dataclass
class FarMetrics:
    """Counts `step` requests of one millisecond between two looks."""

    step: int = 0
    status: int = 200
    looks: int = 0
    address: str = ""
    redis: dict[str, int] = field(default_factory=dict)
    """Gauges about Redis, of all routers together."""

    def __post_init__(self) -> None:
        self.requests = CounterFamily("penstock_requests", "Requests.", ("model", "version", "tenant", "code"))
        self.latency = HistogramFamily("penstock_request_duration_seconds", "Latency.", ("model", "version"))
        self.links = GaugeFamily("penstock_link_up", "Links.", ("worker",))
        self.links.of("worker-0").value = 1

    def text(self) -> str:
        self.looks += 1
        self.requests.of("doubling", "2", "a", "OK").value += self.step
        self.latency.of("doubling", "2").add(1000, self.step)
        of_redis = [Asked(name, "About Redis.", lambda value=value: value) for name, value in self.redis.items()]
        return prometheus_text(registry(self.requests, self.latency, self.links, *of_redis))


@contextmanager
def serving_metrics(metrics: FarMetrics) -> Generator[FarMetrics]:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = metrics.text().encode() if self.path == "/metrics" else b""
            self.send_response(metrics.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        metrics.address = f"127.0.0.1:{server.server_address[1]}"
        try:
            yield metrics
        finally:
            server.shutdown()
            thread.join()
