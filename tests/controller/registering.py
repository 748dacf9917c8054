"""A registration with everything it talks to, and sources for it made of bytes."""

from __future__ import annotations

import asyncio
import io
import tarfile
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from penstock.contracts.errors import AlreadyExists, error_from
from services.chassis.artefact_store import ArtefactStore
from services.chassis.disk_threads import DiskThreads
from services.chassis.object_store import Objects, open_objects
from services.controller.model_sandbox import _found
from services.controller.registration import Examiner, Registration, RegistrationPorts, RegistrationRules
from services.controller.registration_values import Archive, ModelReport, RegisteredVersion, RegistrationRequest, Source
from services.controller.sources import MlflowRegistry, SourceRules, Sources
from services.controller.staging import StagingLimits
from services.controller.uploads import UploadArea, UploadLimits
from services.controller.version_signing import SigningPolicy
from services.worker.examination import Order, Refused, examine
from tests.worker import models

SMALL = StagingLimits(total_bytes=4 << 20, files=100)


class ExaminerHere:
    """Examines in this process: the sandbox's code without the sandbox, for versions that are known to end."""

    async def examine(self, model: str, version: str, folder: Path) -> ModelReport:
        order = Order(model=model, version=version, model_folder=folder, folder_name="version", trial_seconds=2.0)
        try:
            return _found(await asyncio.to_thread(examine, order))
        except Refused as refusal:
            raise error_from(refusal.reason, refusal.message) from refusal


@dataclass
class FakeBook:
    """The catalogue's rule: a name has one digest for ever."""

    versions: dict[tuple[str, str], RegisteredVersion] = field(default_factory=dict)

    async def check(self, model: str, report: ModelReport) -> None:
        """Know of nothing that could not fit."""

    async def add(self, version: RegisteredVersion) -> RegisteredVersion:
        held = self.versions.setdefault((version.model, version.version), version)
        if held.digest != version.digest:
            raise AlreadyExists(f"{version.model}@{version.version} has other files")
        return held


@dataclass
class Kit:
    """One registration, and what can be looked at afterwards."""

    root: Path
    registration: Registration
    book: FakeBook
    objects: Objects
    uploads: UploadArea

    async def register(self, source: Source, model: str = "churn", version: str = "1", **more: object) -> RegisteredVersion:
        (registered,) = await self.registration.register(
            RegistrationRequest(model=model, version=version, source=source, **more), self.book
        )
        return registered

    def archive(self, content: bytes) -> Archive:
        path = self.root / "sent"
        path.write_bytes(content)
        return Archive(path=path)

    async def leftovers(self) -> list[str]:
        """Name what a refused registration has left: staged files, visible versions, entries in the book."""
        staged = [str(path) for path in (self.root / "staging").rglob("*")]
        stored = [one.name async for one in self.objects.list("") if one.name.startswith("manifests/")]
        return [*staged, *stored, *map(str, self.book.versions)]


@asynccontextmanager
async def kit(
    root: Path,
    *,
    examiner: Examiner | None = None,
    limits: StagingLimits = SMALL,
    rules: Callable[[Path], SourceRules] = lambda root: SourceRules(folders=(root / "folders",)),
    signing: SigningPolicy | None = None,
) -> AsyncIterator[Kit]:
    objects = open_objects("memory://")
    uploads = UploadArea(root / "uploads", UploadLimits(file_bytes=limits.total_bytes))
    uploads.open()
    book = FakeBook()
    async with DiskThreads("registration") as threads:
        ports = RegistrationPorts(
            sources=Sources(rules(root), uploads, MlflowRegistry(), threads),
            examiner=examiner or ExaminerHere(),
            store=ArtefactStore(objects, threads),
            threads=threads,
            wall_clock=lambda: 1_700_000_000.0,
        )
        own = RegistrationRules(staging_folder=root / "staging", staging=limits, signing=signing or SigningPolicy())
        registration = Registration(ports, own)
        await registration.open()
        yield Kit(root=root, registration=registration, book=book, objects=objects, uploads=uploads)


GOOD: Mapping[str, bytes] = {"model.onnx": models.identity()}


def tar(members: Mapping[str, bytes], *, compressed: bool = False) -> bytes:
    return raw_tar(*(member(name, content) for name, content in members.items()), compressed=compressed)


def member(name: str, content: bytes = b"", **changes: object) -> tuple[tarfile.TarInfo, bytes]:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    for key, value in changes.items():
        setattr(entry, key, value)
    return entry, content


def raw_tar(*members: tuple[tarfile.TarInfo, bytes], compressed: bool = False) -> bytes:
    """Return an archive with exactly these members, whatever they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz" if compressed else "w", format=tarfile.PAX_FORMAT) as archive:
        for entry, content in members:
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def zipped(members: Mapping[str, bytes] | list[tuple[str | zipfile.ZipInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items() if isinstance(members, Mapping) else members:
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_entry(name: str, **changes: object) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    for key, value in changes.items():
        setattr(entry, key, value)
    return entry
