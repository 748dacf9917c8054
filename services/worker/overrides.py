"""Desired state of a model beyond what its folder says: explicit loads and unloads, other configurations, files sent by a client."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from penstock.contracts.errors import InvalidInput
from penstock.v1 import worker_pb2 as pb

STALE_SECONDS = 600.0
"""Files of older overrides are removed after this time; a load that uses them is long over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One model's override; field meanings are those of worker.proto."""

    model: str
    revision: int = 0
    is_unloaded: bool = False
    config_json: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)
    failed_versions: Mapping[str, str] = field(default_factory=dict[str, str])
    changed_time: float = 0.0
    """When it was written, in seconds since the Unix epoch; a version whose files changed later is not meant by `failed_versions`."""

    @classmethod
    def from_proto(cls, proto: pb.ModelOverride, *, changed_time: float) -> Override:
        """Read the wire form."""
        return cls(
            model=proto.model,
            revision=proto.revision,
            is_unloaded=proto.unloaded,
            config_json=proto.config_json,
            files=dict(proto.files),
            failed_versions=dict(proto.failed_versions),
            changed_time=changed_time,
        )


def write_files(override: Override, folder: Path) -> Path:
    """Write an override's files below `folder` and return the model folder that they make; the same files are written once.

    Several workers may do so at the same time: each writes a folder of its own and renames it; whoever is second takes the first one's.

    Raises:
        InvalidInput: a path leaves the model's folder.
        OSError: the disk is full, …
    """
    parent = folder / override.model
    target = parent / _digest(override.files)
    if target.exists():
        return target
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = parent / f".{target.name}.{os.getpid()}.tmp"
    try:
        for path, content in override.files.items():
            place = draft / checked_path(path)
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.write_bytes(content)
        with suppress(OSError):  # somebody else was first: theirs has the same content
            draft.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    _remove_stale(parent, target)
    return target


def checked_path(path: str) -> str:
    """Return a path inside a model's folder when it is one.

    Raises:
        InvalidInput: absolute, leaving the folder, hidden, or not printable.
    """
    parts = PurePosixPath(path).parts
    is_inside = bool(parts) and not path.startswith("/") and not any(part.startswith(".") for part in parts)
    if not is_inside or "\\" in path or not path.isprintable() or len(path) > 512:
        raise InvalidInput(f"file {path[:80]!r} is not a path inside a model's folder: name it like 1/model.onnx", reason="BAD_NAME")
    return path


def _digest(files: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for path, content in sorted(files.items()):
        whole.update(f"{path}\0{len(content)}\0{hashlib.sha256(content).hexdigest()}\n".encode())
    return whole.hexdigest()[:32]


def _remove_stale(parent: Path, current: Path) -> None:
    for entry in parent.iterdir():
        with suppress(OSError):
            if entry != current and entry.stat().st_mtime < time.time() - STALE_SECONDS:
                shutil.rmtree(entry, ignore_errors=True)
