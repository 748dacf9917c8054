"""A measurement covers the sizes that fit its budget and never costs much more than it may."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import AnyArray, DataType
from services.worker.measurement import MeasureBudget, measure, sizes
from services.worker.session import RunHandle
from services.worker.trial import Trial
from tests.worker import models
from tests.worker.trials import trial_of


class PacedSession:
    """A session whose executions take as long as `cost` says, on a clock of its own."""

    provider = "test"

    def __init__(self, cost: Callable[[int, int], float]) -> None:
        self._cost = cost
        self._calls = itertools.count()
        self.clock = 0.0

    def new_handle(self) -> RunHandle:
        return self  # type: ignore[return-value]

    def run(self, feeds: Mapping[str, AnyArray], outputs: Sequence[str], handle: RunHandle | None = None) -> list[AnyArray]:
        self.clock += self._cost(len(feeds["x"]), next(self._calls))
        return [feeds["x"]]


def paced(cost: Callable[[int, int], float], max_batch_size: int = 8) -> tuple[Trial, PacedSession]:
    spec = TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, 2))
    session = PacedSession(cost)
    return Trial(session, Signature(inputs=(spec,), outputs=(spec,), max_batch_size=max_batch_size)), session


@pytest.mark.parametrize(("largest", "expected"), [(0, (1,)), (1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_sizes_are_powers_of_two_and_the_largest(largest: int, expected: tuple[int, ...]):
    assert sizes(largest) == expected


def test_every_size_of_a_light_model_is_measured():
    trial, session = paced(lambda rows, call: rows * 1e-3)

    points = measure(trial, None, MeasureBudget(seconds=10), lambda: session.clock)

    assert [(point.rows, round(point.seconds, 6)) for point in points] == [(1, 0.001), (2, 0.002), (4, 0.004), (8, 0.008)]


def test_the_first_execution_of_a_size_does_not_count():
    trial, session = paced(lambda rows, call: 1.0 if call == 0 else 1e-3, max_batch_size=1)

    (point,) = measure(trial, None, MeasureBudget(seconds=10), lambda: session.clock)

    assert point.seconds == pytest.approx(1e-3)


def test_a_heavy_model_is_executed_once():
    trial, session = paced(lambda rows, call: 2.0 * rows)

    points = measure(trial, None, MeasureBudget(seconds=0.3), lambda: session.clock)

    assert [(point.rows, point.seconds) for point in points] == [(1, 2.0)]
    assert session.clock == 2.0


def test_sizes_that_would_break_the_budget_are_left_out():
    trial, session = paced(lambda rows, call: 0.01 * rows, max_batch_size=1024)

    points = measure(trial, None, MeasureBudget(seconds=0.3), lambda: session.clock)

    assert session.clock < 0.35
    assert [point.rows for point in points] == [1, 2, 4, 8]


def test_a_given_request_is_repeated_row_by_row():
    trial = trial_of(models.identity())
    seen: list[AnyArray] = []
    run = trial.session.run
    trial.session.run = lambda feeds, outputs, handle=None: (seen.append(feeds["x"]), run(feeds, outputs, handle))[1]  # type: ignore[method-assign]
    clock = iter(range(10_000))

    measure(trial, {"x": np.array([[1, 2], [3, 4]], np.float32)}, MeasureBudget(seconds=100), lambda: next(clock) * 1e-3)

    assert {tuple(map(tuple, batch)) for batch in seen if len(batch) == 2} == {((1.0, 2.0), (1.0, 2.0))}


def test_models_without_a_batch_dimension_and_models_of_texts_are_measured_too():
    for onnx in (models.no_batch(), models.echo_bytes()):
        clock = iter(range(10_000))

        assert measure(trial_of(onnx), None, MeasureBudget(seconds=1), lambda ticks=clock: next(ticks) * 1e-3)
