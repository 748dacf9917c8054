"""The classification extension: instead of a tensor of scores, its best classes as text.

Each element is `<score>:<index>` or, where the model names its classes, `<score>:<index>:<label>`, best first; equal scores stand in the
order of their indices, NaN stands last. Scores are written as Triton writes them: six decimals, integers without any.
Pure; works on decoded arrays, for every front alike.
"""

from __future__ import annotations

import numpy as np

from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import TensorSpec
from penstock.contracts.tensors import AnyArray, DataType, bf16_to_fp32

_UNSCORED = frozenset({DataType.BYTES, DataType.BOOL})


def check_count(spec: TensorSpec, count: int, *, has_batch_dimension: bool) -> int:
    """Return the number of wanted classes when the output can have so many.

    Raises:
        InvalidInput: below 1, more than the elements of a row (where the signature fixes them), or the output holds no scores.
    """
    sizes = spec.shape[1:] if has_batch_dimension else spec.shape
    _check(spec, count, int(np.prod(sizes, dtype=np.int64)) if all(size >= 0 for size in sizes) else None)
    return count


def classify(array: AnyArray, spec: TensorSpec, count: int, *, has_batch_dimension: bool) -> AnyArray:
    """Return the `count` best classes of every row.

    Args:
        array: scores; BF16 as bit patterns. With a batch dimension the first one counts rows, all others are one list of classes.
        spec: of the output; its labels name the classes.
        count: how many.
        has_batch_dimension: whether the first dimension counts rows.

    Returns:
        `bytes` objects, shape [rows, count], or [count] without a batch dimension.

    Raises:
        InvalidInput: `count` is below 1 or above the number of classes, or the output holds no scores.
    """
    rows = array.shape[0] if has_batch_dimension else 1
    classes = array.size // rows if rows else int(np.prod(array.shape[1:], dtype=np.int64))
    _check(spec, count, classes)
    values = bf16_to_fp32(array) if spec.datatype is DataType.BF16 else array
    scores = values.reshape(rows, classes)
    best = _best(scores, count)
    found = np.empty((rows, count), dtype=object)
    for row in range(rows):
        for rank, index in enumerate(best[row].tolist()):
            found[row, rank] = _text(scores[row, index].item(), index, spec.labels).encode()
    return found if has_batch_dimension else found[0]


def _check(spec: TensorSpec, count: int, classes: int | None) -> None:
    if spec.datatype in _UNSCORED:
        raise InvalidInput(
            f"output {spec.name!r} is {spec.datatype.value} and has no scores to classify by", reason="BAD_PARAMETER", field=spec.name
        )
    if count < 1 or (classes is not None and count > classes):
        limit = "the number of its elements" if classes is None else classes
        raise InvalidInput(
            f"classification of output {spec.name!r} must be from 1 to {limit}, got {count}", reason="BAD_PARAMETER", field=spec.name
        )


def _best(scores: AnyArray, count: int) -> AnyArray:
    """Return the indices of the best scores of each row. Sorting the reversed row keeps the lower index first among equals."""
    if scores.dtype.kind == "f":
        scores = np.where(np.isnan(scores), -np.inf, scores)
    last = scores.shape[1] - 1
    return last - np.argsort(scores[:, ::-1], axis=1, kind="stable")[:, ::-1][:, :count]


def _text(score: float, index: int, labels: tuple[str, ...]) -> str:
    written = f"{score:.6f}" if isinstance(score, float) else str(score)
    return f"{written}:{index}:{labels[index]}" if index < len(labels) else f"{written}:{index}"
