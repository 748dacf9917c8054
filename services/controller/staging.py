"""Files of strangers, written one by one under names of ours. Blocks; called in threads.

Nothing is extracted or copied by a library: every file, wherever it comes from, passes `Staged.add`, which checks its path, counts its
bytes while it writes them, and creates it new, so that no name of theirs is ever followed. Modes, owners and times are not kept.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import unicodedata
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from penstock.contracts.artefacts import MAX_FILES, MAX_TOTAL_BYTES, check_path
from penstock.contracts.errors import InvalidInput, RequestTooLarge, Unavailable

FILE_MODE, FOLDER_MODE = 0o600, 0o700
PREFIX = "registering-"


@dataclass(frozen=True, slots=True, kw_only=True)
class StagingLimits:
    """How much one registration may bring."""

    total_bytes: int = MAX_TOTAL_BYTES
    files: int = MAX_FILES
    ratio: int = 200
    """Most bytes that one byte of an archive may become."""


class Staged:
    """The files of one registration."""

    def __init__(self, folder: Path, limits: StagingLimits) -> None:
        """Store the arguments; the folder is there and empty."""
        self.folder = folder
        self.limits = limits
        self.total_bytes = 0
        self._room = limits.total_bytes
        self._names: set[str] = set()
        self._paths: set[str] = set()
        self._entries = 0

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that are there, sorted."""
        return tuple(sorted(self._paths))

    def expect_archive(self, archive_bytes: int) -> None:
        """Allow no more than an honest archive of that size holds."""
        self._room = min(self._room, max(archive_bytes, 4096) * self.limits.ratio)

    def count_entry(self) -> None:
        """Count one entry of an archive, whatever it is.

        Raises:
            RequestTooLarge: there are too many.
        """
        self._entries += 1
        if self._entries > self.limits.files:
            raise RequestTooLarge(f"more than {self.limits.files} files: register the model's own files only", reason="ARTEFACT_TOO_LARGE")

    def add(self, path: str, chunks: Iterable[bytes], *, size: int | None = None) -> None:
        """Write one file.

        Args:
            path: its place, as its owner names it.
            chunks: its bytes.
            size: how many there have to be, where somebody has said so.

        Raises:
            InvalidInput: a path that is not safe, one that is there already, or another size than was said.
            RequestTooLarge: too many files or bytes.
            Unavailable: this disk is full.
        """
        self._claim(path)
        written = 0
        try:
            with self._created(path) as descriptor:
                for chunk in chunks:
                    written += len(chunk)
                    self.take_room(len(chunk))
                    _write_all(descriptor, chunk)
        except OSError as error:
            raise Unavailable(f"{path[:80]} cannot be written here: {error.strerror}", reason="DISK_FULL") from error
        if size is not None and written != size:
            raise InvalidInput(f"{path[:80]} has {written} bytes, but {size} were said", reason="BAD_UPLOAD", field="size_bytes")
        self._paths.add(path)

    def take_room(self, size: int) -> None:
        """Count bytes before they are written.

        Raises:
            RequestTooLarge: there are too many.
        """
        self.total_bytes += size
        if self.total_bytes > self._room:
            raise RequestTooLarge(
                f"more than {self._room} bytes: the limit is {self.limits.total_bytes}, and {self.limits.ratio} times an archive's size",
                reason="ARTEFACT_TOO_LARGE",
            )

    def _claim(self, path: str) -> None:
        check_path(path)
        self.count_entry()
        folded = unicodedata.normalize("NFC", path.casefold())
        if folded in self._names:
            raise InvalidInput(f"{path[:80]!r} is there twice, or differs by case only", reason="BAD_ARCHIVE", field="files")
        self._names.add(folded)

    @contextmanager
    def _created(self, path: str) -> Generator[int]:
        """Create a file below our folder: no part of the way may be a link, and the file must be new."""
        *folders, name = path.split("/")
        at = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                at = _inside(at, folder)
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE, dir_fd=at)
        except (FileExistsError, NotADirectoryError) as error:
            raise InvalidInput(f"{path[:80]!r} is a file and a folder", reason="BAD_ARCHIVE", field="files") from error
        finally:
            os.close(at)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def staged(root: Path, limits: StagingLimits) -> Generator[Staged]:
    """Give a registration an empty folder; it is gone when the block is left, however it is left.

    Raises:
        Unavailable: this disk is full, or the folder cannot be made.
    """
    try:
        root.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        files = folder / "files"
        files.mkdir(mode=FOLDER_MODE)
    except OSError as error:
        raise Unavailable(f"nothing can be staged in {root}: {error.strerror}", reason="DISK_FULL") from error
    try:
        yield Staged(files, limits)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove what a killed process has left; called before the first registration."""
    for folder in root.glob(f"{PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _inside(at: int, folder: str) -> int:
    """Make a folder where it is missing, enter it, and let go of the one above; on failure that stays open."""
    with suppress(FileExistsError):
        os.mkdir(folder, FOLDER_MODE, dir_fd=at)
    try:
        inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    except OSError as error:
        raise NotADirectoryError(folder) from error
    os.close(at)
    return inner


def _write_all(descriptor: int, content: bytes) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]
