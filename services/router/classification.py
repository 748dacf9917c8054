"""The classification extension of the Open Inference Protocol: an output's best classes instead of its numbers.

Pure. Each row's classes come best first as `score:index` or `score:index:label` texts, as Triton writes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.contracts.errors import InvalidInput
from penstock.contracts.signature import TensorSpec
from penstock.contracts.tensors import DataType


def classify(array: NDArray[Any], spec: TensorSpec, count: int, *, has_batch_dimension: bool) -> NDArray[np.object_]:
    """Return the `count` best classes of each row.

    Returns:
        BYTES elements of shape [rows, count], or [count] without a batch dimension; count is cut to the number of elements.

    Raises:
        InvalidInput: the output holds texts.
    """
    if spec.datatype is DataType.BYTES:
        raise InvalidInput(f"output {spec.name!r} is BYTES and has no classes", reason="BAD_PARAMETER", field=spec.name)
    rows = array.reshape(array.shape[0], -1) if has_batch_dimension and array.ndim else array.reshape(1, -1)
    best = np.argsort(-rows.astype(np.float64), axis=1, kind="stable")[:, : min(count, rows.shape[1])]
    texts = np.empty(best.shape, dtype=object)
    for row, indices in enumerate(best.tolist()):
        for place, index in enumerate(indices):
            texts[row, place] = _text(rows[row, index], index, spec.labels).encode()
    return texts if has_batch_dimension else texts[0]


def _text(score: Any, index: int, labels: tuple[str, ...]) -> str:
    shown = f"{float(score):f}" if isinstance(score, np.floating) else str(score)
    return f"{shown}:{index}:{labels[index]}" if index < len(labels) else f"{shown}:{index}"
