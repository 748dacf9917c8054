"""`penstock serve` as a child process: started on free ports, awaited until ready, stopped clean.

Every process of the server inherits a mark in its environment, so that one left behind is found even when it has lost its parent.
"""

from __future__ import annotations

import json
import os
import signal
import socket
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
from typing import IO

HOST = "127.0.0.1"

PROGRAM = (str(Path(sys.executable).with_name("penstock")),)
"""The command line that is installed beside this Python."""

READY_SECONDS = 30.0
"""Longest wait for every model; the embedding model alone is 90 MB."""
STOP_SECONDS = 20.0
GONE_SECONDS = 2.0
"""How long children may take to follow their parent."""
LOG_TAIL_LINES = 20

_MARK = "PENSTOCK_DEMO_SERVER"
_POLL_SECONDS = 0.05


class ServerFailure(Exception):
    """The server did not start, did not become ready, or did not stop as it should; the message ends with its last words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A running server."""

    process: subprocess.Popen[bytes]
    mark: str
    log: Path
    http_port: int
    grpc_port: int
    metrics_port: int

    @property
    def http_url(self) -> str:
        """Base address of the HTTP face."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def grpc_target(self) -> str:
        """Address of the gRPC face."""
        return f"{HOST}:{self.grpc_port}"

    def printed(self) -> str:
        """Return everything the server has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def failure(self, what: str) -> ServerFailure:
        """Return an error that ends with the server's last lines."""
        tail = "\n".join(self.printed().splitlines()[-LOG_TAIL_LINES:])
        return ServerFailure(f"{what}; the server's last lines:\n{tail}")


@contextmanager
def serving(repository: Path, versions: Iterable[tuple[str, str]], program: Sequence[str] = PROGRAM) -> Generator[Server]:
    """Serve a repository, from ready to stopped.

    Args:
        repository: model repository folder.
        versions: model and version of everything that must be ready before the block begins.
        program: the command that understands `serve`.

    Raises:
        ServerFailure: not ready within READY_SECONDS, an exit code other than 0 after SIGTERM, or a process left behind.
    """
    with ExitStack() as stack:
        log = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-demo-"))) / "server.log"
        output = stack.enter_context(log.open("wb"))
        server = _start([*program, "serve", str(repository)], log, output)
        stack.callback(_kill, server)
        _await_ready(server, list(versions))
        yield server
        _stop(server)


def _start(command: list[str], log: Path, output: IO[bytes]) -> Server:
    http_port, grpc_port, metrics_port = _free_ports(3)
    mark = uuid.uuid4().hex
    ports = ["--http-port", str(http_port), "--grpc-port", str(grpc_port), "--metrics-port", str(metrics_port)]
    process = subprocess.Popen(
        [*command, "--host", HOST, *ports],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=os.environ | {_MARK: mark},
        start_new_session=True,
    )
    return Server(process=process, mark=mark, log=log, http_port=http_port, grpc_port=grpc_port, metrics_port=metrics_port)


def _free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on; all are held until the last is known, so they differ."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind((HOST, 0))
        return [listener.getsockname()[1] for listener in listeners]


def _await_ready(server: Server, versions: list[tuple[str, str]]) -> None:
    """Wait until the server and every version say that they are ready, and its lines name both addresses."""
    paths = ["/v2/health/ready", *(f"/v2/models/{model}/versions/{version}/ready" for model, version in versions)]
    give_up_at = time.monotonic() + READY_SECONDS
    for path in paths:
        while not _answers_ok(server, path):
            if server.process.poll() is not None:
                raise server.failure(f"the server ended with code {server.process.returncode} before it was ready")
            if time.monotonic() > give_up_at:
                raise server.failure(f"{path} was not ready after {READY_SECONDS:.0f} s")
            time.sleep(_POLL_SECONDS)
    unnamed = [str(port) for port in (server.http_port, server.grpc_port) if str(port) not in server.printed()]
    if unnamed:
        raise server.failure(f"the server is ready and did not print where: no line with {' or '.join(unnamed)}")


def _answers_ok(server: Server, path: str) -> bool:
    connection = HTTPConnection(HOST, server.http_port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _stop(server: Server) -> None:
    """Ask the server to end as an operator does, and look whether everything is gone."""
    server.process.send_signal(signal.SIGTERM)
    try:
        code = server.process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise server.failure(f"the server did not end within {STOP_SECONDS:.0f} s of SIGTERM") from error
    if code != 0:
        raise server.failure(f"the server ended with code {code} after SIGTERM")
    give_up_at = time.monotonic() + GONE_SECONDS
    while left := _marked(server.mark):
        if time.monotonic() > give_up_at:
            raise server.failure(f"the server left processes behind: {json.dumps(left)}")
        time.sleep(_POLL_SECONDS)


def _kill(server: Server) -> None:
    """End whatever still runs; does nothing after a clean stop."""
    for process_id in _marked(server.mark):
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
    server.process.wait()


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
