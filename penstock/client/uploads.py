"""Sends the files of a version to the controller, each from where the last try ended."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from penstock.client.control import Control
from penstock.client.writes import SentFile
from penstock.contracts.errors import InvalidInput
from penstock.contracts.version_layout import ARCHIVES
from penstock.v1 import controller_pb2 as pb

CHUNK_BYTES = 1 << 20
"""Bytes of one message."""

LARGEST_FILES = 10_000
"""Most files of one version."""

UPLOAD_SECONDS = 3600.0
"""Longest upload of one file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalFile:
    """A file of a version, as it lies here; its name is the path inside the version's folder, with slashes."""

    path: Path
    sent: SentFile


def files_of(folder: Path) -> list[LocalFile]:
    """Return the files below a folder by name, with their hashes.

    Raises:
        InvalidInput: no folder, no file, something that is no plain file, or more than LARGEST_FILES.
    """
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is no folder", field="path")
    found: list[LocalFile] = []
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in (*sorted(names), *(one for one in folders if (Path(root) / one).is_symlink())):
            path = Path(root) / name
            if not stat.S_ISREG(path.lstat().st_mode):
                raise InvalidInput(f"{path} is no plain file: links and devices cannot be registered", field="path")
            if len(found) == LARGEST_FILES:
                raise InvalidInput(f"{folder} holds more than {LARGEST_FILES} files", field="path")
            name_inside = path.relative_to(folder).as_posix()
            found.append(LocalFile(path=path, sent=SentFile(name=name_inside, size=path.stat().st_size, sha256=_sha256(path))))
    if not found:
        raise InvalidInput(f"{folder} is empty", field="path")
    return found


def archive_of(path: Path) -> LocalFile:
    """Return an archive of a version's files, which the controller unpacks.

    Raises:
        InvalidInput: no file whose name ends as one of ARCHIVES.
    """
    if not is_archive(path):
        raise InvalidInput(f"{path} is neither a folder nor an archive ({', '.join(ARCHIVES)})", field="path")
    return LocalFile(path=path, sent=SentFile(name=path.name, size=path.stat().st_size, sha256=_sha256(path)))


def is_archive(path: Path) -> bool:
    """Whether it is a file whose name ends as an archive's does."""
    return path.name.endswith(ARCHIVES) and path.is_file()


def send(control: Control, file: LocalFile, on_progress: Callable[[int], None] = lambda _: None) -> None:
    """Send one file, unless the controller has it; `on_progress` hears how many bytes are sent.

    Raises:
        ServingError: the class says whose fault it is and what to do.
    """
    state = control.call(control.stub.GetUpload, pb.GetUploadRequest(sha256=file.sent.sha256))
    if state.complete:
        on_progress(file.sent.size)
        return
    chunks = _chunks(file, state.received_bytes, on_progress)
    control.call(control.stub.UploadBlob, chunks, patience=UPLOAD_SECONDS)


def _chunks(file: LocalFile, offset: int, on_progress: Callable[[int], None]) -> Iterator[pb.UploadBlobRequest]:
    with file.path.open("rb") as stream:
        stream.seek(offset)
        while True:
            chunk = stream.read(CHUNK_BYTES)
            yield pb.UploadBlobRequest(sha256=file.sent.sha256, size_bytes=file.sent.size, offset_bytes=offset, chunk=chunk)
            offset += len(chunk)
            on_progress(offset)
            if len(chunk) < CHUNK_BYTES:
                return


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
