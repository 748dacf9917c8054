"""Versions in an object store, addressed by digest.

    blobs/ab/ab12…            one file's content, named by its SHA-256: files that versions share are there once
    manifests/cd34….json      one version; named by the SHA-256 of its bytes, which is the version's digest

The manifest is written last. A half upload is some blobs that nobody refers to; the next attempt finds them and goes on. Whoever reads
checks every byte: the store is not trusted.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

import structlog

from penstock.contracts.artefacts import MAX_MANIFEST_BYTES, Manifest, ManifestFile, check_digest
from penstock.contracts.errors import ArtifactCorrupt, Unavailable
from services.chassis.disk_threads import DiskThreads
from services.chassis.object_store import PART_BYTES, Objects

ATTEMPTS = 3
"""How often a file that breaks off is asked for, each time from where it broke off."""

log = structlog.get_logger(__name__)


class Target(Protocol):
    """Where a file's bytes go."""

    async def write(self, chunk: bytes) -> None:
        """Append."""
        ...

    async def restart(self) -> None:
        """Forget everything that was written."""
        ...


class ArtefactStore:
    """Puts versions into an object store and gets them out by digest."""

    def __init__(self, objects: Objects, threads: DiskThreads) -> None:
        """Store the arguments; `threads` read the files that are put, and hash what is fetched."""
        self._objects = objects
        self._threads = threads

    async def has(self, digest: str) -> bool:
        """Say whether a version is there; its files are then, too."""
        return await self._objects.size(_manifest_name(digest)) is not None

    async def put(self, manifest: Manifest, sources: Mapping[str, Path]) -> str:
        """Store a version and return its digest; what is there already is not sent again.

        Args:
            manifest: what the version is.
            sources: where the content of each of its paths is.

        Raises:
            ArtifactCorrupt: a file is not what the manifest says, for example because it changed.
            Unavailable: the store does not take it; the version cannot be seen, and putting it again goes on.
        """
        digest = manifest.digest
        if await self.has(digest):
            return digest
        by_content = {one.sha256: one for one in manifest.files}
        for file in by_content.values():
            await self._put_blob(file, sources[file.path])
        await self._objects.put(_manifest_name(digest), manifest.to_bytes())
        return digest

    async def manifest(self, digest: str) -> Manifest:
        """Return what a version is.

        Raises:
            NotFound: no such version.
            ArtifactCorrupt: the store gives other bytes than the digest's, twice.
            Unavailable: the store does not answer.
        """
        name = _manifest_name(check_digest(digest))
        try:
            return Manifest.from_bytes(await self._objects.read(name, limit=MAX_MANIFEST_BYTES), digest=digest)
        except ArtifactCorrupt:
            log.warning("artefact_refetched", digest=digest[:12], what="manifest")
            return Manifest.from_bytes(await self._objects.read(name, limit=MAX_MANIFEST_BYTES), digest=digest)

    async def fetch(self, file: ManifestFile, target: Target) -> None:
        """Write a file's content to `target`, checked.

        A stream that breaks off is resumed where it broke off; content that is not the digest's is fetched once more.

        Raises:
            ArtifactCorrupt: the store gives other content than the digest's, twice.
            NotFound: the store has lost it.
            Unavailable: the store does not answer, or breaks off again and again.
        """
        for is_last in (False, True):
            if await self._fetched(file, target):
                return
            await target.restart()
            log.warning("artefact_refetched", sha256=file.sha256[:12], what=file.path, is_last=is_last)
        raise ArtifactCorrupt(f"{file.path} in {self._objects.shown} is not what its digest {file.sha256[:12]} says, fetched twice")

    async def _fetched(self, file: ManifestFile, target: Target) -> bool:
        """Write the content once and say whether it is the digest's."""
        digest = hashlib.sha256()
        written = 0
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async for chunk in self._chunks(file, written):
                    written += len(chunk)
                    if written > file.size:
                        return False
                    await self._threads.run(digest.update, chunk)
                    await target.write(chunk)
            except Unavailable:
                if attempt == ATTEMPTS:
                    raise
                log.warning("artefact_resumed", sha256=file.sha256[:12], at_byte=written, size=file.size)
            else:
                break
        return written == file.size and digest.hexdigest() == file.sha256

    async def _chunks(self, file: ManifestFile, offset: int) -> AsyncIterator[bytes]:
        if offset < file.size:
            async for chunk in self._objects.chunks(_blob_name(file.sha256), offset=offset):
                yield chunk

    async def _put_blob(self, file: ManifestFile, source: Path) -> None:
        name = _blob_name(file.sha256)
        if await self._objects.size(name) == file.size:
            return
        try:
            with await self._threads.run(source.open, "rb") as opened:
                if file.size <= PART_BYTES:
                    await self._objects.put(name, await self._small(file, opened))
                else:
                    await self._objects.put_stream(name, self._parts(file, opened), size=file.size)
        except OSError as error:
            raise ArtifactCorrupt(f"{file.path} cannot be read: {error.strerror}") from error

    async def _small(self, file: ManifestFile, opened: BinaryIO) -> bytes:
        content = await self._threads.run(opened.read, PART_BYTES + 1)
        _require_same(file, len(content), hashlib.sha256(content).hexdigest())
        return content

    async def _parts(self, file: ManifestFile, opened: BinaryIO) -> AsyncIterator[bytes]:
        """Yield a file's parts; the last one only after all of them are known to be the digest's, so that no wrong blob is finished."""
        digest, size = hashlib.sha256(), 0
        held = b""
        while part := await self._threads.run(opened.read, PART_BYTES):
            digest.update(part)
            size += len(part)
            if held:
                yield held
            held = part
        _require_same(file, size, digest.hexdigest())
        yield held


def _require_same(file: ManifestFile, size: int, sha256: str) -> None:
    if size != file.size or sha256 != file.sha256:
        raise ArtifactCorrupt(f"{file.path} changed while it was stored: register it again when its files are quiet")


def _blob_name(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"


def _manifest_name(digest: str) -> str:
    return f"manifests/{digest}.json"
