"""Joins calls that wait at the same time into one request, and cuts its answer up again. Pure values; the clients do the waiting.

Work-conserving: a call that finds nothing under way goes out at once, those that arrive meanwhile form the next request. Only calls
of the same model, version, outputs, parameters, types and row shapes are joined, up to `ROWS_LIMIT` rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from penstock.client.encoding import Call
from penstock.client.prediction import Prediction
from penstock.contracts.errors import Internal
from penstock.contracts.tensors import DataType

ROWS_LIMIT = 32

Arrays = Mapping[str, tuple[DataType, NDArray[Any]]]


def shape_key(call: Call, arrays: Arrays) -> object:
    """Return what calls must have in common to be joined; None when a call has no rows to join."""
    if (
        any(array.ndim == 0 or array.shape[0] == 0 for _, array in arrays.values())
        or len({array.shape[0] for _, array in arrays.values()}) != 1
    ):
        return None
    described = tuple((name, kind, array.shape[1:]) for name, (kind, array) in arrays.items())
    parameters = tuple(sorted((name, repr(value)) for name, value in call.parameters.items()))
    return (call.model, call.version, tuple(call.outputs), call.routing_key, call.priority, parameters, described)


def rows_of(arrays: Arrays) -> int:
    """Return the rows of a call that has a shape key."""
    return next(iter(arrays.values()))[1].shape[0]


def joined(calls: Sequence[tuple[Call, Arrays]]) -> tuple[Call, Arrays]:
    """Return one call with the rows of all."""
    first, arrays = calls[0]
    together = {name: (kind, np.concatenate([one[name][1] for _, one in calls])) for name, (kind, _) in arrays.items()}
    return replace(first, inputs={name: array for name, (_, array) in together.items()}, request_id=""), together


def cut(prediction: Prediction, calls: Sequence[tuple[Call, Arrays]]) -> list[Prediction]:
    """Return each call's part of the answer.

    Raises:
        Internal: an output does not have one row a row asked.
    """
    rows = [rows_of(arrays) for _, arrays in calls]
    if any(output.ndim == 0 or output.shape[0] != sum(rows) for output in prediction.outputs.values()):
        raise Internal("the model answers with other rows than it was asked: it cannot be coalesced")
    parts: list[Prediction] = []
    start = 0
    for (call, _), count in zip(calls, rows, strict=True):
        outputs = {name: array[start : start + count] for name, array in prediction.outputs.items()}
        parts.append(replace(prediction, outputs=outputs, request_id=call.request_id))
        start += count
    return parts


def share(waiting: Sequence[Arrays]) -> int:
    """Return how many of the waiting calls, from the first on, fit one request; at least one."""
    total = 0
    for index, arrays in enumerate(waiting):
        total += rows_of(arrays)
        if total > ROWS_LIMIT and index:
            return index
    return len(waiting)
