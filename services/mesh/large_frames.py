"""Frames of one large chunk, written and read around its tensors, which protobuf would copy at every step.

On the wire they are frames like all others (link.proto): a chunk whose columns stand at its end. A reader that knows nothing of this
module reads them, and what is laid out in another way is read by protobuf.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from penstock.contracts.varint import read_varint, varint
from penstock.v1 import link_pb2 as pb
from services.mesh.chunk import Chunk

LARGE_BYTES = 64 * 1024
"""Chunks of more bytes are written and read here; below, protobuf costs less than this code."""
PIECE_BYTES = 32 * 1024
"""Shorter tensors are joined before they are sent."""

# Tags of link.proto, of fields that are lengths and bytes.
CHUNK, COLUMN, RAW, LENGTHS = 0x12, 0x42, 0x0A, 0x12
_VARINT, _BYTES = 0, 2


@dataclass(slots=True)
class LargeColumn:
    """One input of all requests, as `InputColumn`; `raw` is a view of the frame."""

    raw: memoryview | bytes = b""
    lengths: bytes = b""


@dataclass(frozen=True, slots=True)
class LargeChunk:
    """A chunk whose columns stay where they arrived."""

    head: pb.Chunk
    """Without columns."""
    columns: Sequence[LargeColumn]


def is_large(chunk: Chunk) -> bool:
    """Whether a sealed chunk is worth a frame of its own; its first request speaks for all."""
    return sum([len(column[0]) for column in chunk.columns if column]) * chunk.size > LARGE_BYTES


def lengths_of(column: Sequence[bytes]) -> bytes:
    """Return the lengths of a column's tensors as they travel; nothing when all are equal."""
    return b"" if len(set(map(len, column))) == 1 else array("I", map(len, column)).tobytes()


def frame(prefix: struct.Struct, head: pb.Chunk, columns: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Return a frame in pieces to be sent one after the other; `prefix` packs a frame's length."""
    described = head.SerializeToString()
    pieces: list[bytes] = []
    for column in columns:
        raw_bytes, lengths = sum(map(len, column)), lengths_of(column)
        raw = bytes([RAW]) + varint(raw_bytes)
        tail = bytes([LENGTHS]) + varint(len(lengths)) + lengths if lengths else b""
        pieces.append(bytes([COLUMN]) + varint(len(raw) + raw_bytes + len(tail)) + raw)
        pieces += column if raw_bytes >= PIECE_BYTES * len(column) else [b"".join(column)]
        if tail:
            pieces.append(tail)
    chunk_bytes = len(described) + sum(map(len, pieces))
    begin = bytes([CHUNK]) + varint(chunk_bytes)
    return [prefix.pack(len(begin) + chunk_bytes) + begin + described, *pieces]


def read(body: memoryview) -> LargeChunk | None:
    """Return the chunk of a large frame that holds one chunk and nothing else; None for every other, and for one that is broken."""
    if len(body) <= LARGE_BYTES:
        return None
    try:
        length, at = read_varint(body, 1)
        if body[0] != CHUNK or at + length != len(body):
            return None
        others: list[memoryview] = []
        columns: list[LargeColumn] = []
        while at < len(body):
            begin, (tag, inside, at) = at, _field(body, at)
            if tag == COLUMN:
                columns.append(_column(inside))
            else:
                others.append(body[begin:at])
    except (IndexError, ValueError):
        return None
    return LargeChunk(pb.Chunk.FromString(b"".join(others)), columns)


def _column(body: memoryview) -> LargeColumn:
    column, at = LargeColumn(), 0
    while at < len(body):
        tag, inside, at = _field(body, at)
        if tag == RAW:
            column.raw = inside
        elif tag == LENGTHS:
            column.lengths = bytes(inside)
        else:
            raise ValueError
    return column


def _field(body: memoryview, at: int) -> tuple[int, memoryview, int]:
    """Return a field's tag, its bytes where it has a length, and where the next one begins."""
    tag = body[at]
    if tag > 127 or tag & 7 not in {_VARINT, _BYTES}:
        raise ValueError
    number, end = read_varint(body, at + 1)
    if tag & 7 == _VARINT:
        return tag, body[end:end], end
    if end + number > len(body):
        raise IndexError
    return tag, body[end : end + number], end + number
