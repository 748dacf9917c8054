"""Whether a model keeps its own promises: type, shape, rows, and numbers that are numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from penstock.contracts.errors import OutputContract, ServingError
from penstock.contracts.signature import ANY, TensorSpec
from penstock.contracts.tensors import AnyArray
from services.worker.batch_buffer import finite
from services.worker.work import Part


class OutputCheck:
    """Compares one output with its specification."""

    __slots__ = ("_fixed", "_rank", "dtype", "spec")

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self.dtype = spec.datatype.dtype
        self._rank = len(spec.shape)
        self._fixed = [(place, size) for place, size in enumerate(spec.shape) if size != ANY]

    def check(self, array: AnyArray, rows: int | None) -> None:
        """Check what the model gave.

        Args:
            array: the output.
            rows: rows that went in, None when the model has no batch dimension.

        Raises:
            OutputContract: the type, the rank, a fixed size or the number of rows differs.
        """
        shape = array.shape
        if array.dtype != self.dtype:
            raise self._broken(f"came as {array.dtype}")
        if len(shape) != self._rank:
            raise self._broken(f"came with shape {list(shape)}")
        if rows is not None and shape[0] != rows:
            raise self._broken(f"came with {shape[0]} rows for {rows} rows of input")
        for place, size in self._fixed:
            if shape[place] != size:
                raise self._broken(f"came with shape {list(shape)}")

    def _broken(self, what: str) -> OutputContract:
        return OutputContract(f"the model's output {self.spec.name!r} {what}; its signature says {self.spec}", field=self.spec.name)


def check_alike(one: Mapping[str, AnyArray], many: Mapping[str, AnyArray]) -> None:
    """Check that rows keep apart: the answer to a row has the same shape alone and among copies of itself.

    Raises:
        OutputContract: an output's rows have another shape, so callers whose rows run together would be told of one another.
    """
    for name, array in one.items():
        if array.shape[1:] != many[name].shape[1:]:
            raise OutputContract(
                f"the model's output {name!r} has the shape {list(array.shape)} for one row and {list(many[name].shape)} for the same row "
                f"{len(many[name])} times: its rows do not keep apart",
                field=name,
            )


def sift_outputs(
    parts: Sequence[Part], checks: Sequence[OutputCheck], arrays: list[AnyArray], *, has_rows: bool
) -> tuple[Sequence[Part], list[AnyArray], list[tuple[Part, ServingError]]]:
    """Take the requests out whose outputs hold NaN or infinity.

    Returns:
        The parts and the outputs that are left, and what was taken out with its error.
    """
    rows = arrays[0].shape[0] if has_rows else 1
    is_good = np.ones(rows, dtype=bool)
    for one, array in zip(checks, arrays, strict=True):
        if one.spec.datatype.is_floating:
            is_good &= finite(array, one.spec.datatype).reshape(rows, -1).all(axis=1)
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
