"""Newest value by key, from wherever it is published: one port, here with a watched folder behind it.

Folder: one file a key, named `<key><suffix>`, replaced as a whole by rename. A follower looks at names, inodes, sizes and times every
50 ms, which costs some ten microseconds for a folder of a few files, and reads only what changed. A file that is unreadable, or half
written by somebody who does not rename, keeps the key's old value and is logged once for each content; one that the machine did not give
out, as for want of descriptors, is read again at the next look. A file that is gone ends the key.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

import structlog

from services.chassis.atomic_file import write_atomically
from services.chassis.clock import Clock, SystemClock

POLL_SECONDS = 0.05
"""Time between two looks at a folder."""

INLINE_BYTES = 1 << 20
"""Larger files are read by a thread, so that the loop goes on."""

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)
V_contra = TypeVar("V_contra", contravariant=True)

log = structlog.get_logger(__name__)


class Feed(Protocol[V_co]):
    """Follows the newest value of every key."""

    def snapshot(self) -> Mapping[str, V_co]:
        """Return what is known now; empty before the first look."""
        ...

    async def follow(self, on_change: Callable[[str, V_co | None], None]) -> None:
        """Tell every value, then every change, until cancelled; None means that the key is gone.

        A feed has one follower at a time. What `on_change` raises ends the following.
        """
        ...

    async def caught_up(self) -> None:
        """Return when the follower has been told everything that was there when it began."""
        ...


class Publisher(Protocol[V_contra]):
    """Makes a value the newest of its key."""

    def publish(self, key: str, value: V_contra | None) -> None:
        """Publish a value, or end the key with None."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stamp:
    """What tells one content of a file from another without reading it; ctime tells a change of rights."""

    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, entry: os.DirEntry[str]) -> _Stamp:
        stat = entry.stat()
        return cls(inode=stat.st_ino, size=stat.st_size, modified=stat.st_mtime_ns, changed=stat.st_ctime_ns)


class FolderFeed(Generic[V]):
    """A feed of the files in one folder."""

    def __init__(
        self,
        directory: Path,
        decode: Callable[[bytes], V],
        clock: Clock | None = None,
        *,
        suffix: str = ".pb",
    ) -> None:
        """Store the arguments; `decode` may raise anything for bytes that are no value."""
        self._directory = directory
        self._decode = decode
        self._suffix = suffix
        self._clock = clock or SystemClock()
        self._values: dict[str, V] = {}
        self._stamps: dict[str, _Stamp] = {}
        self._blamed: dict[str, _Stamp] = {}
        self._caught_up = asyncio.Event()
        self._is_followed = False
        self._is_missing = False

    def snapshot(self) -> Mapping[str, V]:
        """Return a read-only view of what is known now."""
        return MappingProxyType(self._values)

    async def caught_up(self) -> None:
        """Return when the first look at the folder has been told."""
        await self._caught_up.wait()

    async def follow(self, on_change: Callable[[str, V | None], None]) -> None:
        """Tell every value, then every change, until cancelled."""
        if self._is_followed:
            message = f"{self._directory} is followed already; make a feed for each follower"
            raise RuntimeError(message)
        self._is_followed = True
        try:
            for key, value in self._values.items():
                on_change(key, value)
            while True:
                await self._look(on_change)
                self._caught_up.set()
                await self._clock.sleep(POLL_SECONDS)
        finally:
            self._is_followed = False

    async def _look(self, on_change: Callable[[str, V | None], None]) -> None:
        seen = self._scan()
        if seen is None:
            return
        for key, stamp in seen.items():
            if self._stamps.get(key) != stamp and await self._read(key, stamp):
                on_change(key, self._values[key])
        self._blamed = {key: stamp for key, stamp in self._blamed.items() if seen.get(key) == stamp}
        for key in [key for key in self._stamps if key not in seen]:
            del self._stamps[key]
            if self._values.pop(key, None) is not None:
                on_change(key, None)

    def _scan(self) -> dict[str, _Stamp] | None:
        """Return what the folder holds; None, logged once, when it cannot be listed: then nothing is known to have changed."""
        try:
            with os.scandir(self._directory) as entries:
                found = {entry.name: stamp for entry in entries if self._is_value(entry.name) and (stamp := _stamp(entry))}
        except OSError as error:
            if not self._is_missing:
                log.warning("feed_folder_unreadable", path=str(self._directory), reason=str(error))
            self._is_missing = True
            return None
        self._is_missing = False
        return {name.removesuffix(self._suffix): stamp for name, stamp in found.items()}

    def _is_value(self, name: str) -> bool:
        return name.endswith(self._suffix) and not name.startswith(".")

    async def _read(self, key: str, stamp: _Stamp) -> bool:
        """Take the file's value; False when it has none, which a content that could be read is not asked for again."""
        path = self._directory / (key + self._suffix)
        try:
            value = self._decoded(path) if stamp.size <= INLINE_BYTES else await asyncio.to_thread(self._decoded, path)
        except FileNotFoundError:
            return False
        except OSError as error:
            self._blame(key, stamp, path, error)
            return False
        except Exception as error:  # noqa: BLE001  the file is a stranger's: whatever is wrong with it, the old value stands
            self._blame(key, stamp, path, error)
            self._stamps[key] = stamp
            return False
        self._stamps[key] = stamp
        self._values[key] = value
        return True

    def _blame(self, key: str, stamp: _Stamp, path: Path, error: Exception) -> None:
        if self._blamed.get(key) != stamp:
            self._blamed[key] = stamp
            log.warning("feed_value_unreadable", path=str(path), reason=f"{type(error).__name__}: {error}")

    def _decoded(self, path: Path) -> V:
        return self._decode(path.read_bytes())


class FolderPublisher(Generic[V]):
    """Publishes values as files of one folder."""

    def __init__(self, directory: Path, encode: Callable[[V], bytes], *, suffix: str = ".pb") -> None:
        """Store the arguments; the folder is made at the first value."""
        self._directory = directory
        self._encode = encode
        self._suffix = suffix

    def publish(self, key: str, value: V | None) -> None:
        """Replace the key's file, or remove it for None; both may be repeated.

        Raises:
            ValueError: the key cannot name a file.
            OSError: it could not be written; the old value stands.
        """
        path = self._directory / (checked_key(key) + self._suffix)
        if value is None:
            path.unlink(missing_ok=True)
            return
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomically(path, self._encode(value))


def checked_key(key: str) -> str:
    """Return the key when it can name a file.

    Raises:
        ValueError: empty, hidden, or with a path separator or NUL.
    """
    if not key or key.startswith(".") or "/" in key or "\0" in key:
        message = f"{key!r} cannot name a file: use a key without '/' that does not start with '.'"
        raise ValueError(message)
    return key


def _stamp(entry: os.DirEntry[str]) -> _Stamp | None:
    try:
        return _Stamp.of(entry)
    except FileNotFoundError:
        return None
