"""Brings a source's files into staging, whatever the source is."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Protocol
from urllib.parse import urlsplit

import structlog

from penstock.contracts.artefacts import ManifestFile
from penstock.contracts.errors import InvalidInput, NotFound, NotImplementedHere, RequestTooLarge, Unavailable
from penstock.contracts.version_layout import ARCHIVES
from services.chassis.disk_threads import DiskThreads
from services.chassis.object_store import Objects, StoredObject, open_objects
from services.controller.archive_staging import stage_archive
from services.controller.https_source import HttpsSource
from services.controller.registration_values import Archive, Folder, MlflowModel, Source, Uploaded, Url
from services.controller.staging import Staged

log = structlog.get_logger(__name__)

CHUNK_BYTES = 1 << 20
MLFLOW_KEPT = (".onnx", ".data", ".bin", ".json", ".toml", ".pbtxt")
"""Endings of the files of an MLflow model that a version is made of; its environments for Python are not."""


class Blobs(Protocol):
    """Uploaded files; `services.controller.uploads.UploadArea` is one."""

    def finished(self, sha256: str) -> Path:
        """Return where a whole and checked upload lies."""
        ...


class ForeignRegistry(Protocol):
    """A registry of others that hands out files."""

    def download(self, uri: str, folder: Path) -> Path:
        """Bring a version's files into a folder and return where they are. Blocks."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRules:
    """Where versions may come from."""

    folders: tuple[Path, ...] = ()
    """Folders on this machine below which sources may lie."""
    urls: tuple[str, ...] = ()
    """Starts of URLs that may be fetched, each with its `/` at the end: `s3://models/`."""
    url_options: Mapping[str, str] = field(default_factory=dict[str, str])
    """Options of the object stores, see `open_objects`."""
    https: HttpsSource = field(default_factory=HttpsSource)
    """How files are fetched over https, where `urls` allow it."""
    open_url: Callable[[str, Mapping[str, str]], Objects] = open_objects


class MlflowRegistry:
    """MLflow, where its package is installed."""

    def download(self, uri: str, folder: Path) -> Path:
        """Bring a version's files into a folder and return where they are. Blocks.

        Raises:
            NotImplementedHere: the package is not installed.
            NotFound: MLflow does not give it; the text names MLflow's reason only in the log.
        """
        try:
            artifacts: Any = import_module("mlflow.artifacts")
        except ImportError as error:
            message = "models:/ URIs need a package that is not installed here: pip install mlflow-skinny"
            raise NotImplementedHere(message, reason="PACKAGE_MISSING", field="source") from error
        try:
            return Path(artifacts.download_artifacts(artifact_uri=uri, dst_path=str(folder)))
        except Exception as error:
            log.warning("mlflow_failed", uri=uri[:200], error=f"{type(error).__name__}: {str(error)[:500]}")
            raise NotFound(f"MLflow does not give {uri[:80]!r}", reason="ARTEFACT_NOT_FOUND") from error


