"""The load generators: h2load for gRPC and wrk for HTTP/1, each on a core of its own, in closed loops.

As soon as one request is answered, the next is sent: what this finds is capacity. Latency under a given rate is `open_loop`'s matter.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.bodies import GRPC_PATH, Body
from bench.trees import GENERATOR_CORE, pinned

CONNECTIONS = 4
"""HTTP/2 connections; HTTP/1 has one for each request in flight."""
WARM_UP_SECONDS = 0.3
PACKAGES = {"h2load": "nghttp2-client", "wrk": "wrk"}
_TOTALS = re.compile(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed")
_WRK_SCRIPT = """\
local file = io.open({body}, "rb")
wrk.method, wrk.body = "POST", file:read("*a")
file:close()
{headers}
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{{"requests": %d, "microseconds": %d, "failed": %d, "p50": %d, "p99": %d}}\\n', summary.requests,
    summary.duration, e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"""


class NoGenerator(Exception):
    """A generator is not there and cannot be installed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A closed loop of one request."""

    port: int
    body: Body
    in_flight: int
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Beside those of the body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one load saw."""

    requests: int
    failed: int
    seconds: float
    p50_ms: float
    p99_ms: float
    outside: int = 0
    """Requests answered before or after the measured time."""


def grpc_body(message: bytes) -> Body:
    """Return a gRPC message, its prefix included, as a body for h2load."""
    headers = {"content-type": "application/grpc", "te": "trailers", "grpc-timeout": "10S"}
    return Body(path=GRPC_PATH, content=message, headers=headers)


def ensure(name: str) -> Path:
    """Return a generator's program, installed from Debian's packages where that is possible.

    Raises:
        NoGenerator: with what to do.
    """
    found = shutil.which(name)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", PACKAGES[name]], check=False, capture_output=True)
        found = shutil.which(name)
    if found is None:
        raise NoGenerator(f"{name} is needed: install the package {PACKAGES[name]} (apt-get install {PACKAGES[name]})")
    return Path(found)


def h2load(load: Load) -> Run:
    """Run unary gRPC calls over CONNECTIONS connections; statuses in trailers are not read, so compare the server's own count."""
    connections = min(CONNECTIONS, load.in_flight)
    with tempfile.TemporaryDirectory(prefix="h2load-") as folder:
        body, log = Path(folder) / "body", Path(folder) / "log"
        body.write_bytes(load.body.content)
        headers = {**load.body.headers, **load.headers}
        command = [
            *[str(ensure("h2load")), "-c", str(connections), "-m", str(max(load.in_flight // connections, 1)), "-t", "1"],
            *["-D", f"{int(load.seconds * 1000)}ms", "-d", str(body), "--log-file", str(log)],
            *[part for name, value in headers.items() for part in ("-H", f"{name}: {value}")],
            f"http://127.0.0.1:{load.port}{load.body.path}",
        ]
        done = _run(command, load.seconds)
        latencies = sorted(int(line.split()[2]) for line in log.read_text().splitlines())
    totals = _TOTALS.search(done.stdout)
    if totals is None or not latencies:
        raise SystemExit(f"h2load said nothing that can be read:\n{done.stdout}{done.stderr}")
    return Run(
        requests=len(latencies),
        failed=int(totals[4]),
        seconds=load.seconds,
        p50_ms=latencies[len(latencies) // 2] / 1000,
        p99_ms=latencies[len(latencies) * 99 // 100] / 1000,
    )


def wrk(load: Load) -> Run:
    """Run HTTP/1 requests over as many connections as are in flight; wrk counts whole seconds."""
    with tempfile.TemporaryDirectory(prefix="wrk-") as folder:
        body, script = Path(folder) / "body", Path(folder) / "post.lua"
        body.write_bytes(load.body.content)
        headers = {**load.body.headers, **load.headers}
        lines = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(value)}" for name, value in headers.items())
        script.write_text(_WRK_SCRIPT.format(body=json.dumps(str(body)), headers=lines))
        command = [str(ensure("wrk")), "-t", "1", "-c", str(load.in_flight), "-d", f"{max(1, round(load.seconds))}s", "-s", str(script)]
        done = _run([*command, f"http://127.0.0.1:{load.port}{load.body.path}"], load.seconds)
    told = next((json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"requests"')), None)
    if not told or not told["requests"]:
        raise SystemExit(f"wrk said nothing that can be read:\n{done.stdout}{done.stderr}")
    return Run(
        requests=told["requests"],
        failed=told["failed"],
        seconds=told["microseconds"] / 1e6,
        p50_ms=told["p50"] / 1000,
        p99_ms=told["p99"] / 1000,
    )


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(pinned(command, GENERATOR_CORE), check=True, capture_output=True, text=True, timeout=seconds + 60)
