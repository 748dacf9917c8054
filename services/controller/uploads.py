"""Files on their way here, chunk by chunk, each named by the digest that it will have. Blocks; called in threads, one chunk a call.

An upload goes on where it stopped: `received` says where that is. A chunk that does not begin there is refused. What is whole is checked
against its digest; what nobody has touched for a while is removed by `sweep`.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from penstock.contracts.artefacts import MAX_TOTAL_BYTES, check_digest
from penstock.contracts.errors import ArtifactCorrupt, InvalidInput, RequestTooLarge, Unavailable

FOLDER_MODE, FILE_MODE = 0o700, 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadLimits:
    """How much may be on its way, and for how long."""

    file_bytes: int = MAX_TOTAL_BYTES
    idle_seconds: float = 60.0
    """An upload that is not whole is removed when nothing has come for so long."""
    kept_seconds: float = 3600.0
    """A whole one, too."""


@dataclass(slots=True)
class _Upload:
    path: Path
    size: int
    received: int = 0
    is_whole: bool = False
    touched_at: float = 0.0
    turn: threading.Lock = field(default_factory=threading.Lock)


class UploadArea:
    """The uploads of one process."""

    def __init__(self, root: Path, limits: UploadLimits, now: Callable[[], float] = time.monotonic) -> None:
        """Store the arguments; the folder is emptied by `open`."""
        self._root = root
        self._limits = limits
        self._now = now
        self._uploads: dict[str, _Upload] = {}
        self._lock = threading.Lock()

    def open(self) -> None:
        """Make the folder, and remove what an earlier process has left in it.

        Raises:
            Unavailable: it cannot be used.
        """
        try:
            self._root.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
            for left in self._root.iterdir():
                left.unlink()
        except OSError as error:
            raise Unavailable(f"uploads cannot be kept in {self._root}: {error.strerror}", reason="DISK_FULL") from error

    def received(self, sha256: str) -> tuple[int, bool]:
        """Return how many bytes of a file are here, and whether it is whole and checked."""
        upload = self._uploads.get(check_digest(sha256))
        return (upload.received, upload.is_whole) if upload else (0, False)

    def write(self, sha256: str, size: int, offset: int, chunk: bytes) -> int:
        """Append a chunk and return how many bytes are here.

        Raises:
            InvalidInput: it does not begin where the upload stopped, or goes beyond the size that was said.
            RequestTooLarge: the file is larger than the limit.
            ArtifactCorrupt: the file is whole, and not what its digest says; it is gone.
            Unavailable: this disk is full; what came before is still here.
        """
        upload = self._begun(check_digest(sha256), size)
        with upload.turn:
            if offset != upload.received or size != upload.size:
                message = (
                    f"the next byte is {upload.received} of {upload.size}, but a chunk for {offset} of {size} came: ask where to go on"
                )
                raise InvalidInput(message, reason="BAD_UPLOAD", field="offset_bytes")
            if offset + len(chunk) > size:
                message = f"{offset + len(chunk)} bytes came, but the file has {size}"
                raise InvalidInput(message, reason="BAD_UPLOAD", field="size_bytes")
            self._append(upload, chunk)
            if upload.received == size and not upload.is_whole:
                self._check(sha256, upload)
            return upload.received

    def finished(self, sha256: str) -> Path:
        """Return where a whole and checked file lies.

        Raises:
            InvalidInput: it has not come, or not whole.
        """
        upload = self._uploads.get(check_digest(sha256))
        if upload is None or not upload.is_whole:
            raise InvalidInput(f"the file {sha256[:12]} has not been uploaded whole", reason="BAD_UPLOAD", field="sha256")
        upload.touched_at = self._now()
        return upload.path

    def sweep(self) -> int:
        """Remove what nobody has touched for a while, and return how many files that were; called every few seconds."""
        now = self._now()
        with self._lock:
            idle = [name for name, one in self._uploads.items() if now - one.touched_at >= self._life(one) and not one.turn.locked()]
            for name in idle:
                self._uploads.pop(name).path.unlink(missing_ok=True)
        return len(idle)

    def _life(self, upload: _Upload) -> float:
        return self._limits.kept_seconds if upload.is_whole else self._limits.idle_seconds

    def _begun(self, sha256: str, size: int) -> _Upload:
        if size > self._limits.file_bytes:
            raise RequestTooLarge(f"a file of {size} bytes is above the limit of {self._limits.file_bytes}", reason="ARTEFACT_TOO_LARGE")
        if size < 0:
            raise InvalidInput(f"a file of {size} bytes cannot be", reason="BAD_UPLOAD", field="size_bytes")
        with self._lock:
            upload = self._uploads.setdefault(sha256, _Upload(path=self._root / sha256, size=size))
            upload.touched_at = self._now()
            return upload

    def _append(self, upload: _Upload, chunk: bytes) -> None:
        flags = (
            os.O_WRONLY
            | os.O_CREAT
            | os.O_NOFOLLOW
            | os.O_CLOEXEC
            | (os.O_EXCL if upload.received == 0 and not upload.path.exists() else 0)
        )
        try:
            descriptor = os.open(upload.path, flags, FILE_MODE)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                # What a full disk has left of an earlier chunk is written over.
                file.seek(upload.received)
                file.truncate()
                left = memoryview(chunk)
                while left:
                    left = left[file.write(left) :]
        except OSError as error:
            raise Unavailable(f"the upload cannot be kept: {error.strerror}", reason="DISK_FULL", retry_after_seconds=1.0) from error
        upload.received += len(chunk)
        upload.touched_at = self._now()

    def _check(self, sha256: str, upload: _Upload) -> None:
        with upload.path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != sha256:
            with self._lock:
                self._uploads.pop(sha256, None)
            upload.path.unlink(missing_ok=True)
            raise ArtifactCorrupt(f"what came is {found[:12]}, not {sha256[:12]}: send it again", reason="UPLOAD_CORRUPT")
        upload.is_whole = True
