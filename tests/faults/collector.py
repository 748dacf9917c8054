"""`python -m tests.faults.collector PORT FILE`: takes spans as OpenTelemetry's collector does, and writes how many it has into a file.

A process of its own, so that it can be stopped, killed and started again at the same port.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from tests.faults.world import REPO

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"


class Collector:
    """A collector that can be killed and stopped; enter it to have one, started by `start`."""

    def __init__(self, port: int, folder: Path) -> None:
        """Store where it listens and writes."""
        self.port = port
        self._count = folder / "spans"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def spans(self) -> int:
        """Spans that the present life has taken."""
        with suppress(FileNotFoundError):
            return int(self._count.read_text() or 0)
        return 0

    def start(self) -> None:
        """Begin a life."""
        self._count.unlink(missing_ok=True)
        command = [sys.executable, "-m", "tests.faults.collector", str(self.port), str(self._count)]
        self._process = subprocess.Popen(command, cwd=REPO, env={**os.environ, "PYTHONPATH": str(REPO)})

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the present life, a stopped one, too."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _serve(port: int, file: Path) -> None:
    lock, taken = threading.Lock(), 0

    def export(request: Any, _context: grpc.ServicerContext) -> Any:
        nonlocal taken
        with lock:
            taken += sum(len(scope.spans) for resource in request.resource_spans for scope in resource.scope_spans)
            staged = file.with_suffix(".new")
            staged.write_text(str(taken))
            staged.rename(file)
        return ExportTraceServiceResponse()

    method = grpc.unary_unary_rpc_method_handler(export, ExportTraceServiceRequest.FromString, ExportTraceServiceResponse.SerializeToString)
    server = grpc.server(ThreadPoolExecutor(2), options=(("grpc.so_reuseport", 0),))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": method}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), Path(sys.argv[2]))
