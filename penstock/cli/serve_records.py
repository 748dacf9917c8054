"""The running `penstock serve` and `penstock up` processes of this user, from the records that they keep while they run.

A record is `<runtime folder>/serves/<process id>.json`; it counts for nothing once its process is gone, or when the process id belongs to
somebody else by now. Only folders and files of this user count: the fall-back lies in /tmp, where anybody may have put something.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from penstock.cli.address import RunningServe


def runtime_folder() -> Path:
    """Return the folder where this user's serves are listed."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    return Path(base) / "penstock" if base else Path(f"/tmp/penstock-{os.getuid()}")  # noqa: S108  checked for its owner


def running_serves(folder: Path | None = None) -> tuple[RunningServe, ...]:
    """Return the serves that run, newest first; what cannot be read is passed over."""
    found = _records((folder or runtime_folder()) / "serves")
    return tuple(sorted(found, key=lambda serve: serve.started_time, reverse=True))


def _records(folder: Path) -> Iterator[RunningServe]:
    if not _is_ours(folder):
        return
    for path in folder.glob("*.json"):
        try:
            document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if _is_ours(path) else {}
            if document and start_ticks(document["pid"]) == document["process_start_ticks"]:
                yield _record(document)
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            continue


def _record(document: dict[str, Any]) -> RunningServe:
    return RunningServe(
        process_id=int(document["pid"]),
        grpc=str(document["grpc"]),
        http=str(document["http"]),
        metrics=str(document["metrics"]),
        repository=str(document["repository"]),
        started_time=float(document["started_time"]),
        is_tls=bool(document.get("is_tls")),
        mesh=str(document.get("mesh") or ""),
    )


def _is_ours(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.getuid() and not path.is_symlink()
    except OSError:
        return False


def start_ticks(process_id: int) -> int:
    """Return when a process started, in clock ticks since the machine did.

    Raises:
        OSError: it is gone; also when only its parent has yet to look.
    """
    fields = Path(f"/proc/{int(process_id)}/stat").read_text().rpartition(")")[2].split()
    if fields[0] in {"Z", "X"}:
        raise ProcessLookupError(process_id)
    return int(fields[19])
