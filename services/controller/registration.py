"""The story of a registration: stage the files → find the versions → examine each → store them → write them into the book.

Nothing of it can be seen before the end: the files are staged in a folder that goes away, the store shows a version when its manifest is
there, and only the book makes a version one that can be deployed. The same files have the same digest, so registering them again changes
nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import structlog

from penstock.contracts.artefacts import Manifest, ManifestFile
from penstock.contracts.ensembles import ENSEMBLE_FILE, LARGEST_BYTES, says_ensemble
from penstock.contracts.errors import InvalidInput, Overloaded, TenantForbidden, Unavailable
from penstock.contracts.version_layout import VersionPlan, plan_versions, unknown_files
from services.chassis.disk_threads import DiskThreads
from services.controller.registration_values import ModelReport, RegisteredVersion, RegistrationRequest, Source
from services.controller.staging import Staged, StagingLimits, staged, sweep
from services.controller.version_signing import SigningPolicy

SHOWN_PREFIXES = 10
"""Prefixes that a refusal names."""

log = structlog.get_logger(__name__)


class Stager(Protocol):
    """Brings a source's files here; `services.controller.sources.Sources` is one."""

    async def stage(self, source: Source, into: Staged) -> str:
        """Stage the files and return where they came from."""
        ...


class Examiner(Protocol):
    """Judges a version; `services.controller.model_sandbox.ModelSandbox` is one."""

    async def examine(self, model: str, version: str, folder: Path) -> ModelReport:
        """Return what it is."""
        ...


class VersionStore(Protocol):
    """Keeps files; `services.chassis.artefact_store.ArtefactStore` is one."""

    async def put(self, manifest: Manifest, sources: Mapping[str, Path]) -> str:
        """Store a version and return its digest."""
        ...


class VersionBook(Protocol):
    """The catalogue, as far as a registration goes."""

    async def check(self, model: str, report: ModelReport) -> None:
        """Refuse, before anything is stored, what does not fit the versions that are there.

        Raises:
            Conflict: a graph's step is not registered.
            InvalidInput: its tensors do not fit.
        """
        ...

    async def add(self, version: RegisteredVersion) -> RegisteredVersion:
        """Write a version down, and return it with its name; the same digest under the same name changes nothing.

        Raises:
            AlreadyExists: the name has another digest.
        """
        ...


class WallClock(Protocol):
    """The time of day."""

    def __call__(self) -> float:
        """Return seconds since the Unix epoch."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationPorts:
    """Whom a registration talks to."""

    sources: Stager
    examiner: Examiner
    store: VersionStore
    threads: DiskThreads
    wall_clock: WallClock


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationRules:
    """What a registration may cost, and who vouches."""

    staging_folder: Path
    staging: StagingLimits = field(default_factory=StagingLimits)
    signing: SigningPolicy = field(default_factory=SigningPolicy)
    most_at_once: int = 2
    most_waiting: int = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A version that may be stored."""

    name: str
    folder: Path
    manifest: Manifest
    report: ModelReport
    signed_by: str


