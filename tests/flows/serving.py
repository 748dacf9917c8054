"""A real `penstock serve` as a test sees it: a process, its addresses, its children."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_SECONDS = 40.0


@dataclass
class Served:
    """A running serve."""

    process: subprocess.Popen[bytes]
    state_dir: Path
    log: Path

    @property
    def record(self) -> dict[str, Any]:
        return json.loads((self.state_dir / "serve.json").read_text())

    @property
    def grpc(self) -> str:
        return str(self.record["grpc"])

    @property
    def http(self) -> str:
        return "http://" + str(self.record["http"])

    def child(self, name: str) -> int:
        """Return the process id of a child that is started now, such as worker-0."""
        found = [
            line["child_process_id"]
            for line in map(json.loads, filter(lambda line: line.startswith("{"), self.log.read_text().splitlines()))
            if line["event"] == "child_started" and line["child"] == name
        ]
        return int(found[-1])

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log lines of one event."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name]

    def get(self, path: str) -> tuple[int, bytes]:
        try:
            with urllib.request.urlopen(self.http + path, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def until(self, condition: Callable[[], bool], *, seconds: float = 20.0) -> None:
        """Wait for something to become true."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"did not happen within {seconds} s; the log ends:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.01)


@contextmanager
def serving(folder: Path, repository: Path, *options: str) -> Iterator[Served]:
    """Run `penstock serve` until the block ends; it must end with 0 unless the block has ended it."""
    state, log = folder / "s", folder / "serve.log"
    command = [str(Path(sys.executable).with_name("penstock")), "serve", str(repository), "--state-dir", str(state)]
    ports = ["--http-port", "0", "--grpc-port", "0", "--metrics-port", "0"]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, *ports, *options], stdout=out, stderr=out, start_new_session=True)
    served = Served(process, state, log)
    try:
        served.until((state / "serve.json").exists, seconds=READY_SECONDS)
        yield served
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                assert process.wait(40) == 0
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
