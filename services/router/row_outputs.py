"""Tells a model's outputs in rows or columns."""

from __future__ import annotations

from typing import Any

from penstock.contracts.signature import Signature
from penstock.contracts.tensors import AnyArray
from services.router.json_tensors import plain
from services.router.oip_answer import Answer


def has_rows(answer: Answer, signature: Signature) -> bool:
    """Whether the first dimension of every output counts rows."""
    if not signature.has_batch_dimension or not answer.outputs:
        return False
    arrays = list(answer.outputs.values())
    return all(array.ndim > 0 and array.shape[0] == arrays[0].shape[0] for array in arrays)


def rows_of(answer: Answer, signature: Signature) -> list[dict[str, Any]]:
    """Return an object of named outputs for each row; one for all when the outputs have no rows."""
    if not has_rows(answer, signature):
        return [columns_of(answer)]
    names = tuple(answer.outputs)
    return [dict(zip(names, row, strict=True)) for row in zip(*map(_elements, answer.outputs.values()), strict=True)]


def columns_of(answer: Answer) -> dict[str, Any]:
    """Return each output whole."""
    return {name: plain(array) for name, array in answer.outputs.items()}


def _elements(array: AnyArray) -> list[Any]:
    """Return the rows of an array; rows of numbers stay arrays, which are written fastest."""
    return plain(array) if array.dtype.kind == "O" else list(array)
