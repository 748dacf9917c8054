"""`penstock serve` as a child process: started, awaited until ready, stopped clean.

Every process of the server inherits a mark in its environment, so that one left behind is found even when it has lost its parent.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

HOST = "127.0.0.1"

PROGRAM = (str(Path(sys.executable).with_name("penstock")),)
"""The command line that is installed beside this Python."""

READY_SECONDS = 60.0
"""Longest wait for every model; the embedding model alone is 90 MB."""
STOP_SECONDS = 20.0
GONE_SECONDS = 2.0
"""How long children may take to follow their parent."""
LAST_LINES = 20
"""How much of the server's log a failure shows."""

_MARK = "PENSTOCK_DEMO_SERVER"
_POLL_SECONDS = 0.05


class ServerFailure(Exception):
    """The server did not start, did not become ready, or did not stop as it should; the message ends with its last words."""


_ADDRESS = re.compile(rf"^\s*(HTTP|gRPC)\s+(?:http://)?{re.escape(HOST)}:(\d+)[ ]*\n", re.MULTILINE)
"""The lines that name the two faces, as a person reads them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The process, what it prints for people, and its log."""

    process: subprocess.Popen[bytes]
    mark: str
    output: Path
    log: Path

    def printed(self) -> str:
        """Return what the server has printed so far."""
        return self.output.read_text(encoding="utf-8", errors="replace")

    def troubles(self) -> list[str]:
        """Return the last lines of the log that are warnings or errors."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [line for line in lines if '"level":"warning"' in line or '"level":"error"' in line][-LAST_LINES:]

    def failure(self, what: str) -> ServerFailure:
        """Return an error that ends with the server's last lines."""
        lines = [*self.printed().splitlines(), *self.log.read_text(encoding="utf-8", errors="replace").splitlines()]
        return ServerFailure("\n".join([f"{what}; the server's last lines:", *lines[-LAST_LINES:]]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server that is ready."""

    running: Running
    http_port: int
    grpc_port: int

    @property
    def grpc_target(self) -> str:
        """Address of the gRPC face."""
        return f"{HOST}:{self.grpc_port}"


@contextmanager
def serving(
    repository: Path, versions: Iterable[tuple[str, str]], program: Sequence[str] = PROGRAM, ready_seconds: float = READY_SECONDS
) -> Generator[Server]:
    """Serve a repository, from ready to stopped.

    Args:
        repository: model repository folder.
        versions: model and version of everything that must be ready before the block begins.
        program: the command that understands `serve`.
        ready_seconds: longest wait for the server and every version.

    Raises:
        ServerFailure: not ready in time, an exit code other than 0 after SIGTERM, or a process left behind.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-demo-")))
        running = _start([*program, "serve", str(repository)], folder)
        stack.callback(_kill, running)
        yield _when_ready(running, list(versions), time.monotonic() + ready_seconds)
        _stop(running)


def _start(command: list[str], folder: Path) -> Running:
    """Start the server on ports that it finds itself: two demos at once do not meet."""
    mark, output, log = uuid.uuid4().hex, folder / "output", folder / "log"
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    with output.open("wb") as printed, log.open("wb") as logged:
        process = subprocess.Popen(
            [*command, "--host", HOST, *ports],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=logged,
            env=os.environ | {_MARK: mark},
            start_new_session=True,
        )
    return Running(process=process, mark=mark, output=output, log=log)


def _when_ready(running: Running, versions: list[tuple[str, str]], give_up_at: float) -> Server:
    """Wait until the server has printed where it is, and says itself that it and every version are ready."""
    while len(ports := {face: int(port) for face, port in _ADDRESS.findall(running.printed())}) < 2:
        _wait(running, "it has not printed where it answers", give_up_at)
    server = Server(running=running, http_port=ports["HTTP"], grpc_port=ports["gRPC"])
    for path in ("/v2/health/ready", *(f"/v2/models/{model}/versions/{version}/ready" for model, version in versions)):
        while not _answers_ok(server, path):
            _wait(running, f"{path} is not ready", give_up_at)
    return server


def _wait(running: Running, what: str, give_up_at: float) -> None:
    """Sleep a moment.

    Raises:
        ServerFailure: the server has ended, or it is late.
    """
    if running.process.poll() is not None:
        raise running.failure(f"the server ended with code {running.process.returncode} before it was ready")
    if time.monotonic() > give_up_at:
        raise running.failure(f"{what}, and the time is up")
    time.sleep(_POLL_SECONDS)


def _answers_ok(server: Server, path: str) -> bool:
    connection = HTTPConnection(HOST, server.http_port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _stop(running: Running) -> None:
    """Ask the server to end as an operator does, and look whether everything is gone."""
    running.process.send_signal(signal.SIGTERM)
    try:
        code = running.process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise running.failure(f"the server did not end within {STOP_SECONDS:.0f} s of SIGTERM") from error
    if code != 0:
        raise running.failure(f"the server ended with code {code} after SIGTERM")
    give_up_at = time.monotonic() + GONE_SECONDS
    while left := _marked(running.mark):
        if time.monotonic() > give_up_at:
            raise running.failure(f"the server left processes behind: {json.dumps(left)}")
        time.sleep(_POLL_SECONDS)


def _kill(running: Running) -> None:
    """End whatever still runs, and return when it is gone; does nothing after a clean stop."""
    while left := _marked(running.mark):
        for process_id in left:
            with suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        running.process.poll()
        time.sleep(_POLL_SECONDS)
    running.process.wait()


def _marked(mark: str) -> dict[int, str]:
    """Return the command lines of running processes that carry the mark, by process id; zombies carry none."""
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
    return found