class Sources:
    """Stages sources."""

    def __init__(self, rules: SourceRules, blobs: Blobs, mlflow: ForeignRegistry, threads: DiskThreads) -> None:
        """Store the arguments."""
        self._rules = rules
        self._blobs = blobs
        self._mlflow = mlflow
        self._threads = threads

    async def stage(self, source: Source, into: Staged) -> str:
        """Bring a source's files into staging and return where they came from, for people.

        Raises:
            InvalidInput: a source that is not allowed, broken, or has names that are not safe.
            NotFound: it is not there.
            ArtifactCorrupt: it is not what its sender said.
            RequestTooLarge: too many files or bytes.
            Unavailable: the store is away, or this disk is full.
            NotImplementedHere: a package is missing for it.
        """
        match source:
            case Folder(path=path):
                await self._threads.run(_stage_folder, self._allowed(path), into)
                return str(path)
            case Archive():
                await self._threads.run(stage_archive, source, into)
                return "upload"
            case Uploaded(files=files):
                await self._threads.run(self._stage_uploaded, files, into)
                return "upload"
            case Url(url=url):
                await self._stage_url(url, into)
                return url
            case MlflowModel(uri=uri):
                await self._threads.run(self._stage_mlflow, uri, into)
                return uri

    def _allowed(self, path: Path) -> Path:
        resolved = path.resolve()
        if not any(resolved.is_relative_to(folder.resolve()) for folder in self._rules.folders):
            raise _refused(f"{str(path)[:80]!r} is not below a folder from which versions may be registered")
        return resolved

    def _stage_uploaded(self, files: tuple[ManifestFile, ...], into: Staged) -> None:
        if len(files) == 1 and "/" not in files[0].path and files[0].path.endswith(ARCHIVES):
            [archive] = files
            stage_archive(Archive(path=self._blobs.finished(archive.sha256), size=archive.size, sha256=archive.sha256), into)
            return
        for file in files:
            with self._blobs.finished(file.sha256).open("rb") as opened:
                into.add(file.path, _read(opened), size=file.size)

    def _stage_mlflow(self, uri: str, into: Staged) -> None:
        parts = urlsplit(uri)
        if parts.scheme != "models" or parts.netloc or not parts.path.strip("/") or not uri.isprintable():
            raise _refused(f"{uri[:80]!r} is no MLflow model: use models:/name/3 or models:/name@alias")
        with tempfile.TemporaryDirectory(dir=into.folder.parent) as folder:
            found = self._mlflow.download(uri, Path(folder))
            _stage_folder(found, into, is_kept=lambda path: path.endswith(MLFLOW_KEPT))

    async def _stage_url(self, url: str, into: Staged) -> None:
        self._check_url(url)
        if url.startswith("https://"):
            await self._stage_https(url, into)
            return
        base, _, name = url.rpartition("/")
        if name and not name.endswith(ARCHIVES):
            base, name = url, ""
        objects = self._rules.open_url(base.rstrip("/"), self._rules.url_options)
        if name:
            await self._stage_stored_archive(objects, name, into)
            return
        found = [one async for one in _bounded(objects, into.limits.files)]
        if not found:
            raise NotFound(f"there is nothing in {url[:80]!r}", reason="ARTEFACT_NOT_FOUND")
        for one in found:
            await self._stage_stored(objects, one.name, one.size, into)

    async def _stage_https(self, url: str, into: Staged) -> None:
        if not url.endswith(ARCHIVES):
            raise _refused(f"{url[:80]!r} is no archive: over https one is fetched, named {', '.join(ARCHIVES)}")
        with tempfile.NamedTemporaryFile(dir=into.folder.parent) as landing:
            async with aclosing(self._rules.https.chunks(url, into.limits.total_bytes)) as chunks:
                async for chunk in chunks:
                    await self._threads.run(_append, landing, chunk)
            await self._threads.run(landing.flush)
            await self._threads.run(stage_archive, Archive(path=Path(landing.name)), into)

    def _check_url(self, url: str) -> None:
        """Refuse every URL that does not start as one that is allowed; nothing is looked up for it."""
        parts = urlsplit(url)
        is_plain = (
            url.isprintable() and url.isascii() and "\\" not in url and not parts.query and not parts.fragment and "@" not in parts.netloc
        )
        if not is_plain or "%" in url or any(part in {".", ".."} for part in parts.path.split("/")):
            shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"[:80]  # what else there is may be a secret
            raise _refused(f"{shown!r} is no plain URL of an object store: no user, query, fragment or escape may be in it")
        if not any(prefix.endswith("/") and url.startswith(prefix) for prefix in self._rules.urls):
            allowed = ", ".join(self._rules.urls) or "none are allowed here"
            raise _refused(f"{url[:80]!r} is not where versions may be fetched from ({allowed})")

    async def _stage_stored(self, objects: Objects, name: str, size: int, into: Staged) -> None:
        if size > into.limits.total_bytes - into.total_bytes:
            raise RequestTooLarge(f"{name[:80]} has {size} bytes, which is beyond the limit", reason="ARTEFACT_TOO_LARGE")
        with tempfile.NamedTemporaryFile(dir=into.folder.parent) as landing:
            await self._download(objects, name, landing, size)
            landing.seek(0)
            await self._threads.run(into.add, name, _read(landing), size=size)

    async def _stage_stored_archive(self, objects: Objects, name: str, into: Staged) -> None:
        size = await objects.size(name)
        if size is None:
            raise NotFound(f"{name} is not in {objects.shown}", reason="ARTEFACT_NOT_FOUND")
        if size > into.limits.total_bytes:
            raise RequestTooLarge(f"{name[:80]} has {size} bytes, which is beyond the limit", reason="ARTEFACT_TOO_LARGE")
        with tempfile.NamedTemporaryFile(dir=into.folder.parent) as landing:
            await self._download(objects, name, landing, size)
            await self._threads.run(stage_archive, Archive(path=Path(landing.name), size=size), into)

    async def _download(self, objects: Objects, name: str, landing: Any, size: int) -> None:
        written = 0
        async for chunk in objects.chunks(name):
            written += len(chunk)
            if written > size:
                break
            await self._threads.run(_append, landing, chunk)
        if written != size:
            raise Unavailable(f"{name[:80]} in {objects.shown} changed while it was fetched", reason="STORE_UNAVAILABLE")
        await self._threads.run(landing.flush)


