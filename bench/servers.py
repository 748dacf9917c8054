"""The servers of the race, each with its whole tree on one core."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.model import FEATURES, NAME
from penstock import Client

SERVER_CORE = 0
START_SECONDS = 30.0
ROOT = Path(__file__).parent.parent
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Server:
    """A running server tree."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int | None = None

    def check(self) -> None:
        """Ask once and look at the answer."""
        with Client(f"127.0.0.1:{self.port}") as client:
            answer = client.predict(NAME, {"x": np.linspace(-1, 1, FEATURES, dtype=np.float32).reshape(1, FEATURES)})
        if answer["y"].shape != (1, 2):
            raise SystemExit(f"{self.name} answered {answer['y'].shape}")

    def cpu_seconds(self) -> float:
        """Return the time that the tree has used; schedstat's nanoseconds where the kernel has them."""
        return sum(_cpu_seconds(pid) for pid in _tree(self.process.pid))

    def answered(self) -> int | None:
        """Return how many requests the server says it answered; None when it does not say."""
        if self.metrics_port is None:
            return None
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5) as response:
            lines = response.read().decode().splitlines()
        return int(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("nv_inference_request_success{")))


@contextmanager
def penstock_server(work: Path) -> Generator[Server]:
    """Run `penstock serve` with keys, quotas, deadlines, validation and metrics as they always are."""
    state = work / "state"
    command = [str(Path(sys.executable).with_name("penstock")), "serve", str(work / "models"), "--state-dir", str(state)]
    with _running("penstock", [*command, "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"], work) as process:
        ports = _ports_of(process, state / "serve.json")
        yield Server("penstock", process, ports["grpc"], ports["metrics"])


@contextmanager
def echo_server(work: Path) -> Generator[Server]:
    """Run a bare grpc.aio server that answers every call with the same bytes: what Python pays for gRPC alone."""
    ready = work / "echo.json"
    with _running("grpc_aio", [sys.executable, "-m", "bench.grpc_aio_echo", str(ready)], work) as process:
        yield Server("grpc_aio", process, _ports_of(process, ready)["grpc"])


@contextmanager
def _running(name: str, command: list[str], work: Path) -> Generator[subprocess.Popen[bytes]]:
    log = (work / f"{name}.log").open("wb")
    with log, subprocess.Popen(_pinned(command), cwd=ROOT, stdout=log, stderr=log, start_new_session=True) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


def _pinned(command: list[str]) -> list[str]:
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(SERVER_CORE), *command] if taskset and (os.cpu_count() or 1) > 1 else command


def _ports_of(process: subprocess.Popen[bytes], path: Path) -> dict[str, int]:
    """Wait until the server has written where it listens."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"the server ended with code {process.returncode}")
        if path.exists():
            written = json.loads(path.read_text())
            return {name: int(str(written[name]).rpartition(":")[2]) for name in ("grpc", "metrics", "http") if name in written}
        time.sleep(0.05)
    raise SystemExit(f"the server did not start within {START_SECONDS:g} s")


def _tree(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [root]
    for pid in found:
        found += children.get(pid, [])
    return found


def _cpu_seconds(pid: int) -> float:
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9
    except (OSError, ValueError, IndexError):
        pass
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK
