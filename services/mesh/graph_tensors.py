"""Tensors on their way through a graph: combined, compared, repeated. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt, ne

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.errors import OutputContract
from penstock.contracts.graphs import Combine, Comparison, Condition, Default
from penstock.contracts.tensors import AnyArray, DataType, bf16_to_fp32, decode, encode, fp32_to_bf16, join_bytes, split_bytes

Parameter = bool | float | str
"""Value of a request's parameter."""

Flags = NDArray[np.bool_]

_COMPARE = {
    Comparison.EQUAL: eq,
    Comparison.UNEQUAL: ne,
    Comparison.BELOW: lt,
    Comparison.AT_MOST: le,
    Comparison.ABOVE: gt,
    Comparison.AT_LEAST: ge,
}


@dataclass(frozen=True, slots=True)
class TensorValue:
    """A tensor in its wire form, batch dimension included."""

    datatype: DataType
    shape: tuple[int, ...]
    raw: bytes

    def __str__(self) -> str:
        """Return for example `FP32[2,10]`."""
        return f"{self.datatype.value}[{','.join(str(size) for size in self.shape)}]"


def combined(how: Combine, values: Sequence[TensorValue], where: str) -> TensorValue:
    """Return what one or more tensors make together; of one it is itself.

    Raises:
        OutputContract: they differ in type or shape, or have no mean.
    """
    first = values[0]
    for value in values[1:]:
        if (value.datatype, value.shape) != (first.datatype, first.shape):
            raise OutputContract(f"step {where!r} combines {first} with {value}: they must be alike")
    if len(values) == 1:
        return first
    if how is Combine.MEAN:
        if not first.datatype.is_floating:
            raise OutputContract(f"step {where!r}: the mean of {first.datatype.value} is not defined; use 'vote'")
        return TensorValue(first.datatype, first.shape, _mean(values))
    return TensorValue(first.datatype, first.shape, _vote(values))


def holds(condition: Condition, value: Parameter) -> bool:
    """Return whether a condition on a parameter of the request holds."""
    wanted = condition.value
    is_alike = _is_number(value) == _is_number(wanted) and isinstance(value, bool) == isinstance(wanted, bool)
    return bool(_COMPARE[condition.comparison](value, wanted)) if is_alike else condition.comparison is Comparison.UNEQUAL


def holds_by_row(condition: Condition, value: TensorValue, rows: int) -> tuple[Flags, Flags]:
    """Return for each row whether a condition holds for any of its elements, and whether for all; of no elements it holds for none.

    Raises:
        OutputContract: the tensor has not so many rows, or its elements cannot be compared with the condition's value.
    """
    wanted = condition.value
    if (value.datatype is DataType.BYTES) != isinstance(wanted, str):
        raise OutputContract(f"the condition on {condition.source} compares {value.datatype.value} with {wanted!r}")
    if rows > 1 and (not value.shape or value.shape[0] != rows):
        raise OutputContract(f"the condition on {condition.source} is for {rows} rows, and it is {value}")
    answers = _COMPARE[condition.comparison](_elements(value), wanted.encode() if isinstance(wanted, str) else wanted)
    held = np.asarray(answers, dtype=np.bool_)
    if not held.size:
        none = np.zeros(rows, dtype=np.bool_)
        return none, none
    by_row = held.reshape(rows, -1)
    return np.any(by_row, axis=1), np.all(by_row, axis=1)


def repeated(default: Default, rows: int | None) -> TensorValue:
    """Return a declared row for so many rows; for None, of models without a batch dimension, as it is."""
    if rows is None:
        return TensorValue(default.datatype, default.shape, default.raw)
    return TensorValue(default.datatype, (rows, *default.shape), default.raw * rows)


def _mean(values: Sequence[TensorValue]) -> bytes:
    arrays = [_elements(value) for value in values]
    kind = values[0].datatype
    total: AnyArray = np.asarray(np.mean(np.stack(arrays), axis=0, dtype=np.float64))
    if kind is DataType.BF16:
        return fp32_to_bf16(total).tobytes()
    return bytes(encode(total.astype(kind.dtype), kind))


def _vote(values: Sequence[TensorValue]) -> bytes:
    """Give each element what most hold, of equally many the first."""
    count = int(np.prod(values[0].shape, dtype=np.int64))
    if values[0].datatype is DataType.BYTES:
        columns = [split_bytes("", count, value.raw) for value in values]
        return join_bytes([max(column, key=column.count) for column in zip(*columns, strict=True)])
    stacked = np.stack([np.frombuffer(value.raw, dtype=value.datatype.dtype) for value in values])
    votes = (stacked[:, None, :] == stacked[None, :, :]).sum(axis=1)
    # argmax takes the first of equals.
    return np.take_along_axis(stacked, votes.argmax(axis=0)[None, :], axis=0)[0].tobytes()


def _elements(value: TensorValue) -> AnyArray:
    array = decode("", value.datatype, value.shape, value.raw)
    return bf16_to_fp32(array) if value.datatype is DataType.BF16 else array


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