class Registration:
    """Registers versions."""

    def __init__(self, ports: RegistrationPorts, rules: RegistrationRules) -> None:
        """Store the arguments; call `open` before the first registration."""
        self._ports = ports
        self._rules = rules
        self._turns = asyncio.Semaphore(rules.most_at_once)
        self._present = 0

    async def open(self) -> None:
        """Remove what a killed process has left in the staging folder, which is this process's alone."""
        await self._ports.threads.run(sweep, self._rules.staging_folder)

    async def register(
        self, request: RegistrationRequest, book: VersionBook, *, prefixes: tuple[str, ...] = ("",), is_trial: bool = False
    ) -> tuple[RegisteredVersion, ...]:
        """Register what a source holds: one version, or all versions of a model's folder, oldest first.

        All are examined before the first is stored; they are written down one after the other, so that a name which is taken leaves those
        before it registered.

        Args:
            request: what and under which name.
            book: where it is written down, in the name of whoever asks.
            prefixes: starts of the models' names that the caller may register; from its credential.
            is_trial: examine only: no file is stored, and what the book does is its own.

        Raises:
            InvalidInput: the source or a version in it is refused; `reason` says which way.
            TenantForbidden: the name is another's (NOT_OWNER), or a signature is missing or wrong (BAD_SIGNATURE).
            AlreadyExists: the version is there with other files.
            Conflict: a step of a graph names what is not registered (STEP_NOT_REGISTERED).
            ArtifactCorrupt: what came is not what its sender said.
            RequestTooLarge: too many files or bytes.
            NotFound: the source is not there.
            NotImplementedHere: a package is missing here.
            Unavailable: a store is away, this disk is full, or too many registrations wait.
        """
        if not request.model.startswith(prefixes):
            raise _not_owned(request.model, prefixes)
        if self._present >= self._rules.most_at_once + self._rules.most_waiting:
            raise Overloaded("too many registrations wait: try again later", retry_after_seconds=5.0)
        self._present += 1
        try:
            async with self._turns, self._staged() as files:
                return await self._story(request, book, files, is_trial=is_trial)
        finally:
            self._present -= 1

    async def _story(
        self, request: RegistrationRequest, book: VersionBook, files: Staged, *, is_trial: bool
    ) -> tuple[RegisteredVersion, ...]:
        source = await self._ports.sources.stage(request.source, files)
        plans = plan_versions(files.paths, await self._ports.threads.run(_ensembles, files))
        if request.version and len(plans) != 1:
            names = ", ".join(plan.name for plan in plans)[:80]
            raise InvalidInput(f"the source holds several versions ({names}): name none, or send one", reason="BAD_VALUE", field="version")
        judged = [await self._judged(request, plan, files) for plan in plans]
        for one in judged:
            await book.check(request.model, one.report)
        registered: list[RegisteredVersion] = []
        for one in judged:
            if not is_trial:
                await self._ports.store.put(one.manifest, {file.path: one.folder / file.path for file in one.manifest.files})
            version = await book.add(self._registered(request, one, source))
            log.info("version_registered", model=version.model, version=version.version, digest=version.digest[:12], source=source)
            registered.append(version)
        return tuple(registered)

    async def _judged(self, request: RegistrationRequest, plan: VersionPlan, files: Staged) -> _Judged:
        name = request.version or plan.name
        folder = await self._ports.threads.run(_lay_out, plan, files)
        manifest = await self._ports.threads.run(_manifest, folder, sorted(plan.files))
        signed_by = self._rules.signing.signer(request.model, manifest.digest, request.signature, request.key_id)
        report = await self._ports.examiner.examine(request.model, name or "1", folder)
        if strangers := unknown_files(plan.files, report.known_files):
            message = f"{strangers[0][:80]!r} belongs neither to the model nor to its configuration: leave it out"
            raise InvalidInput(message, reason="UNSUPPORTED_FORMAT", field="source")
        return _Judged(name=name, folder=folder, manifest=manifest, report=report, signed_by=signed_by)

    def _registered(self, request: RegistrationRequest, judged: _Judged, source: str) -> RegisteredVersion:
        return RegisteredVersion(
            model=request.model,
            version=judged.name,
            manifest=judged.manifest,
            report=judged.report,
            lineage=request.lineage,
            created_by=request.created_by,
            created_time=self._ports.wall_clock(),
            source=source,
            signed_by=judged.signed_by,
            signature=request.signature if judged.signed_by else None,
        )

    @asynccontextmanager
    async def _staged(self) -> AsyncGenerator[Staged]:
        with ExitStack() as stack:
            files = await self._ports.threads.run(stack.enter_context, staged(self._rules.staging_folder, self._rules.staging))
            # Leaving is work for the disk, too; what a cancelled caller leaves is removed all the same.
            removal = stack.pop_all()
        try:
            yield files
        finally:
            await self._ports.threads.run(removal.close)


def _not_owned(model: str, prefixes: tuple[str, ...]) -> TenantForbidden:
    starts = ", ".join(repr(one[:40]) for one in prefixes[:SHOWN_PREFIXES]) + (", …" if len(prefixes) > SHOWN_PREFIXES else "")
    allowed = f"names that begin with {starts}" if prefixes else "no names: its tenant has no model_prefixes"
    return TenantForbidden(f"models named {model[:80]!r} are another's: this key registers {allowed}", reason="NOT_OWNER", field="model")


def _ensembles(files: Staged) -> tuple[str, ...]:
    """Return the staged configurations that are those of ensembles."""
    marked = (path for path in files.paths if path.rpartition("/")[2] == ENSEMBLE_FILE)
    small = (path for path in marked if (files.folder / path).stat().st_size <= LARGEST_BYTES)
    return tuple(path for path in small if says_ensemble((files.folder / path).read_text("utf-8", "replace")))


def _lay_out(plan: VersionPlan, files: Staged) -> Path:
    """Put a version's files where its manifest says; what several versions share is copied, so that every file has one name."""
    folder = files.folder.parent / f"version-{plan.name or 'only'}"
    try:
        for path, staged_path in plan.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.startswith("version/"):
                (files.folder / staged_path).rename(target)
            else:
                shutil.copyfile(files.folder / staged_path, target)
    except OSError as error:
        raise Unavailable(f"nothing can be staged here: {error.strerror}", reason="DISK_FULL") from error
    return folder


def _manifest(folder: Path, paths: list[str]) -> Manifest:
    return Manifest.of(_entry(folder, path) for path in paths)


def _entry(folder: Path, path: str) -> ManifestFile:
    with (folder / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return ManifestFile(path=path, size=os.fstat(file.fileno()).st_size, sha256=digest)
