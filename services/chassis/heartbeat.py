"""Signs of life that need nothing of whoever gives them: a word in a file that is mapped into memory, written by the event loop.

A process whose loop stands still (stopped, or in native code that keeps the GIL) cannot answer anybody, and cannot be asked why either.
The supervisor reads the word instead. The file begins with the process id, so that what a former life left behind is not taken for a
sign of the present one, and a life that has not begun to beat yet is not taken for a dead one.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PERIOD_SECONDS = 0.2

_RECORD = struct.Struct("=QQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """What a heartbeat's file says."""

    process_id: int
    count: int
    """Grows while the process's event loop turns."""


@contextmanager
def beating(path: Path, *, period_seconds: float = PERIOD_SECONDS) -> Generator[None]:
    """Beat on the running event loop until the block ends; the file goes with it.

    Raises:
        OSError: the file cannot be made, or the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        # Allocated, not only sized: a full disk is an error here and not a SIGBUS at the next beat.
        os.posix_fallocate(descriptor, 0, _RECORD.size)
        mapped = mmap.mmap(descriptor, _RECORD.size)
    finally:
        os.close(descriptor)
    heart = _Heart(mapped, asyncio.get_running_loop(), period_seconds)
    heart.beat()
    try:
        yield
    finally:
        heart.stop()
        path.unlink(missing_ok=True)


def read_beat(path: Path) -> Beat | None:
    """Return the last sign of life; None when there was none."""
    try:
        process_id, count = _RECORD.unpack(path.read_bytes())
    except (OSError, struct.error):
        return None
    return Beat(process_id=process_id, count=count)


class _Heart:
    def __init__(self, mapped: mmap.mmap, loop: asyncio.AbstractEventLoop, period_seconds: float) -> None:
        self._mapped = mapped
        self._loop = loop
        self._period_seconds = period_seconds
        self._count = 0
        self._timer: asyncio.TimerHandle | None = None

    def beat(self) -> None:
        self._count += 1
        _RECORD.pack_into(self._mapped, 0, os.getpid(), self._count)
        self._timer = self._loop.call_later(self._period_seconds, self.beat)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._mapped.close()
