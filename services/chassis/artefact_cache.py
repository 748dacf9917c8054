"""Versions on this machine's disk, fetched by digest once and kept within a limit.

Ask with `ensure`: it returns a folder whose files were checked when they were fetched; `verified` reads them again, as before a load, and
fetches once more what the disk has spoilt. Both fetch a digest once, however many ask at the same time.

The limit counts what is there and what is being fetched, and holds at every moment. What is least recently asked for goes first; what the
caller protects (live, or one rollback away) never does. A full disk is met in the same way: something goes, and the fetch starts anew; when
nothing may go, the fetch fails with a typed error and everything that was there is still there.
"""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import structlog

from penstock.contracts.artefacts import Manifest, ManifestFile, check_digest
from penstock.contracts.errors import ArtifactCorrupt, ServingError, Unavailable
from services.chassis import cache_folder
from services.chassis.artefact_store import Target
from services.chassis.cache_plan import Cached, to_evict
from services.chassis.disk_threads import DiskThreads

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

log = structlog.get_logger(__name__)


class VersionSource(Protocol):
    """Where versions come from; `ArtefactStore` is one."""

    async def manifest(self, digest: str) -> Manifest:
        """Return what a version is."""
        ...

    async def fetch(self, file: ManifestFile, target: Target) -> None:
        """Write a file's content to `target`, checked."""
        ...


