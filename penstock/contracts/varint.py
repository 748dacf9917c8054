"""Numbers as protobuf writes them in messages, for those who read and write messages around what protobuf would copy."""

from __future__ import annotations

import mmap

_SHORT = [bytes((number,)) for number in range(0x80)]
_MOST_BITS = 63


def varint(number: int) -> bytes:
    """Return a number from 0 to 2⁶⁴−1 as a protobuf varint."""
    if number < 0x80:
        return _SHORT[number]
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def read_varint(buffer: bytes | memoryview | mmap.mmap, at: int) -> tuple[int, int]:
    """Return the varint that begins `at`, and where it ends.

    Raises:
        IndexError: the buffer ends within it.
        ValueError: it is longer than any number.
    """
    number = shift = 0
    while True:
        byte = buffer[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > _MOST_BITS:
            raise ValueError(f"a number at byte {at} is too long")
