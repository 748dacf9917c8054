"""Reads zip archives of strangers: regular files and folders, nothing else. Blocks; called in threads.

The standard library reads the members, and only members: nothing is extracted by it. Before it sees the archive, the end record is checked:
it lists every entry in memory, and an archive of a few bytes can claim millions, or the same bytes many times.
"""

from __future__ import annotations

import itertools
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO

from penstock.contracts.errors import InvalidInput
from services.controller.tar_members import CHUNK_BYTES, Sink

MAX_DIRECTORY_BYTES = 8 << 20
"""Largest list of entries."""

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_LOCAL_BYTES = 30
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ENCRYPTED, _UTF8 = 0x1, 0x800


def unpack_zip(archive: BinaryIO, sink: Sink, *, most_entries: int) -> None:
    """Give every file of a zip archive to `sink`.

    Raises:
        InvalidInput: the archive is broken, encrypted or lies, or has a member that is no file and no folder.
        ServingError: the sink refuses a file.
    """
    _check_end(archive, most_entries)
    try:
        with zipfile.ZipFile(archive) as opened:
            members = opened.infolist()
            _check_overlaps(members)
            for member in members:
                _take(opened, member, sink)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        RuntimeError,
        struct.error,
        UnicodeDecodeError,
        OSError,
    ) as error:
        if isinstance(error, OSError) and not isinstance(error, EOFError) and error.errno:
            raise
        raise _bad(f"it is broken ({type(error).__name__}): send it again") from error


def _take(opened: zipfile.ZipFile, member: zipfile.ZipInfo, sink: Sink) -> None:
    name = _checked_name(member)
    if name.endswith("/"):
        sink.count_entry()
        return
    with opened.open(member) as content:
        sink.add(name.removeprefix("./"), _chunks(content, member.file_size), size=member.file_size)


def _checked_name(member: zipfile.ZipInfo) -> str:
    name = member.orig_filename
    if not name.isascii() and not member.flag_bits & _UTF8:
        raise _bad(f"a name is not UTF-8 text: {name[:40]!r}")
    if member.flag_bits & _ENCRYPTED:
        raise _bad(f"{name[:80]!r} is encrypted")
    if member.compress_type not in _METHODS:
        raise _bad(f"{name[:80]!r} is compressed in a way that is not taken: use deflate")
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR) or (kind == stat.S_IFDIR and not name.endswith("/")):
        raise _bad(f"{name[:80]!r} is no regular file: links, devices and pipes are not taken")
    return name


def _chunks(content: IO[bytes], size: int) -> Iterator[bytes]:
    while chunk := content.read(CHUNK_BYTES):
        size -= len(chunk)
        if size < 0:
            raise _bad("a file is longer than its entry says")
        yield chunk


def _check_end(archive: BinaryIO, most_entries: int) -> None:
    """Check the end record: it is the last thing in the file, the list lies right before it, and both are of a sensible size."""
    size = archive.seek(0, 2)
    if size < _END.size:
        raise _bad("it is empty or cut")
    archive.seek(max(0, size - _END.size - 0xFFFF))
    tail = archive.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise _bad("it has no end record: it is no zip archive, or cut")
    _, disk, first_disk, here, entries, directory_bytes, directory_at, comment = _END.unpack_from(tail, at)
    end_at = size - len(tail) + at
    if at + _END.size + comment != len(tail):
        raise _bad("there is something after its end")
    if 0xFFFF in (here, entries) or 0xFFFFFFFF in (directory_bytes, directory_at):
        end_at, entries, directory_bytes, directory_at = _end64(archive, end_at)
        here = entries
    if disk or first_disk or here != entries or directory_at + directory_bytes != end_at:
        raise _bad("its end record does not fit the file")
    if entries > most_entries or directory_bytes > MAX_DIRECTORY_BYTES:
        raise _bad(f"it lists {entries} entries, more than the limit of {most_entries}")
    archive.seek(0)


def _end64(archive: BinaryIO, end_at: int) -> tuple[int, int, int, int]:
    try:
        archive.seek(end_at - _LOCATOR.size)
        mark, _, record_at, _ = _LOCATOR.unpack(archive.read(_LOCATOR.size))
        archive.seek(record_at)
        record = _END64.unpack(archive.read(_END64.size))
    except (OSError, ValueError, struct.error, OverflowError) as error:
        raise _bad("its 64-bit end record cannot be read") from error
    if mark != b"PK\x06\x07" or record[0] != b"PK\x06\x06":
        raise _bad("its 64-bit end record cannot be read")
    return record_at, record[7], record[8], record[9]


def _check_overlaps(members: list[zipfile.ZipInfo]) -> None:
    """Refuse entries that share bytes: the shape of bombs that become larger than any ratio allows."""
    ordered = sorted(members, key=lambda member: member.header_offset)
    for one, following in itertools.pairwise(ordered):
        if one.header_offset + _LOCAL_BYTES + one.compress_size > following.header_offset:
            raise _bad("its entries overlap")


def _bad(message: str) -> InvalidInput:
    return InvalidInput(f"archive: {message}", reason="BAD_ARCHIVE", field="source")