@dataclass(slots=True)
class _Flight:
    """Those who ask for one digest at the same time: one of them works, the others get what it got."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    failure: ServingError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Disk:
    """Where the cache is, and how much of it."""

    root: Path
    threads: DiskThreads
    limit_bytes: int


class _DiskFull(Exception):
    """The disk takes no more."""


class ArtefactCache:
    """The cache of one process; made by `opened_cache`."""

    def __init__(self, disk: _Disk, source: VersionSource, protected: Callable[[], Collection[str]], cached: Mapping[str, Cached]) -> None:
        """Store the arguments; `opened_cache` explains them."""
        self._root, self._threads, self._limit_bytes = disk.root, disk.threads, disk.limit_bytes
        self._source = source
        self._protected = protected
        self._cached = dict(cached)
        self._leaving: dict[str, Cached] = {}
        self._fetching: dict[str, int] = {}
        self._flights: dict[str, _Flight] = {}
        self._making_room = asyncio.Lock()

    @property
    def used_bytes(self) -> int:
        """What is there, what is being removed and what is being fetched."""
        return sum(one.occupied_bytes for one in (*self._cached.values(), *self._leaving.values())) + sum(self._fetching.values())

    @property
    def digests(self) -> frozenset[str]:
        """The versions that are there."""
        return frozenset(self._cached)

    async def ensure(self, digest: str) -> Path:
        """Return the folder of a version's files, fetching them when they are not there.

        Raises:
            NotFound: the source has no such version.
            ArtifactCorrupt: the source gives other bytes than the digest's.
            Unavailable: the source does not answer; or the limit or the disk leaves no room (CACHE_FULL, DISK_FULL).
        """
        return await self._together(check_digest(digest), is_checked=False)

    async def verified(self, digest: str) -> Path:
        """Return the folder of a version's files after reading all of them; spoilt files are fetched once more.

        Raises:
            ServingError: as for `ensure`.
        """
        return await self._together(check_digest(digest), is_checked=True)

    async def drop(self, digest: str) -> None:
        """Remove a version; nothing happens when it is not there."""
        gone = self._cached.pop(digest, None)
        if gone is None:
            return
        self._leaving[digest] = gone
        try:
            await self._threads.run(cache_folder.remove_tree, self._root / digest)
        finally:
            del self._leaving[digest]

    async def _together(self, digest: str, *, is_checked: bool) -> Path:
        flight = self._flights.setdefault(digest, _Flight())
        flight.waiting += 1
        try:
            async with flight.turn:
                if flight.failure is not None:
                    raise flight.failure
                return await self._present(digest, is_checked=is_checked)
        except ServingError as error:
            flight.failure = error
            raise
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                del self._flights[digest]

    async def _present(self, digest: str, *, is_checked: bool) -> Path:
        if digest in self._cached:
            if not is_checked or await self._is_sound(digest):
                return await self._used(digest)
            await self.drop(digest)
        folder = await self._fetched(digest)
        if is_checked and not await self._is_sound(digest):
            await self.drop(digest)
            raise ArtifactCorrupt(f"{digest[:12]} is spoilt on this disk as soon as it is fetched: look at the disk")
        return folder

    async def _is_sound(self, digest: str) -> bool:
        try:
            await self._threads.run(cache_folder.verify, self._root / digest)
        except ArtifactCorrupt as error:
            log.warning("cached_version_spoilt", digest=digest[:12], reason=error.message)
            return False
        return True

    async def _used(self, digest: str) -> Path:
        folder, used_ns = self._root / digest, time.time_ns()
        try:
            await self._threads.run(cache_folder.touch, folder, used_ns)
        except OSError as error:  # a disk that is read-only, or worse: what is there is still served
            log.warning("cache_use_not_noted", digest=digest[:12], error=error.strerror)
        self._cached[digest] = replace(self._cached[digest], used_ns=used_ns)
        return folder / cache_folder.FILES

    async def _fetched(self, digest: str) -> Path:
        """Fetch a version; a full disk is answered by giving something up and starting anew, until nothing may go."""
        manifest = await self._source.manifest(digest)
        needed = cache_folder.occupied_by(manifest)
        while True:
            await self._set_aside(digest, needed)
            try:
                return await self._filled(manifest)
            except _DiskFull as error:
                if not await self._evict(1):
                    raise Unavailable(
                        f"the disk of the artefact cache is full, and all that is on it is in use: {digest[:12]} needs {needed} bytes",
                        reason="DISK_FULL",
                    ) from error
            finally:
                self._fetching.pop(digest, None)

    async def _set_aside(self, digest: str, needed: int) -> None:
        """Reserve room within the limit; one fetch after the other, so that each sees what the others reserve."""
        async with self._making_room:
            while (excess := self.used_bytes + needed - self._limit_bytes) > 0:
                if needed > self._limit_bytes or not await self._evict(excess):
                    raise Unavailable(
                        f"{digest[:12]} needs {needed} bytes; the artefact cache has a limit of {self._limit_bytes}, {self.used_bytes} are "
                        "in use and nothing more may be given up: raise the limit, or serve fewer versions here",
                        reason="CACHE_FULL",
                    )
            self._fetching[digest] = needed

    async def _evict(self, excess: int) -> bool:
        """Give up at least `excess` bytes, less where somebody asks meanwhile; False, and nothing goes, when what may go is not enough."""
        chosen = to_evict(self._cached.values(), frozenset(self._protected()) | self._flights.keys(), excess)
        for digest in chosen or ():
            gone = self._cached.get(digest)
            # Removing takes a while, in which one that was chosen may be asked for, or be gone.
            if gone is None or digest in self._flights or digest in self._protected():
                continue
            await self.drop(digest)
            log.info("cached_version_evicted", digest=digest[:12], bytes=gone.occupied_bytes)
        return bool(chosen)

    async def _filled(self, manifest: Manifest) -> Path:
        draft: Path | None = None
        used_ns = time.time_ns()
        try:
            draft = await self._threads.run(cache_folder.draft_of, self._root, manifest.digest)
            for file in manifest.files:
                await self._fill(draft, file)
            folder = await self._threads.run(cache_folder.publish, draft, manifest, used_ns)
        except OSError as error:
            if error.errno in FULL:
                raise _DiskFull from error
            raise Unavailable(f"the artefact cache cannot be written: {error.strerror}", reason="DISK_FULL") from error
        finally:
            if draft is not None and draft.exists():
                await self._threads.run(cache_folder.remove_tree, draft)
        self._fetching.pop(manifest.digest, None)
        self._cached[manifest.digest] = Cached(digest=manifest.digest, occupied_bytes=cache_folder.occupied_by(manifest), used_ns=used_ns)
        log.info("version_cached", digest=manifest.digest[:12], bytes=manifest.total_bytes, used_bytes=self.used_bytes)
        return folder / cache_folder.FILES

    async def _fill(self, draft: Path, file: ManifestFile) -> None:
        target = _FileTarget(cache_folder.DraftFile(draft, file.path), self._threads)
        try:
            await self._threads.run(target.file.open)
            await self._source.fetch(file, target)
        finally:
            target.file.close()


class _FileTarget:
    """A draft's file, written in threads."""

    def __init__(self, file: cache_folder.DraftFile, threads: DiskThreads) -> None:
        self.file = file
        self._threads = threads

    async def write(self, chunk: bytes) -> None:
        await self._threads.run(self.file.write, chunk)

    async def restart(self) -> None:
        await self._threads.run(self.file.truncate)


@asynccontextmanager
async def opened_cache(
    root: Path, limit_bytes: int, source: VersionSource, protected: Callable[[], Collection[str]]
) -> AsyncGenerator[ArtefactCache]:
    """Open a cache for as long as the block.

    Args:
        root: its folder, for this process alone; what a killed process has left in it is removed.
        limit_bytes: most bytes that it takes of the disk, in whole blocks.
        source: where versions come from.
        protected: asked whenever something has to go; returns the digests that may not, for instance those that are live and those that a
            rollback would need.

    Raises:
        Unavailable: another process uses the folder, or it cannot be used.
    """
    async with DiskThreads("artefact-cache") as threads:
        with cache_folder.owned(root):
            cached = await threads.run(cache_folder.swept, root)
            yield ArtefactCache(_Disk(root=root, threads=threads, limit_bytes=limit_bytes), source, protected, cached)
