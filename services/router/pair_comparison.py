"""Compares what a caller was answered with what its copy was answered. Pure.

Outputs are labels (integers, texts, truth values) or numbers. Where there are labels, the answers agree when all of these are equal; else
when every number is within TOLERANCE of the other's. The distance is the largest difference between two numbers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from penstock.contracts.signature import Signature
from penstock.contracts.tensors import DataType
from services.mesh.chunk import Answered
from services.router.answers import share

TOLERANCE = 1e-3


class Pair(NamedTuple):
    """Two answers to one request."""

    signature: Signature
    outputs: Sequence[int]
    """Positions of the answered outputs in the signature."""
    caller: tuple[Answered, int]
    shadow: tuple[Answered, int]


def compared(pair: Pair) -> tuple[bool, float]:
    """Return whether the answers agree, and their distance; answers of different shape do not, at no distance."""
    labels_agree, has_labels, distance = True, False, 0.0
    for index, position in enumerate(pair.outputs):
        datatype = pair.signature.outputs[position].datatype
        one, other = (share(answer, index, offset) for answer, offset in (pair.caller, pair.shadow))
        if len(one) != len(other) and datatype.is_floating:
            return False, 0.0
        if not datatype.is_floating:
            has_labels, labels_agree = True, labels_agree and one == other
        elif datatype is not DataType.BF16:
            distance = max(distance, _distance(one, other, datatype))
    return (labels_agree if has_labels else distance <= TOLERANCE), distance if math.isfinite(distance) else 0.0


def _distance(one: bytes, other: bytes, datatype: DataType) -> float:
    numbers, others = (np.frombuffer(raw, dtype=datatype.dtype).astype(np.float64) for raw in (one, other))
    if not numbers.size:
        return 0.0
    both_are_no_number = np.isnan(numbers) & np.isnan(others)
    differences = np.where(both_are_no_number | (numbers == others), 0.0, np.abs(numbers - others))
    largest = float(differences.max())
    return math.inf if math.isnan(largest) else largest
