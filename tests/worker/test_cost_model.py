"""What an execution will cost."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.worker_status import CostPoint
from services.worker.cost_model import CostModel


def test_nothing_is_predicted_before_anything_was_measured():
    assert CostModel().predict(4) is None


def test_the_profile_is_what_is_known_at_first():
    costs = CostModel([CostPoint(rows=1, seconds=0.001), CostPoint(rows=8, seconds=0.004)])

    assert costs.predict(1) == 0.001
    assert costs.predict(7) == 0.004


def test_between_two_measured_sizes_cost_grows_in_proportion_but_not_beyond_the_larger_one():
    costs = CostModel([CostPoint(rows=1, seconds=0.001), CostPoint(rows=16, seconds=0.005)])

    assert costs.predict(4) == 0.004
    assert costs.predict(8) == 0.005
    assert costs.predict(32) == 0.010


def test_a_smaller_batch_costs_no_more_than_a_larger_one():
    assert CostModel([CostPoint(rows=8, seconds=0.004)]).predict(1) == 0.004


def test_observations_move_the_mean_slowly_up_and_quickly_down():
    costs = CostModel([CostPoint(rows=4, seconds=0.010)])

    costs.observe(4, 0, 0.020)
    assert abs(costs.predict(4) - 0.011) < 1e-9
    for _ in range(8):
        costs.observe(4, 0, 0.001)
    assert costs.predict(4) < 0.003


def test_rows_of_another_size_are_learnt_apart():
    costs = CostModel([CostPoint(rows=1, seconds=0.001)], row_bytes=100)
    costs.observe(1, 6000, 0.050)

    assert costs.predict(1, 120) == 0.001
    assert costs.predict(1, 7000) == 0.050
    assert costs.predict(2, 50_000) == 0.100


def test_how_cost_grows_with_rows_carries_over_to_rows_of_another_size():
    costs = CostModel([CostPoint(rows=1, seconds=0.001), CostPoint(rows=64, seconds=0.004)])
    costs.observe(1, 500, 0.002)

    assert costs.predict(1, 500) == 0.002
    assert costs.predict(64, 500) == 0.008


@given(
    observations=st.lists(st.tuples(st.integers(1, 600), st.integers(0, 10_000), st.floats(1e-6, 10.0)), min_size=1, max_size=30),
    rows=st.integers(1, 5000),
    row_bytes=st.integers(0, 100_000),
)
def test_a_prediction_is_a_time_and_after_one_observation_no_less_than_it(observations, rows, row_bytes):
    costs = CostModel()
    for one in observations:
        costs.observe(*one)

    predicted = costs.predict(rows, row_bytes)
    assert 0 < predicted < math.inf
    if len(observations) == 1:
        assert observations[0][2] * 0.999 <= predicted <= observations[0][2] * 1.001 * 2**13
    assert all(point.seconds > 0 for point in costs.points())
