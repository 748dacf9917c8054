"""Servers that were downloaded or built, kept by name and version under the user's cache folder.

    servers/kafka-4.1.1/…           complete: it was filled under another name and renamed
    servers/kafka-4.1.1/manifest.json    digest and size of every file
    servers/.kafka-4.1.1.partial-71/     being filled; whoever comes next removes what a killed process left
    servers/.kafka-4.1.1.lock       flock of whoever fills
    servers/.kafka-4.1.1.seen       how the files looked when their digests were last compared

A use compares every file's size, times and inode with what was seen; only what differs is read again and compared with its digest.
What is damaged is thrown away and made anew.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.chassis.atomic_file import write_atomically
from services.chassis.private_folder import make_private
from services.chassis.process import CannotStart

MANIFEST = "manifest.json"
LOCK_POLL_SECONDS = 0.2

Look = list[int]
"""Size, modification time, change time, inode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """What can be in the cache."""

    name: str
    version: str
    fill: Callable[[Path], Awaitable[None]]
    """Puts its files into an empty folder."""

    @property
    def key(self) -> str:
        """The folder's name."""
        return f"{self.name}-{self.version}"


class ServerCache:
    """The folder of all artefacts of a user."""

    def __init__(self, folder: Path, say: Callable[[str], None]) -> None:
        """Store the arguments; `say` is told what takes long, and why."""
        self._folder = folder / "servers"
        self._say = say

    def holds(self, artefact: Artefact) -> bool:
        """Whether a use would neither download nor build."""
        return _is_whole(self._folder / artefact.key, self._seen(artefact))

    async def obtain(self, artefact: Artefact) -> Path:
        """Return the folder of a complete artefact, filling it first where it is missing or damaged.

        Raises:
            CannotStart: it cannot be filled.
        """
        place = self._folder / artefact.key
        if not await asyncio.to_thread(_is_whole, place, self._seen(artefact)):
            make_private(self._folder)
            async with self._locked(artefact):
                # Whoever held the lock may have filled it.
                if not await asyncio.to_thread(_is_whole, place, self._seen(artefact)):
                    await self._fill(artefact, place)
        return place

    async def _fill(self, artefact: Artefact, place: Path) -> None:
        try:
            partial = await asyncio.to_thread(self._cleared, artefact, place)
            await artefact.fill(partial)
            await asyncio.to_thread(_seal, artefact, partial)
            partial.rename(place)
        except OSError as error:
            raise CannotStart(f"cannot fill {place}: {error.strerror or error}") from None

    def _cleared(self, artefact: Artefact, place: Path) -> Path:
        """Remove what is damaged and what failed or killed processes left, and return an empty folder to fill."""
        for former in self._folder.glob(f".{artefact.key}.partial-*"):
            shutil.rmtree(former)
        if place.exists():
            self._say(f"{place} is damaged: it is made anew")
            shutil.rmtree(place)
        partial = self._folder / f".{artefact.key}.partial-{os.getpid()}"
        partial.mkdir(mode=0o700)
        return partial

    def _seen(self, artefact: Artefact) -> Path:
        return self._folder / f".{artefact.key}.seen"

    @asynccontextmanager
    async def _locked(self, artefact: Artefact) -> AsyncGenerator[None]:
        descriptor = os.open(self._folder / f".{artefact.key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            is_told = False
            while not _take(descriptor):
                if not is_told:
                    self._say(f"another process is getting {artefact.key}: waiting for it")
                    is_told = True
                await asyncio.sleep(LOCK_POLL_SECONDS)
            yield
        finally:
            os.close(descriptor)


def _take(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _seal(artefact: Artefact, folder: Path) -> None:
    """Write the manifest, after everything else is on the disk: what a crash of the machine loses must not look complete."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    if not files:
        raise CannotStart(f"nothing was put into {folder}")
    for path in files.values():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    digests = {name: {"sha256": _digest(path), "bytes": path.stat().st_size} for name, path in files.items()}
    document = {"name": artefact.name, "version": artefact.version, "files": digests}
    write_atomically(folder / MANIFEST, json.dumps(document, indent=2).encode() + b"\n", durable=True)


def _is_whole(folder: Path, seen_path: Path) -> bool:
    try:
        digests: dict[str, dict[str, Any]] = json.loads((folder / MANIFEST).read_bytes())["files"]
        looks = {str(path.relative_to(folder)): _look(path) for path in folder.rglob("*") if path.is_file()}
    except (OSError, ValueError, KeyError, TypeError):
        return False
    del looks[MANIFEST]
    if looks.keys() != digests.keys():
        return False
    seen = _read_seen(seen_path)
    changed = [name for name, look in looks.items() if seen.get(name) != look]
    if any(looks[name][0] != digests[name]["bytes"] or _digest(folder / name) != digests[name]["sha256"] for name in changed):
        return False
    if changed:
        write_atomically(seen_path, json.dumps(looks).encode())
    return True


def _read_seen(path: Path) -> Mapping[str, Look]:
    try:
        seen: Mapping[str, Look] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return seen


def _look(path: Path) -> Look:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
