"""Counts the fields of a serialised ModelInferRequest before it is parsed. Pure.

A parser makes an object of every entry, so a few megabytes of empty entries become hundreds of megabytes and hold the loop: two bytes an
empty input, one byte a size of a shape. A message of up to SMALL_BYTES cannot hold enough of them to matter and is not looked at. The walk
steps over contents by their lengths; it takes 0.5 µs a field, and ends at the first limit that is broken.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.contracts.errors import InvalidInput
from penstock.contracts.varint import read_varint

SMALL_BYTES = 4096
INPUT_LIMIT = 256
"""Most inputs, and most outputs, that a request may list."""
PARAMETER_LIMIT = 64
"""Most parameters of one request."""
SHAPE_BYTES = 2048
"""Longest encoding of a shape."""
NESTED_LIMIT = 4096
"""Most fields of all inputs and outputs together."""
OTHER_LIMIT = 1024
"""Most fields that are none of those below."""

_PARAMETERS, _INPUTS, _OUTPUTS, _RAW = 4, 5, 6, 7
_SHAPE = 3
_LIMITS = {_PARAMETERS: PARAMETER_LIMIT, _INPUTS: INPUT_LIMIT, _OUTPUTS: INPUT_LIMIT, _RAW: INPUT_LIMIT}
_VARINT, _EIGHT, _LENGTH, _FOUR = 0, 1, 2, 5


def check_counts(payload: bytes) -> None:
    """Refuse a request that lists more than any model takes; bytes that are no message are left to the parser.

    Raises:
        InvalidInput: too many inputs, outputs, parameters or other fields, or a shape that is too long.
    """
    if len(payload) <= SMALL_BYTES:
        return
    counts = dict.fromkeys((0, *_LIMITS), 0)
    nested = 0
    for number, start, end in fields(payload, 0, len(payload)):
        kind = number if number in _LIMITS else 0
        counts[kind] += 1
        if counts[kind] > _LIMITS.get(kind, OTHER_LIMIT):
            raise _too_many(kind)
        if kind in {_INPUTS, _OUTPUTS}:
            for inner, first, last in fields(payload, start, end):
                nested += 1
                if inner == _SHAPE and last - first > SHAPE_BYTES:
                    raise InvalidInput("an input has more dimensions than any model", reason="SHAPE_MISMATCH", field="shape")
                if nested > NESTED_LIMIT:
                    raise _too_many(kind)


def _too_many(kind: int) -> InvalidInput:
    if kind == _PARAMETERS:
        return InvalidInput(f"more than {PARAMETER_LIMIT} parameters are given", reason="BAD_PARAMETER", field="parameters")
    if kind in _LIMITS:
        return InvalidInput(f"more than {INPUT_LIMIT} inputs or outputs are listed", reason="BAD_VALUE", field="inputs")
    return InvalidInput("the message is not a ModelInferRequest: it holds too many fields", reason="MALFORMED")


def fields(payload: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (number, start, end) of each field's content; ends at the first that cannot be read.

    Raises:
        InvalidInput: a group, which no message of the protocol has.
    """
    try:
        while at < end:
            tag, at = read_varint(payload, at)
            kind, start = tag & 7, at
            if kind == _LENGTH:
                length, start = read_varint(payload, at)
                at = start + length
            elif kind == _VARINT:
                _, at = read_varint(payload, at)
            elif kind in {_EIGHT, _FOUR}:
                at += 8 if kind == _EIGHT else 4
            else:
                raise InvalidInput("the message is not a ModelInferRequest: it holds a group", reason="MALFORMED")
            yield tag >> 3, start, at
    except (IndexError, ValueError):
        return
