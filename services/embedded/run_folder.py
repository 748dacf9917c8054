"""The folder that the processes of one serve share.

    workers/     what each worker reports         overrides/  desired state beyond the repository
    links/       sockets of worker links          control/    sockets of the workers' control service
    metrics/     sockets of each process's /metrics
    config/      settings of each child           ready/      process id of each router that serves
    blackbox/    what each worker is doing        heartbeats/ each process's signs of life
    trials/      who loads what nobody has loaded serve.json  addresses of this serve

Only its owner may enter it. One serve at a time uses a folder (flock on `.lock`, which a killed process lets go of). What processes
say about themselves is cleared at the start; overrides stay, so a named folder keeps what was unloaded or given up.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from services.chassis.private_folder import check_socket_paths, locked, make_private

SUBFOLDERS = ("workers", "overrides", "links", "control", "metrics", "config", "ready", "blackbox", "heartbeats", "trials")
KEPT = ("overrides",)

LONGEST_SOCKET = "control/worker-63.sock"

_PREFIX = "run-"


class RunFolder:
    """Paths below the folder of one serve."""

    def __init__(self, path: Path) -> None:
        """Store the path."""
        self.path = path

    def __truediv__(self, name: str) -> Path:
        """Return a path below it."""
        return self.path / name

    @property
    def overrides(self) -> Path:
        """Where desired state beyond the repository is published."""
        return self.path / "overrides"

    @property
    def workers(self) -> Path:
        """Where workers report."""
        return self.path / "workers"

    def config(self, name: str) -> Path:
        """Return the settings file of a child."""
        return self.path / "config" / f"{name}.json"

    def blackbox(self, name: str) -> Path:
        """Return the black box of a worker."""
        return self.path / "blackbox" / name

    def heartbeat(self, name: str) -> Path:
        """Return the file of a child's signs of life."""
        return self.path / "heartbeats" / name

    def ready(self, name: str) -> Path:
        """Return the file that a router writes when it serves."""
        return self.path / "ready" / name

    def metrics_socket(self, name: str) -> Path:
        """Return the socket of a process's /metrics."""
        return self.path / "metrics" / f"{name}.sock"


@contextmanager
def opened(state_dir: Path | None, runtime_dir: Path | None) -> Generator[RunFolder]:
    """Make the folder, hold it until the block ends, and remove it then unless it was named.

    Args:
        state_dir: the folder's name; None makes one.
        runtime_dir: where to make it, and where left-overs of killed serves are removed; None makes it in the system's temporary folder.

    Raises:
        CannotStart: another serve uses it, it is not ours, or its name is too long for sockets.
    """
    path = state_dir.absolute() if state_dir else _name(runtime_dir)
    try:
        check_socket_paths(path, LONGEST_SOCKET)
        make_private(path)
        with locked(path, "serve"):
            _clear(path)
            yield RunFolder(path)
    finally:
        if state_dir is None:
            shutil.rmtree(path, ignore_errors=True)


def _name(runtime_dir: Path | None) -> Path:
    if runtime_dir is None:
        return Path(tempfile.mkdtemp(prefix="penstock-"))
    make_private(runtime_dir)
    for former in runtime_dir.glob(_PREFIX + "*"):
        if not _is_alive(former.name.removeprefix(_PREFIX)):
            shutil.rmtree(former, ignore_errors=True)
    return runtime_dir / f"{_PREFIX}{os.getpid()}"


def _is_alive(process_id: str) -> bool:
    return Path("/proc", process_id).exists()


def _clear(path: Path) -> None:
    for name in SUBFOLDERS:
        if name not in KEPT:
            shutil.rmtree(path / name, ignore_errors=True)
        (path / name).mkdir(exist_ok=True, mode=0o700)
