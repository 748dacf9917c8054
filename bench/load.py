"""The load generator: h2load on a core of its own, with per-request latencies from its log."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 4
GENERATOR_CORE = 1
_TOTALS = re.compile(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed")
_FINISHED = re.compile(r"finished in ([\d.]+)(s|ms)")


class NoGenerator(Exception):
    """h2load is not there and cannot be installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcLoad:
    """A closed loop of unary calls: as soon as one is answered, the next is sent."""

    port: int
    body: Path
    """gRPC message with its five-byte prefix."""
    in_flight: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one load saw."""

    requests: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float


def ensure_h2load() -> Path:
    """Return h2load, installed from Debian's packages where that is possible.

    Raises:
        NoGenerator: with what to do.
    """
    found = shutil.which("h2load")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "nghttp2-client"], check=False, capture_output=True)
        found = shutil.which("h2load")
    if found is None:
        raise NoGenerator("h2load is needed: install the package nghttp2-client (apt-get install nghttp2-client)")
    return Path(found)


def warm_up(h2load: Path, load: GrpcLoad) -> None:
    """Run a short load that is not measured."""
    _run(h2load, load, seconds=0.3)


def measure(h2load: Path, load: GrpcLoad) -> Run:
    """Run one load and return its figures."""
    return _run(h2load, load, seconds=load.seconds)


def _run(h2load: Path, load: GrpcLoad, *, seconds: float) -> Run:
    with tempfile.NamedTemporaryFile(prefix="h2load-") as log:
        command = [
            *([shutil.which("taskset") or "taskset", "-c", str(GENERATOR_CORE)] if (os.cpu_count() or 1) > 1 else []),
            *[str(h2load), "-c", str(CONNECTIONS), "-m", str(max(load.in_flight // CONNECTIONS, 1)), "-t", "1"],
            *["-D", f"{int(seconds * 1000)}ms", "-d", str(load.body), "--log-file", log.name],
            *["-H", "content-type: application/grpc", "-H", "te: trailers", "-H", "grpc-timeout: 10S"],
            f"http://127.0.0.1:{load.port}/inference.GRPCInferenceService/ModelInfer",
        ]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=seconds + 60)
        latencies = sorted(int(line.split()[2]) for line in Path(log.name).read_text().splitlines())
    totals = _TOTALS.search(done.stdout)
    if totals is None or not latencies:
        raise SystemExit(f"h2load said nothing that can be read:\n{done.stdout}{done.stderr}")
    return Run(
        requests=len(latencies),
        failed=int(totals[4]),
        seconds=seconds,
        p50_ms=latencies[len(latencies) // 2] / 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] / 1000,
    )
