"""The newest record of every key: what a compacted topic holds, as bytes and as values. Pure.

A record takes the place of the one held when `supersedes` says so; one that cannot be decoded never does. A key that was ended may be
given again. `packed` and `unpacked` are the form on disk: for every record the lengths of key and value as little-endian uint32, then
both.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Generic, TypeVar

V = TypeVar("V")

_LENGTHS = struct.Struct("<II")

Supersedes = Callable[[V, "V | None"], bool]
"""Whether a new value takes the place of the one held."""


class Unreadable(Exception):
    """A record cannot be decoded; the value held stands."""


class RecordBook(Generic[V]):
    """Values by key with the bytes they came from."""

    def __init__(self, decode: Callable[[bytes], V], supersedes: Supersedes[V] | None = None) -> None:
        """Start empty; without `supersedes` every record takes the place of the one before it."""
        self._decode = decode
        self._supersedes = supersedes
        self._values: dict[str, V] = {}
        self._raws: dict[str, bytes] = {}

    @property
    def values(self) -> Mapping[str, V]:
        """The values held, read-only."""
        return MappingProxyType(self._values)

    def apply(self, key: str, raw: bytes | None) -> bool:
        """Take a record, None to end the key; return whether anything changed.

        Raises:
            Unreadable: the bytes are no value.
        """
        if raw is None:
            self._raws.pop(key, None)
            return self._values.pop(key, None) is not None
        if self._raws.get(key) == raw:
            return False
        value = self._decoded(raw)
        if self._supersedes is not None and not self._supersedes(value, self._values.get(key)):
            return False
        self._values[key], self._raws[key] = value, raw
        return True

    def restore(self, raws: Mapping[str, bytes]) -> Iterator[str]:
        """Take records that were held before, without asking whether they supersede; yield the keys of those that cannot be decoded."""
        for key, raw in raws.items():
            try:
                self._values[key], self._raws[key] = self._decoded(raw), raw
            except Unreadable:
                yield key

    def raws(self) -> dict[str, bytes]:
        """Return a copy of the bytes held."""
        return dict(self._raws)

    def _decoded(self, raw: bytes) -> V:
        try:
            return self._decode(raw)
        except Exception as error:
            raise Unreadable(f"{type(error).__name__}: {error}") from error


def packed(raws: Mapping[str, bytes]) -> bytes:
    """Return records in their form on disk."""
    parts: list[bytes] = []
    for key, raw in raws.items():
        name = key.encode()
        parts += (_LENGTHS.pack(len(name), len(raw)), name, raw)
    return b"".join(parts)


def unpacked(content: bytes) -> dict[str, bytes]:
    """Return the records of a file.

    Raises:
        struct.error, UnicodeDecodeError, ValueError: the content is cut short or no such file.
    """
    raws: dict[str, bytes] = {}
    position = 0
    while position < len(content):
        name_bytes, raw_bytes = _LENGTHS.unpack_from(content, position)
        position += _LENGTHS.size
        end = position + name_bytes + raw_bytes
        if end > len(content):
            raise ValueError("the file ends within a record")
        raws[content[position : position + name_bytes].decode()] = content[position + name_bytes : end]
        position = end
    return raws
