"""Whether a model keeps its own promises: type, shape, rows, and numbers that are numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penstock.contracts.errors import OutputContract, ServingError
from penstock.contracts.signature import ANY, TensorSpec
from penstock.contracts.tensors import AnyArray, DataType
from services.worker.batch_buffer import finite
from services.worker.work import Part


def check_output(spec: TensorSpec, array: AnyArray, rows: int | None) -> None:
    """Compare an output with its specification.

    Args:
        spec: what the signature says.
        array: what the model gave.
        rows: rows that went in, None when the model has no batch dimension.

    Raises:
        OutputContract: the type, the rank, a fixed size or the number of rows differs.
    """
    if array.dtype != spec.datatype.dtype and not (spec.datatype is DataType.BYTES and array.dtype.kind in "OSU"):
        raise _broken(spec, f"came as {array.dtype}")
    shape = array.shape
    if len(shape) != len(spec.shape):
        raise _broken(spec, f"came with shape {list(shape)}")
    if rows is not None and shape[0] != rows:
        raise _broken(spec, f"came with {shape[0]} rows for {rows} rows of input")
    for wanted, size in zip(spec.shape, shape, strict=True):
        if wanted not in (ANY, size):
            raise _broken(spec, f"came with shape {list(shape)}")


def sift_outputs(
    parts: Sequence[Part], specs: Sequence[TensorSpec], arrays: list[AnyArray], *, has_rows: bool
) -> tuple[Sequence[Part], list[AnyArray], list[tuple[Part, ServingError]]]:
    """Take the requests out whose outputs hold NaN or infinity.

    Returns:
        The parts and the outputs that are left, and what was taken out with its error.
    """
    rows = arrays[0].shape[0] if has_rows else 1
    is_good = np.ones(rows, dtype=bool)
    for spec, array in zip(specs, arrays, strict=True):
        if spec.datatype.is_floating:
            is_good &= finite(array, spec.datatype).reshape(rows, -1).all(axis=1)
    if is_good.all():
        return parts, arrays, []
    kept: list[Part] = []
    refused: list[tuple[Part, ServingError]] = []
    at = 0
    for part in parts:
        good: list[int] = []
        for position in part.positions:
            mine = slice(at, at + part.work.rows)
            at += part.work.rows
            if is_good[mine].all():
                good.append(position)
            else:
                is_good[mine] = False
                refused.append(
                    (Part(part.work, (position,)), OutputContract("an output holds NaN or infinity", reason="OUTPUT_NOT_FINITE"))
                )
        if good:
            kept.append(Part(part.work, good))
    return kept, [array[is_good] for array in arrays] if has_rows else arrays, refused


def _broken(spec: TensorSpec, what: str) -> OutputContract:
    return OutputContract(f"the model's output {spec.name!r} {what}; its signature says {spec}", field=spec.name)
