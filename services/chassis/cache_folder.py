"""What an artefact cache looks like on disk. Blocks; called in threads.

<root>/.lock                   held by the process that uses the cache
<root>/<digest>/manifest.json  its time of change is when the version was last asked for
<root>/<digest>/files/…        the version's files: regular files of one name each, so that ONNX Runtime takes them
<root>/.<digest>.<n>.tmp/      being filled; renamed when whole, removed at the next start when not
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import structlog

from penstock.contracts.artefacts import MAX_MANIFEST_BYTES, Manifest, ManifestFile, check_digest
from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, Unavailable
from services.chassis.cache_plan import Cached, occupied_bytes

FILES = "files"
MANIFEST = "manifest.json"
FOLDER_MODE, FILE_MODE = 0o700, 0o600

_serial = itertools.count()

log = structlog.get_logger(__name__)


@contextmanager
def owned(root: Path) -> Generator[None]:
    """Make the folder and hold it for this process.

    Raises:
        Unavailable: another process uses it, or it cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        descriptor = os.open(root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
    except OSError as error:
        raise Unavailable(f"the artefact cache {root} cannot be used: {error.strerror}", reason="DISK_FULL") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise Unavailable(f"the artefact cache {root} is used by another process: give each worker a folder of its own") from error
    finally:
        os.close(descriptor)


def swept(root: Path) -> dict[str, Cached]:
    """Remove what a killed process has left, and return what is whole."""
    found: dict[str, Cached] = {}
    for entry in sorted(root.iterdir()):
        if entry.name == ".lock":
            continue
        cached = _whole(entry)
        if cached is None:
            log.info("cache_leftover_removed", name=entry.name)
            remove_tree(entry)
        else:
            found[cached.digest] = cached
    return found


def draft_of(root: Path, digest: str) -> Path:
    """Make and return the folder in which a version is filled."""
    draft = root / f".{digest}.{os.getpid()}-{next(_serial)}.tmp"
    (draft / FILES).mkdir(parents=True, mode=FOLDER_MODE)
    return draft


class DraftFile:
    """One file of a draft while it is written; every method blocks, and `close` may always be called."""

    def __init__(self, draft: Path, path: str) -> None:
        """Store the arguments; the path has been checked."""
        self._target = draft / FILES / path
        self._descriptor = -1

    def open(self) -> None:
        """Create the file."""
        self._target.parent.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        self._descriptor = os.open(self._target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)

    def write(self, chunk: bytes) -> None:
        """Append all bytes, however few the disk takes at a time."""
        _write_all(self._descriptor, chunk)

    def truncate(self) -> None:
        """Forget what was written."""
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        os.ftruncate(self._descriptor, 0)

    def close(self) -> None:
        """Let go of the file; some file systems say only now that they are full."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


def publish(draft: Path, manifest: Manifest, used_ns: int) -> Path:
    """Make a filled draft the version, and return its folder."""
    descriptor = os.open(draft / MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        _write_all(descriptor, manifest.to_bytes())
    finally:
        os.close(descriptor)
    touch(draft, used_ns)
    return draft.rename(draft.parent / manifest.digest)


def touch(folder: Path, used_ns: int) -> None:
    """Note when a version was asked for; the kernel's own clock for it is too coarse to tell two apart."""
    os.utime(folder / MANIFEST, ns=(used_ns, used_ns))


def read_manifest(folder: Path) -> Manifest:
    """Return what a folder claims to hold.

    Raises:
        ArtifactCorrupt: the manifest is gone, or is not that of the folder's name.
    """
    try:
        with (folder / MANIFEST).open("rb") as file:
            return Manifest.from_bytes(file.read(MAX_MANIFEST_BYTES + 1), digest=folder.name)
    except (OSError, InvalidInput) as error:
        raise ArtifactCorrupt(f"the cached manifest of {folder.name[:12]} cannot be read") from error


def verify(folder: Path) -> Manifest:
    """Read every file of a version, and return its manifest.

    Raises:
        ArtifactCorrupt: a file is gone, is no regular file, or is not what its digest says; or there is a file too many.
    """
    manifest = read_manifest(folder)
    for file in manifest.files:
        _verify_file(folder, file)
    there = {str(path.relative_to(folder / FILES)) for path in (folder / FILES).rglob("*") if not path.is_dir() or path.is_symlink()}
    if strangers := there - {file.path for file in manifest.files}:
        raise ArtifactCorrupt(f"{folder.name[:12]} has a file that is not its own: {min(strangers)[:80]}")
    return manifest


def remove_tree(path: Path) -> None:
    """Remove a folder or file; first from sight, so that half of a version is never taken for one."""
    try:
        if path.is_dir() and not path.is_symlink():
            if not path.name.startswith("."):
                path = path.rename(path.with_name(f".{path.name}.{os.getpid()}-{next(_serial)}.tmp"))
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        log.warning("cache_not_removed", path=str(path), error=error.strerror)


def occupied_by(manifest: Manifest) -> int:
    """Return what a version takes of the disk, its manifest included."""
    return occupied_bytes([*(file.size for file in manifest.files), len(manifest.to_bytes())])


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def _whole(entry: Path) -> Cached | None:
    """Return what an entry holds by its names and sizes; None when it is not a whole version. Contents are checked at each load."""
    try:
        check_digest(entry.name)
        manifest = read_manifest(entry)
        for file in manifest.files:
            if (entry / FILES / file.path).lstat().st_size != file.size:
                return None
        used_ns = (entry / MANIFEST).stat().st_mtime_ns
    except (ArtifactCorrupt, InvalidInput, OSError):
        return None
    return Cached(digest=entry.name, occupied_bytes=occupied_by(manifest), used_ns=used_ns)


def _verify_file(folder: Path, file: ManifestFile) -> None:
    name = f"{file.path} of {folder.name[:12]}"
    try:
        descriptor = os.open(folder / FILES / file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as opened:
            found = os.fstat(opened.fileno())
            if found.st_size != file.size or found.st_nlink != 1:
                raise ArtifactCorrupt(f"{name} has another size or a second name on this disk")
            if hashlib.file_digest(opened, "sha256").hexdigest() != file.sha256:
                raise ArtifactCorrupt(f"{name} is not what its digest says")
    except OSError as error:
        raise ArtifactCorrupt(f"{name} cannot be read: {error.strerror}") from error
