"""A `penstock serve` of the clients' own: started on free ports, awaited until every model is ready, stopped as an operator does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

READY_SECONDS = 60.0
STOP_SECONDS = 20.0
POLL_SECONDS = 0.05


@dataclass(frozen=True, kw_only=True)
class Server:
    """Where a running server answers, as `host:port`."""

    http: str
    grpc: str
    metrics: str
    repository: Path
    log: Path


@contextmanager
def serving(folder: Path, repository: Path, models: Sequence[str], *options: str) -> Generator[Server]:
    """Serve a repository while the block lasts; `folder` gets the run folder and the log."""
    log = folder / "serve.log"
    # The command line that is installed beside this Python.
    command = [str(Path(sys.executable).with_name("penstock")), "serve", str(repository), "--state-dir", str(folder / "run")]
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    with log.open("wb") as output, subprocess.Popen([*command, *ports, *options], stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            record = folder / "run" / "serve.json"
            _await(record.exists, process, log, "serve.json")
            told = json.loads(record.read_text())
            server = Server(
                http=_address(told["http"]), grpc=_address(told["grpc"]), metrics=_address(told["metrics"]), repository=repository, log=log
            )
            for path in ("/v2/health/ready", *(f"/v2/models/{model}/ready" for model in models)):
                _await(lambda path=path: _is_ok(server.http, path), process, log, path)
            yield server
        finally:
            _stop(process)
    assert process.returncode == 0, f"the server ended with code {process.returncode} after SIGTERM:\n{tail(log)}"


def tail(log: Path, lines: int = 40) -> str:
    """Return the last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])


def _await(is_there, process: subprocess.Popen[bytes], log: Path, what: str) -> None:
    give_up_at = time.monotonic() + READY_SECONDS
    while not is_there():
        assert process.poll() is None, f"the server ended with code {process.returncode} before {what} was there:\n{tail(log)}"
        assert time.monotonic() < give_up_at, f"{what} was not there after {READY_SECONDS:g} s:\n{tail(log)}"
        time.sleep(POLL_SECONDS)


def _is_ok(address: str, path: str) -> bool:
    connection = HTTPConnection(address, timeout=5)
    try:
        connection.request("GET", path)
        # Where keys are needed, 401 says that somebody is there.
        return connection.getresponse().status in (200, 401)
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _address(written: str) -> str:
    return str(written).rpartition("//")[2].partition("/")[0]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
