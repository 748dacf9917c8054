"""What a worker is doing right now, readable after its death.

A small file, mapped into memory: the kernel keeps what was written although the process is killed between two instructions. Entering
a slot is one store of eight bytes, below a microsecond, so every execution can afford it. The supervisor reads the file after a crash
and learns which version was being loaded or run.

Layout, native byte order (it never leaves the machine):

    header   magic 8 · slots u32 · names u32
    slots    one u64 each: phase << 32 | ordinal; 0 is idle. Slot 0 is for loading, one more for each execution thread
    verdict  one u64: ordinal of the version for which the process ends itself, 0 for none; 256 bytes of reason
    names    one record for each ordinal from 1: u64 when it was met · model 256 · version 256, UTF-8 ended by zeros
    marks    MARKS u64 for each slot, ended by 0: the chunks in execution (`last_words.mark_of`), valid while the slot is not idle

Beside it lies `<name>.crash`, into which `faulthandler` writes when the process dies by its own fault (SIGSEGV, SIGFPE, SIGABRT, SIGBUS,
SIGILL), and only then. So routers can tell a request that kills workers from those that were on a worker which somebody else killed.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from penstock.contracts.errors import InvalidInput
from penstock.contracts.names import ModelVersion
from services.chassis.last_words import Casualties, LastWords, Phase, Suspect

MARKS = 32
SLOTS = 64
NAMES = 512

_MAGIC = b"penstbb1"
_HEADER = struct.Struct("=8sII")
_NAME_BYTES = 256
_RECORD = struct.Struct(f"=Q{_NAME_BYTES}s{_NAME_BYTES}s")
_REASON_BYTES = 256
_MORE = 2**64 - 1
"""Stands for the chunks for which there is no room."""
_MARKS = [struct.Struct(f"={count + 1}Q") for count in range(MARKS)]


class Slot:
    """The place of one thread; used by that thread only."""

    __slots__ = ("_index", "_mapped", "_marks_at", "_words")

    def __init__(self, words: memoryview, index: int, mapped: mmap.mmap, marks_at: int) -> None:
        """Store where to write."""
        self._words = words
        self._index = index
        self._mapped = mapped
        self._marks_at = marks_at

    def mark(self, marks: list[int]) -> None:
        """Say which chunks are executed by what is entered next; a microsecond for a batch of some chunks."""
        if len(marks) >= MARKS:
            marks = [*marks[: MARKS - 2], _MORE]
        _MARKS[len(marks)].pack_into(self._mapped, self._marks_at, *marks, 0)

    def enter(self, phase: Phase, ordinal: int) -> None:
        """Say what begins now; replaces what was said before."""
        self._words[self._index] = phase << 32 | ordinal

    def leave(self) -> None:
        """Say that nothing is going on."""
        self._words[self._index] = 0


class Blackbox:
    """Writes the file of one process."""

    def __init__(self, mapped: mmap.mmap, slots: int, names: int) -> None:
        """Store the mapping; made by `open`."""
        self._mapped = mapped
        self._layout = _Layout(slots, names)
        whole = memoryview(mapped)
        self._words = whole[_HEADER.size : self._layout.reason].cast("Q")
        self._ordinals: dict[ModelVersion, int] = {}
        self._unused = list(range(names, 0, -1))
        self._met = 0

    @classmethod
    def open(cls, path: Path, *, slots: int = SLOTS, names: int = NAMES) -> Blackbox:
        """Begin an empty box at `path`, in place of a former one.

        Raises:
            OSError: the file cannot be made, or the disk is full.
        """
        path.unlink(missing_ok=True)
        size = _Layout(slots, names).size
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Allocated, not only sized: a full disk is an error here and not a SIGBUS in the middle of a call.
            os.posix_fallocate(descriptor, 0, size)
            mapped = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        mapped[: _HEADER.size] = _HEADER.pack(_MAGIC, slots, names)
        return cls(mapped, slots, names)

    def register(self, version: ModelVersion) -> int:
        """Return the ordinal of a version, the same one every time until `release`.

        Raises:
            RuntimeError: as many versions are registered as the box has names.
        """
        known = self._ordinals.get(version)
        if known is not None:
            return known
        if not self._unused:
            raise RuntimeError(f"the black box names at most {self._layout.names} versions: release those that are unloaded")
        ordinal = self._unused.pop()
        self._met += 1
        _RECORD.pack_into(self._mapped, self._layout.name(ordinal), self._met, version.model.encode(), version.version.encode())
        self._ordinals[version] = ordinal
        return ordinal

    def release(self, version: ModelVersion) -> None:
        """Give the ordinal of an unloaded version back; no slot may hold it any more."""
        ordinal = self._ordinals.pop(version, None)
        if ordinal is not None:
            self._unused.append(ordinal)

    def slot(self, index: int) -> Slot:
        """Return a slot; 0 is for loading.

        Raises:
            IndexError: the box has fewer slots.
        """
        if not 0 <= index < self._layout.slots:
            raise IndexError(f"slot {index} of {self._layout.slots}")
        return Slot(self._words, index, self._mapped, self._layout.marks(index))

    def blame(self, ordinal: int, reason: str) -> None:
        """Say that the process ends itself because of this version; call it right before the end."""
        start = self._layout.reason
        self._mapped[start : start + _REASON_BYTES] = _padded(reason, _REASON_BYTES)
        self._words[self._layout.slots] = ordinal

    def close(self) -> None:
        """Unmap the file, which stays; slots must not be used any more."""
        self._words.release()
        self._mapped.close()


@dataclass(frozen=True, slots=True)
class _Layout:
    slots: int
    names: int

    @property
    def verdict(self) -> int:
        return _HEADER.size + 8 * self.slots

    @property
    def reason(self) -> int:
        return self.verdict + 8

    @property
    def size(self) -> int:
        return self.marks(self.slots)

    def marks(self, slot: int) -> int:
        return self.name(self.names + 1) + slot * 8 * MARKS

    def name(self, ordinal: int) -> int:
        return self.reason + _REASON_BYTES + (ordinal - 1) * _RECORD.size


def crash_file(path: Path) -> Path:
    """Return where a process writes when it dies by its own fault; `path` is its black box."""
    return path.with_name(f"{path.name}.crash")


def read_casualties(path: Path) -> Casualties | None:
    """Return the chunks that a process was executing when it crashed; None when it did not, or nothing can be known."""
    try:
        content = path.read_bytes()
        magic, slots, names = _HEADER.unpack_from(content)
        layout = _Layout(slots, names)
        if magic != _MAGIC or len(content) != layout.size:
            return None
        words = struct.unpack_from(f"={slots + 1}Q", content, _HEADER.size)
        if not words[slots] and not crash_file(path).stat().st_size:
            return None
    except (OSError, struct.error):
        return None
    marks: set[int] = set()
    for slot in range(slots):
        if words[slot]:
            found = struct.unpack_from(f"={MARKS}Q", content, layout.marks(slot))
            marks.update(found[: found.index(0)] if 0 in found else found)
    return Casualties(marks=frozenset(marks - {_MORE}), is_complete=_MORE not in marks)


def read_blackbox(path: Path) -> LastWords:
    """Return what a dead process was busy with; nothing when there is no such file or it makes no sense."""
    try:
        content = path.read_bytes()
        magic, slots, names = _HEADER.unpack_from(content)
    except (OSError, struct.error):
        return LastWords()
    layout = _Layout(slots, names)
    if magic != _MAGIC or len(content) != layout.size:
        return LastWords()
    words = struct.unpack_from(f"={slots + 1}Q", content, _HEADER.size)
    phases = {word & 0xFFFFFFFF: word >> 32 for word in words[:slots] if word}
    suspects = [_suspect(content, layout, ordinal, phase) for ordinal, phase in phases.items()]
    known = sorted((suspect for suspect in suspects if suspect), key=lambda suspect: suspect.met)
    blamed = _suspect(content, layout, words[slots], Phase.RUNNING)
    reason = content[layout.reason : layout.reason + _REASON_BYTES].rstrip(b"\0").decode(errors="replace")
    return LastWords(suspects=tuple(known), verdict=blamed.version if blamed else None, reason=reason if blamed else "")


def _suspect(content: bytes, layout: _Layout, ordinal: int, phase: int) -> Suspect | None:
    if not 1 <= ordinal <= layout.names:
        return None
    met, model, version = _RECORD.unpack_from(content, layout.name(ordinal))
    try:
        named = ModelVersion(model=_text(model), version=_text(version))
        return Suspect(version=named, phase=Phase(phase), met=met)
    except (ValueError, InvalidInput):
        return None


def _text(padded: bytes) -> str:
    return padded.rstrip(b"\0").decode()


def _padded(text: str, size: int) -> bytes:
    return text.encode()[:size].ljust(size, b"\0")
