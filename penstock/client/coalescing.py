"""Joins calls that wait at the same time into one request, and cuts its answer up again. Pure values; the clients do the waiting.

Work-conserving: a call that finds nothing under way goes out at once, those that arrive meanwhile form the next request. Only calls
of the same model, version, outputs, parameters, types and row shapes are joined, up to `ROWS_LIMIT` rows. A request that is refused for
what it holds is asked again in halves, so that nobody is refused for the rows of others or for how many they are together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from penstock.client.encoding import Call
from penstock.client.prediction import Prediction
from penstock.contracts.errors import Internal, InvalidInput, RequestTooLarge
from penstock.contracts.tensors import DataType

ROWS_LIMIT = 32

Arrays = Mapping[str, tuple[DataType, NDArray[Any]]]
F = TypeVar("F")

DIVISIBLE = (InvalidInput, RequestTooLarge)
"""Refusals of joined calls that may hold for some of them only; nothing was executed."""


@dataclass(frozen=True, slots=True)
class Waiting(Generic[F]):
    """A call that waits to be sent."""

    call: Call
    arrays: Arrays
    deadline: float
    """Monotonic seconds."""
    told: F
    """The future through which its caller hears of it."""


def next_batch(waiting: Sequence[Waiting[F]], now: float) -> tuple[list[Waiting[F]], list[Waiting[F]]]:
    """Return the calls that go into the next request, and those that wait on; whose deadline has passed is in neither."""
    alive = [one for one in waiting if one.deadline > now]
    count = share([one.arrays for one in alive])
    return alive[:count], alive[count:]


def latest_deadline(batch: Sequence[Waiting[Any]]) -> float:
    """Return the deadline of a joined request: nobody waits longer."""
    return max(one.deadline for one in batch)


def shape_key(call: Call, arrays: Arrays) -> object:
    """Return what calls must have in common to be joined; None when a call has no rows to join."""
    if (
        any(array.ndim == 0 or array.shape[0] == 0 for _, array in arrays.values())
        or len({array.shape[0] for _, array in arrays.values()}) != 1
    ):
        return None
    described = tuple((name, kind, array.dtype.kind, array.shape[1:]) for name, (kind, array) in arrays.items())
    parameters = tuple(sorted((name, repr(value)) for name, value in call.parameters.items()))
    return (call.model, call.version, tuple(call.outputs), call.routing_key, call.priority, parameters, described)


def rows_of(arrays: Arrays) -> int:
    """Return the rows of a call that has a shape key."""
    return next(iter(arrays.values()))[1].shape[0]


def joined(batch: Sequence[Waiting[Any]]) -> tuple[Call, Arrays]:
    """Return one call with the rows of all."""
    first, arrays = batch[0].call, batch[0].arrays
    if len(batch) == 1:
        return first, arrays
    together = {name: (kind, np.concatenate([one.arrays[name][1] for one in batch])) for name, (kind, _) in arrays.items()}
    return replace(first, inputs={name: array for name, (_, array) in together.items()}, request_id=""), together


def cut(prediction: Prediction, batch: Sequence[Waiting[Any]]) -> list[Prediction]:
    """Return each call's part of the answer.

    Raises:
        Internal: an output does not have one row a row asked.
    """
    rows = [rows_of(one.arrays) for one in batch]
    if any(output.ndim == 0 or output.shape[0] != sum(rows) for output in prediction.outputs.values()):
        raise Internal("the model answers with other rows than it was asked: it cannot be coalesced")
    parts: list[Prediction] = []
    start = 0
    for one, count in zip(batch, rows, strict=True):
        outputs = {name: array[start : start + count] for name, array in prediction.outputs.items()}
        parts.append(replace(prediction, outputs=outputs, request_id=one.call.request_id))
        start += count
    return parts


def share(waiting: Sequence[Arrays]) -> int:
    """Return how many of the waiting calls, from the first on, fit one request; at least one if there is one."""
    total = 0
    for index, arrays in enumerate(waiting):
        total += rows_of(arrays)
        if total > ROWS_LIMIT and index:
            return index
    return len(waiting)