async def _bounded(objects: Objects, limit: int) -> AsyncIterator[StoredObject]:
    count = 0
    async for one in objects.list(""):
        count += 1
        if count > limit:
            raise RequestTooLarge(f"more than {limit} objects in {objects.shown}", reason="ARTEFACT_TOO_LARGE")
        yield one


def _append(landing: Any, chunk: bytes) -> None:
    try:
        landing.write(chunk)
    except OSError as error:
        raise Unavailable(f"nothing can be staged here: {error.strerror}", reason="DISK_FULL") from error


def _stage_folder(folder: Path, into: Staged, *, is_kept: Callable[[str], bool] = lambda _: True) -> None:
    """Copy a folder's files, opened without following links; hidden ones are not meant."""
    for path, source in _files_below(folder, into):
        if is_kept(path):
            with _opened(source) as opened:
                found = os.fstat(opened.fileno())
                if not stat.S_ISREG(found.st_mode):
                    raise _refused(f"{path[:80]!r} is no regular file")
                if found.st_nlink != 1:
                    raise _refused(f"{path[:80]!r} has a second name somewhere (a hard link): copy the file itself")
                into.add(path, _read(opened), size=found.st_size)


def _files_below(folder: Path, into: Staged, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, Path]]:
    try:
        with os.scandir(folder) as scanned:
            entries = sorted(scanned, key=lambda entry: entry.name)
    except OSError as error:
        raise NotFound(f"{str(folder)[:80]!r} cannot be read: {error.strerror}", reason="ARTEFACT_NOT_FOUND") from error
    for entry in entries:
        path = f"{prefix}{entry.name}"
        if entry.name.startswith("."):
            continue
        if entry.is_symlink():
            raise _refused(f"{path[:80]!r} is a link: put the file itself there")
        if entry.is_dir(follow_symlinks=False):
            into.count_entry()
            if depth > 16:
                raise _refused(f"{path[:80]!r} lies too deep")
            yield from _files_below(Path(entry.path), into, f"{path}/", depth + 1)
        elif not stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
            raise _refused(f"{path[:80]!r} is no regular file")
        else:
            yield path, Path(entry.path)


def _read(opened: Any) -> Iterator[bytes]:
    while chunk := opened.read(CHUNK_BYTES):
        yield chunk


def _opened(path: Path) -> BinaryIO:
    # Not waiting for a writer: a pipe that took the file's place must not hold us.
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")


def _refused(message: str) -> InvalidInput:
    return InvalidInput(message, reason="SOURCE_REFUSED", field="source")
