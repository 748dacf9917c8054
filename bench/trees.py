"""Process trees of servers: started on one core, watched by their CPU time, and ended whole."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

SERVER_CORE = 0
GENERATOR_CORE = 1
START_SECONDS = 40.0
STOP_SECONDS = 40.0
ROOT = Path(__file__).resolve().parent.parent
_TICK = os.sysconf("SC_CLK_TCK")


class CannotServe(Exception):
    """A server ended or did not answer in time; the text says what its log said last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a tree is started."""

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str] | None = None
    """In place of this process's."""
    core: int = SERVER_CORE
    folder: Path = ROOT
    """Where it runs."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A running process with all its descendants."""

    start: Start
    process: subprocess.Popen[bytes]
    started_at: float = field(default_factory=time.perf_counter)
    """By `time.perf_counter`."""

    def cpu_seconds(self) -> float:
        """Return the time that the tree has used; schedstat's nanoseconds where the kernel has them."""
        return sum(_cpu_seconds(pid) for pid in descendants(self.process.pid))

    def wait_until(self, is_ready: Callable[[], bool], seconds: float = START_SECONDS) -> None:
        """Look every 50 ms until it is ready.

        Raises:
            CannotServe: it ended, or is not ready in time.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise CannotServe(f"{self.start.name} ended with code {self.process.returncode}: {self.last_words()}")
            if is_ready():
                return
            time.sleep(0.05)
        raise CannotServe(f"{self.start.name} was not ready within {seconds:g} s: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of its log."""
        lines = [line.strip() for line in self.start.log.read_text(errors="replace").splitlines() if line.strip()]
        return " | ".join(lines[-12:])[-3000:]


@contextmanager
def running(start: Start) -> Generator[Tree]:
    """Run a tree on its core until the block ends; what does not end when asked is killed."""
    with (
        start.log.open("wb") as log,
        subprocess.Popen(
            pinned(start.command, start.core),
            cwd=start.folder,
            env=None if start.environment is None else dict(start.environment),
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as process,
    ):
        try:
            yield Tree(start, process)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what its parent left behind; the group is the tree's own


def own_folder(work: Path, name: str) -> Path:
    """Return a new folder for one start of a server: what an earlier one wrote must not be taken for this one's."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=work))


def pinned(command: list[str], core: int) -> list[str]:
    """Return the command bound to a core, where there are two cores and taskset."""
    taskset = shutil.which("taskset")
    return [taskset, "-c", str(core), *command] if taskset and (os.cpu_count() or 1) > 1 else command


def free_port() -> int:
    """Return a port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def descendants(root: int) -> list[int]:
    """Return a process and all that come from it."""
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
