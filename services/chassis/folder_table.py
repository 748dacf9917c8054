"""Values by key in a folder that several processes change: read, change, write, under one lock.

The same files as `feeds.FolderFeed` follows. The lock is advisory (flock on `.lock` in the folder) and belongs to the open file, so a
killed holder releases it; a stopped one makes the others fail after a bounded wait instead of hanging.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Generic, TypeVar

from services.chassis.feeds import FolderPublisher, checked_key

LOCK_SECONDS = 2.0
"""Longest wait for another process's change."""

_RETRY_SECONDS = 0.002

V = TypeVar("V")


class FolderTable(Generic[V]):
    """Changes values so that no concurrent change is lost. Blocks; from a loop call it by `asyncio.to_thread`."""

    def __init__(
        self,
        directory: Path,
        encode: Callable[[V], bytes],
        decode: Callable[[bytes], V],
        *,
        suffix: str = ".pb",
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        """Store the arguments."""
        self._directory = directory
        self._decode = decode
        self._suffix = suffix
        self._publisher = FolderPublisher(directory, encode, suffix=suffix)
        self._lock_seconds = lock_seconds

    def read(self, key: str) -> V | None:
        """Return the key's value; None when it has none.

        Raises:
            OSError: the file cannot be read. What `decode` raises passes through.
        """
        try:
            return self._decode((self._directory / (checked_key(key) + self._suffix)).read_bytes())
        except FileNotFoundError:
            return None

    def update(self, key: str, change: Callable[[V | None], V | None]) -> V | None:
        """Replace the key's value by `change(value)` and return it; None in is a missing key, None out removes it.

        Raises:
            TimeoutError: another process holds the lock for too long.
        """
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked():
            changed = change(self.read(key))
            self._publisher.publish(key, changed)
            return changed

    @contextmanager
    def _locked(self) -> Generator[None]:
        descriptor = os.open(self._directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(descriptor)
            yield
        finally:
            os.close(descriptor)

    def _take(self, descriptor: int) -> None:
        give_up_at = time.monotonic() + self._lock_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= give_up_at:
                    message = f"another process has held {self._directory / '.lock'} for {self._lock_seconds} s"
                    raise TimeoutError(message) from None
                time.sleep(_RETRY_SECONDS)
            else:
                return
