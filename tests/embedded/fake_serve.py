"""Runs the real supervisor over fake routers and workers."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.chassis.children import ROOT

HERE = Path(__file__).parent


class FakeServe:
    """A supervisor under test."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process
        self.state = folder / "s"
        self.printed = b""

    def steps(self) -> list[tuple[str, str, int]]:
        """Return what the children did, as (name, step, process id)."""
        path = self.folder / "steps"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(line.split()[0], " ".join(line.split()[1:-1]), int(line.split()[-1])) for line in lines]

    def words(self) -> list[str]:
        return [f"{name} {word}" for name, word, _ in self.steps()]

    def pid(self, name: str) -> int:
        """Return the process id of the newest life of a child."""
        return [pid for who, _, pid in self.steps() if who == name][-1]

    def until(self, condition, timeout_seconds: float = 20.0):
        """Return the first true value of a condition; fail after a time."""
        give_up_at = time.monotonic() + timeout_seconds
        while True:
            if value := condition():
                return value
            assert time.monotonic() < give_up_at, (self.words(), self.logs())
            time.sleep(0.01)

    def until_step(self, step: str, count: int = 1) -> None:
        self.until(lambda: self.words().count(step) >= count)

    def until_ready(self) -> str:
        """Wait for the last line for a person and return all of them."""
        while b"ready in" not in self.printed:
            ready, _, _ = select.select([self.process.stdout], [], [], 20)
            part = os.read(self.process.stdout.fileno(), 1 << 16) if ready else b""
            assert part, (self.printed, self.logs())
            self.printed += part
        return self.printed.decode()

    def logs(self) -> list[dict]:
        lines = (self.folder / "log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def events(self) -> list[str]:
        return [line["event"] for line in self.logs()]

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def prepare(folder: Path, versions: tuple[str, ...] = ("1",)) -> None:
    """Make the fake installation and a repository."""
    fake = folder / "code" / "services"
    for service in ("router", "worker"):
        (fake / service).mkdir(parents=True)
        (fake / service / "__init__.py").touch()
        (fake / service / "__main__.py").symlink_to(HERE / f"fake_{service}.py")
    (fake / "__init__.py").touch()
    for package in ("chassis", "embedded"):
        (fake / package).symlink_to(ROOT / "services" / package)
    for version in versions:
        (folder / "models" / "digits" / version).mkdir(parents=True)
    (folder / "orders").mkdir()


@contextmanager
def fake_serve(folder: Path, *settings: str, config: Path | None = None) -> Iterator[FakeServe]:
    """Run a supervisor until the block ends."""
    given = [f"repository={folder / 'models'}", f"state_dir={folder / 's'}", "http_port=0", "grpc_port=0", "metrics_port=0", *settings]
    command = [sys.executable, "-P", "-m", "services.embedded", *(f"--set={each}" for each in given)]
    command += [f"--config={config}"] if config else []
    environment = os.environ | {"PYTHONPATH": f"{folder / 'code'}{os.pathsep}{ROOT}"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd=folder)
    serve = FakeServe(folder, process)
    try:
        yield serve
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
