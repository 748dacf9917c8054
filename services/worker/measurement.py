"""Measures what executions cost by their rows, before the first request."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from penstock.contracts.tensors import AnyArray
from penstock.contracts.worker_status import CostPoint
from services.worker.output_checks import check_alike
from services.worker.sample_inputs import plain_feeds, repeated
from services.worker.trial import Feeds, Trial

RUNS = 5
"""Most executions of one size that count; their median is its cost."""

SHARE = 0.1
"""Part of the budget after which one size has been executed often enough, so that heavy models get to larger sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureBudget:
    """How much time a measurement may take."""

    seconds: float = 0.3
    """For all sizes of one model together; a model of which one execution takes longer is executed once."""


def measure(trial: Trial, feeds: Feeds | None, budget: MeasureBudget, now: Callable[[], float]) -> tuple[CostPoint, ...]:
    """Execute batches of 1, 2, 4, … max_batch_size rows and return their median costs.

    The first execution of each size is not counted, for ONNX Runtime allocates then, unless time is up. Larger sizes are left out when
    they would probably break the budget.

    Args:
        trial: the session to measure.
        feeds: a typical request, of which the first row is used; None for the simplest there is.
        budget: how long it may take.
        now: monotonic seconds.

    Raises:
        OutputContract: an output is not what the signature says, or its rows do not keep apart.
        ServingError: an execution failed.
    """
    typical = plain_feeds(trial.signature) if feeds is None else feeds
    end_at = now() + budget.seconds
    points: list[CostPoint] = []
    alone: Mapping[str, AnyArray] = {}
    for rows in sizes(trial.signature.max_batch_size):
        if points and now() + expected_seconds(points, rows) > end_at:
            break
        batch = repeated(typical, rows) if trial.signature.has_batch_dimension else typical
        enough_at = now() + SHARE * budget.seconds
        seconds, answer = _median_seconds(trial, batch, (enough_at, end_at), now)
        points.append(CostPoint(rows=rows, seconds=seconds))
        alone = alone or answer
        check_alike(alone, answer)
    return tuple(points)


def sizes(max_batch_size: int) -> tuple[int, ...]:
    """Return the powers of two below `max_batch_size`, and itself; 1 for a model without a batch dimension."""
    largest = max(max_batch_size, 1)
    return (*(1 << power for power in range((largest - 1).bit_length())), largest)


def expected_seconds(points: list[CostPoint], rows: int) -> float:
    """Return what a size will probably cost: in proportion to the largest one measured."""
    return points[-1].seconds * rows / points[-1].rows


def _median_seconds(
    trial: Trial, batch: Feeds, limits: tuple[float, float], now: Callable[[], float]
) -> tuple[float, Mapping[str, AnyArray]]:
    """Return the seconds and the last answer."""
    enough_at, end_at = limits
    durations: list[float] = []
    answer: Mapping[str, AnyArray] = {}
    while len(durations) <= RUNS:
        started_at = now()
        answer = trial.run(batch)
        durations.append(now() - started_at)
        if now() >= end_at or (len(durations) > 1 and now() >= enough_at):
            break
    return statistics.median(durations[1:] or durations), answer
