"""Versions made of bytes, and a source of them that can be told to misbehave."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from penstock.contracts.artefacts import Manifest, ManifestFile
from penstock.contracts.errors import NotFound, Unavailable
from services.chassis.artefact_cache import opened_cache
from services.chassis.artefact_store import Target
from services.chassis.cache_plan import occupied_bytes


def manifest_of(contents: Mapping[str, bytes]) -> Manifest:
    return Manifest.of(
        ManifestFile(path=path, size=len(content), sha256=hashlib.sha256(content).hexdigest()) for path, content in contents.items()
    )


def written(folder: Path, contents: Mapping[str, bytes]) -> dict[str, Path]:
    """Write a version's files and say where each is."""
    sources: dict[str, Path] = {}
    for path, content in contents.items():
        sources[path] = folder / path
        sources[path].parent.mkdir(parents=True, exist_ok=True)
        sources[path].write_bytes(content)
    return sources


def version(number: int, size: int = 10_000) -> dict[str, bytes]:
    """Return the files of a version; other numbers, other bytes."""
    return {"version/model.onnx": bytes([number]) * size, "model.toml": b"max_batch_size = %d\n" % number}


@dataclass
class FakeSource:
    """Holds versions in memory; implements `VersionSource` as `ArtefactStore` does, but for its repetitions."""

    versions: dict[str, dict[str, bytes]] = field(default_factory=dict)
    fetched: list[str] = field(default_factory=list)
    """Paths, in the order in which they were fetched."""
    is_away: bool = False
    gate: asyncio.Event | None = None
    """Fetches wait for it."""

    def add(self, contents: dict[str, bytes]) -> str:
        digest = manifest_of(contents).digest
        self.versions[digest] = contents
        return digest

    async def manifest(self, digest: str) -> Manifest:
        self._require_there()
        if digest not in self.versions:
            raise NotFound("no such version", reason="ARTEFACT_NOT_FOUND")
        return manifest_of(self.versions[digest])

    async def fetch(self, file: ManifestFile, target: Target) -> None:
        self._require_there()
        self.fetched.append(file.path)
        content = next(one[file.path] for one in self.versions.values() if _is_of(file, one))
        half = len(content) // 2
        await target.write(content[:half])
        if self.gate is not None:
            await self.gate.wait()
        self._require_there()
        await target.write(content[half:])

    def _require_there(self) -> None:
        if self.is_away:
            raise Unavailable("the store is away", reason="STORE_UNAVAILABLE")


def _is_of(file: ManifestFile, contents: Mapping[str, bytes]) -> bool:
    return file.path in contents and hashlib.sha256(contents[file.path]).hexdigest() == file.sha256


ROOMY = 1 << 30
SIZE = occupied_bytes([*(len(content) for content in version(1).values()), len(manifest_of(version(1)).to_bytes())])
"""What one of the test's versions takes."""


@asynccontextmanager
async def cache_of(root: Path, source: FakeSource, limit: int = ROOMY, protected: Collection[str] = ()):
    async with opened_cache(root, limit, source, lambda: protected) as cache:
        yield cache


def contents_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def occupied(root: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in root.rglob("*") if path.is_file())


def entries(root: Path) -> set[str]:
    return {entry.name for entry in root.iterdir()} - {".lock"}
