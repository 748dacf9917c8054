"""Who listens on a port of this machine, as far as this user may see it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_LISTENS = "0A"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Who holds a port; `process_id` is None when it is somebody else's process."""

    port: int
    process_id: int | None = None
    command: str = ""

    def __str__(self) -> str:
        """Return who it is."""
        return f"process {self.process_id} ({self.command[:60]})" if self.process_id is not None else "a process of another user"


def listener_on(port: int, proc: Path = Path("/proc")) -> Listener | None:
    """Return who listens on a TCP port; None when it is free."""
    inodes = {inode for name in ("tcp", "tcp6") for inode in _inodes(proc / "net" / name, port)}
    if not inodes:
        return None
    for folder in proc.iterdir():
        if folder.name.isdigit() and _holds(folder, inodes):
            return Listener(port=port, process_id=int(folder.name), command=_command(folder))
    return Listener(port=port)


def _inodes(path: Path, port: int) -> Iterator[str]:
    try:
        lines = path.read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        columns = line.split()
        if columns[3] == _LISTENS and int(columns[1].rpartition(":")[2], 16) == port:
            yield f"socket:[{columns[9]}]"


def _holds(folder: Path, inodes: set[str]) -> bool:
    try:
        return any(str(entry.readlink()) in inodes for entry in (folder / "fd").iterdir())
    except OSError:  # gone meanwhile, or somebody else's
        return False


def _command(folder: Path) -> str:
    try:
        return (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""
