"""Tells other commands of the same user where this serve is.

`serve.json` in the run folder, and the same under `<runtime_dir>/serves/<pid>.json`, so that `penstock status` finds it without flags.
`process_start_ticks` tells a living serve from a stranger that was given its process id later.
"""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from services.chassis.atomic_file import write_atomically
from services.chassis.parentage import start_ticks

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeRecord:
    """What is told."""

    http: str
    """`host:port`, as of gRPC and metrics."""
    grpc: str
    metrics: str
    is_tls: bool = False
    repository: str
    """Folder of models, or what stands for it."""
    mesh: str = ""
    """Name of the mesh of `penstock up`; empty for `penstock serve`."""
    state_dir: Path
    started_time: float
    """Seconds since the epoch."""

    def to_json(self) -> bytes:
        """Return the file's content."""
        content: dict[str, Any] = {
            "pid": os.getpid(),
            "process_start_ticks": start_ticks(os.getpid()),
            "http": self.http,
            "grpc": self.grpc,
            "metrics": self.metrics,
            "is_tls": self.is_tls,
            "repository": self.repository,
            "mesh": self.mesh,
            "state_dir": str(self.state_dir),
            "started_time": self.started_time,
        }
        return json.dumps(content, indent=2).encode() + b"\n"


@contextmanager
def published(record: ServeRecord, runtime_dir: Path | None) -> Generator[None]:
    """Keep the record on disk until the block ends; a listing that cannot be written is logged and left out."""
    paths = [record.state_dir / "serve.json"]
    if runtime_dir is not None and (listing := _listing(runtime_dir)) is not None:
        paths.append(listing / f"{os.getpid()}.json")
    try:
        for path in paths:
            write_atomically(path, record.to_json())
        yield
    finally:
        for path in paths:
            path.unlink(missing_ok=True)


def _listing(runtime_dir: Path) -> Path | None:
    """Return the folder of the user's records, without those of serves that were killed."""
    listing = runtime_dir / "serves"
    try:
        listing.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (runtime_dir, listing):
            if folder.is_symlink() or folder.lstat().st_uid != os.geteuid():
                raise PermissionError(f"{folder} belongs to somebody else or is a link")
        for former in listing.glob("*.json"):
            if not start_ticks(int(former.stem)):
                former.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        log.warning("serve_not_listed", path=str(listing), reason=str(error))
        return None
    return listing
