"""Runs small Python scripts as real processes."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Script:
    """A running script that tells its steps as lines on stdout."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    @property
    def pid(self) -> int:
        return self.process.pid

    def line(self, timeout_seconds: float = 20) -> str:
        """Return the next line; empty when the script is gone or says nothing in time."""
        stdout = self.process.stdout
        ready, _, _ = select.select([stdout], [], [], timeout_seconds)
        return stdout.readline().decode().strip() if ready else ""

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def wait(self, timeout_seconds: float = 20) -> int:
        return self.process.wait(timeout_seconds)

    def errors(self) -> str:
        return self.process.stderr.read().decode()


@contextmanager
def script(text: str, *arguments: str, **environment: str) -> Iterator[Script]:
    """Run `text` until it ends, or until the block does."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-P", "-c", text, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    try:
        yield Script(process)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def is_alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


def wait_gone(pid: int, timeout_seconds: float) -> bool:
    """Wait for the death of a process that is nobody's child here; say whether it came."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        ready, _, _ = select.select([descriptor], [], [], timeout_seconds)
        return bool(ready) or not is_alive(pid)
    finally:
        os.close(descriptor)
