"""Writes a file so that a reader sees the old content or the new, never a part."""

from __future__ import annotations

import itertools
import os
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
"""Readable and writable by the owner only."""

_serial = itertools.count()


def write_atomically(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Replace `path` by `content`; the file is readable by its owner only.

    Several processes may write the same path at once: the last rename wins, and nobody reads a mixture. What a killed writer leaves
    is a hidden file beside it, which readers of the folder skip.

    Args:
        path: the file; its folder exists.
        content: all bytes.
        durable: survives a crash of the machine too; costs one or two flushes of the disk.

    Raises:
        OSError: the disk is full, the folder is missing, … The old content is still there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}-{next(_serial)}.tmp")
    try:
        _write(draft, content, durable=durable)
        draft.replace(path)
    except BaseException:
        with suppress(OSError):
            draft.unlink()
        raise
    if durable:
        _flush_folder(path.parent)


def _write(path: Path, content: bytes, *, durable: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        left = memoryview(content)
        while left:
            left = left[file.write(left) :]
        if durable:
            os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
