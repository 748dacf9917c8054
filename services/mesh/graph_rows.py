"""Rows of a request that go their own ways through a graph: told apart, taken out of tensors, put together again. Pure.

Bytes of fixed-size elements are moved by numpy, a row at a time at most; only BYTES tensors, whose rows lie where their lengths say, are
walked through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.errors import InvalidInput, OutputContract
from penstock.contracts.tensors import DataType, join_bytes, split_bytes
from services.mesh.graph_tensors import TensorValue


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Some rows of a request. What has no batch dimension, and what has no rows, goes undivided: it counts as one."""

    mask: NDArray[np.bool_]
    """A flag for each row of the request; nobody writes to it."""

    @property
    def count(self) -> int:
        """How many they are."""
        return int(np.count_nonzero(self.mask))

    @property
    def is_all(self) -> bool:
        """Whether they are the whole request."""
        return bool(self.mask.all())

    @property
    def is_none(self) -> bool:
        """Whether there are none."""
        return not self.mask.any()

    @property
    def first(self) -> int:
        """Number of the first one, from 0."""
        return int(self.mask.argmax())

    def __and__(self, other: Rows) -> Rows:
        """Return those that are among the others."""
        return self if other is self else Rows(self.mask & other.mask)

    def __sub__(self, other: Rows) -> Rows:
        """Return those that are not among the others."""
        return Rows(self.mask & ~other.mask)

    def chosen(self, flags: NDArray[np.bool_]) -> Rows:
        """Return those whose flag is set; `flags` has one for each of these rows."""
        mask = np.zeros_like(self.mask)
        mask[self.mask] = flags
        return Rows(mask)

    def places_in(self, held: Rows) -> NDArray[np.intp]:
        """Return where these rows stand among the rows `held`, which have all of them."""
        return np.flatnonzero(self.mask[held.mask])


@lru_cache(maxsize=1024)
def every_row(count: int) -> Rows:
    """Return all rows of a request."""
    return Rows(np.ones(max(count, 1), dtype=np.bool_))


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A tensor of some rows of a request, in their order."""

    value: TensorValue
    rows: Rows

    def of(self, wanted: Rows) -> Part:
        """Return the part of some of its rows.

        Raises:
            OutputContract: it has other rows than it should have.
        """
        if wanted is self.rows or np.array_equal(wanted.mask, self.rows.mask):
            return self
        _check_rows(self)
        value, places = self.value, wanted.places_in(self.rows)
        shape = (len(places), *value.shape[1:])
        if value.datatype is DataType.BYTES:
            texts = _text_rows(value)
            return Part(value=TensorValue(value.datatype, shape, b"".join([texts[place] for place in places])), rows=wanted)
        return Part(value=TensorValue(value.datatype, shape, _lines(value).take(places, axis=0).tobytes()), rows=wanted)


def together(parts: Sequence[Part], rows: Rows, where: str) -> Part:
    """Return parts as one tensor in the order of the request's rows; each row is in exactly one of them.

    Raises:
        OutputContract: they differ in type, or one has other rows than it should have.
        InvalidInput: they differ in the size of a row, so that no tensor can hold them all (MIXED_ROWS).
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0].value
    for part in parts:
        _check_rows(part)
        if part.value.datatype is not first.datatype:
            raise OutputContract(f"step {where!r} puts rows of {first} and {part.value} together: they must be of one type")
        if part.value.shape[1:] != first.shape[1:]:
            raise InvalidInput(
                f"step {where!r} cannot put rows of {first} and {part.value} into one tensor: send rows that go different ways apart",
                reason="MIXED_ROWS",
                field=where,
            )
    shape = (rows.count, *first.shape[1:])
    is_text = first.datatype is DataType.BYTES
    return Part(value=TensorValue(first.datatype, shape, (_texts if is_text else _bytes)(parts, rows)), rows=rows)


def _bytes(parts: Sequence[Part], rows: Rows) -> bytes:
    lines = [_lines(part.value) for part in parts]
    whole = np.empty((rows.count, lines[0].shape[1]), dtype=np.uint8)
    for part, some in zip(parts, lines, strict=True):
        whole[part.rows.places_in(rows)] = some
    return whole.tobytes()


def _texts(parts: Sequence[Part], rows: Rows) -> bytes:
    whole = [b""] * rows.count
    for part in parts:
        for place, text in zip(part.rows.places_in(rows), _text_rows(part.value), strict=True):
            whole[place] = text
    return b"".join(whole)


def _lines(value: TensorValue) -> NDArray[np.uint8]:
    """View a tensor of fixed-size elements as the bytes of each row."""
    return np.frombuffer(value.raw, dtype=np.uint8).reshape(value.shape[0], len(value.raw) // value.shape[0])


def _text_rows(value: TensorValue) -> list[bytes]:
    """Return the bytes of each row, with their length prefixes."""
    count, each = value.shape[0], prod(value.shape[1:])
    elements = split_bytes("", count * each, value.raw)
    return [join_bytes(elements[row * each : (row + 1) * each]) for row in range(count)]


def _check_rows(part: Part) -> None:
    count = part.rows.count
    if not part.value.shape or part.value.shape[0] != count:
        raise OutputContract(f"a tensor of {count} rows was to be taken apart, and is {part.value}")
