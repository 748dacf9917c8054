"""Reads tar archives of strangers: regular files and folders, nothing else. Blocks; called in threads.

The standard library's reader is not used: its extraction filters could be bypassed (CVE-2025-4517), and it reads headers of any size into
memory. The format is simple: blocks of 512 bytes, a header before each member (POSIX ustar, pax and GNU's long names are understood).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from penstock.contracts.errors import InvalidInput

BLOCK = 512
CHUNK_BYTES = 1 << 20
MAX_EXTRA_BYTES = 64 << 10
"""Largest pax header or long name."""

_FILES, _FOLDERS = b"0\07", b"5"
_PAX, _PAX_GLOBAL, _LONG_NAME = b"x", b"g", b"L"


class Sink(Protocol):
    """Where members go."""

    def count_entry(self) -> None:
        """Count a member that is no file."""
        ...

    def add(self, path: str, chunks: Iterator[bytes], *, size: int | None = None) -> None:
        """Take a file."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    kind: bytes
    name: bytes
    size: int


def unpack_tar(archive: BinaryIO, sink: Sink) -> None:
    """Give every file of a tar archive to `sink`.

    Raises:
        InvalidInput: the archive is broken, or has a member that is no file and no folder.
        ServingError: the sink refuses a file.
    """
    extra: dict[str, bytes] = {}
    while (block := _read(archive, BLOCK)) != bytes(BLOCK):
        header = _parsed(block)
        if header.kind in (_PAX, _LONG_NAME, _PAX_GLOBAL):
            sink.count_entry()
            found = _extra(archive, header)
            extra |= {} if header.kind == _PAX_GLOBAL else found
            continue
        name = _text(extra.get("path", header.name))
        size = _number(extra["size"]) if "size" in extra else header.size
        extra = {}
        if header.kind in _FOLDERS:
            sink.count_entry()
        elif header.kind and header.kind in _FILES:
            sink.add(name.removeprefix("./"), _content(archive, size), size=size)
            _read(archive, -size % BLOCK)
        else:
            raise _bad(f"{name[:80]!r} is no regular file (type {header.kind!r}): links, devices and pipes are not taken")
    while rest := archive.read(CHUNK_BYTES):
        if rest.strip(b"\0"):
            raise _bad("there is something after its end")


def _parsed(block: bytes) -> _Header:
    stated = _number(block[148:156])
    if stated != sum(block[:148]) + 8 * 32 + sum(block[156:]):
        raise _bad("a header's checksum is wrong: it is no tar archive, or cut or damaged")
    name = block[:100].split(b"\0", 1)[0]
    prefix = block[345:500].split(b"\0", 1)[0] if block[257:263] == b"ustar\0" else b""
    return _Header(kind=block[156:157], name=prefix + b"/" + name if prefix else name, size=_number(block[124:136]))


def _number(field: bytes) -> int:
    """Read octal digits, decimal ones in pax headers, or GNU's binary form of sizes above 8 GiB."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    try:
        return int(digits, 8) if len(field) in (8, 12) else int(digits)
    except ValueError as error:
        raise _bad("a number in a header cannot be read") from error


def _extra(archive: BinaryIO, header: _Header) -> dict[str, bytes]:
    if header.size > MAX_EXTRA_BYTES:
        raise _bad(f"an extended header has {header.size} bytes, more than {MAX_EXTRA_BYTES}")
    content = _read(archive, header.size)
    _read(archive, -header.size % BLOCK)
    if header.kind == _LONG_NAME:
        return {"path": content.rstrip(b"\0")}
    found: dict[str, bytes] = {}
    while content:
        length, _, _ = content.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(content):
            raise _bad("an extended header cannot be read")
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        content = content[int(length) :]
        if key == b"path":
            found["path"] = value
        elif key == b"size":
            # A length other than those of the fixed fields tells `_number` that these are decimal digits.
            found["size"] = value.rjust(20)
        elif key.startswith(b"GNU.sparse"):
            raise _bad("sparse files are not taken")
    return found


def _content(archive: BinaryIO, size: int) -> Iterator[bytes]:
    while size > 0:
        chunk = _read(archive, min(size, CHUNK_BYTES))
        size -= len(chunk)
        yield chunk


def _read(archive: BinaryIO, size: int) -> bytes:
    content = archive.read(size) if size else b""
    if len(content) != size:
        raise _bad("it ends too early: send it again")
    return content


def _text(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError as error:
        raise _bad(f"a name is not UTF-8 text: {name[:40]!r}") from error


def _bad(message: str) -> InvalidInput:
    return InvalidInput(f"archive: {message}", reason="BAD_ARCHIVE", field="source")
