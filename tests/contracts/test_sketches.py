"""Sketches answer any quantile within their error, and add up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.sketches import RELATIVE_ERROR, Sketch

NUMBERS = st.lists(st.floats(-1e6, 1e6).filter(lambda one: one == 0 or abs(one) > 1e-6), min_size=1, max_size=200)


def sketch(numbers: list[float]) -> Sketch:
    made = Sketch()
    made.add_many(np.array(numbers))
    return made


@given(NUMBERS, st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_a_quantile_is_within_the_relative_error(numbers: list[float], share: float):
    exact = sorted(numbers)[int(share * (len(numbers) - 1))]

    assert sketch(numbers).quantile(share) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.01, abs=1e-9)


@given(NUMBERS, NUMBERS)
def test_sketches_add_up(some: list[float], others: list[float]):
    both = sketch(some)
    both.merge(sketch(others))

    assert both.to_proto().counts == sketch(some + others).to_proto().counts
    assert both.count == len(some) + len(others)


@given(NUMBERS)
def test_one_by_one_and_all_at_once_count_alike(numbers: list[float]):
    one_by_one = Sketch()
    for number in numbers:
        one_by_one.add(number)

    assert one_by_one.to_proto().indexes == sketch(numbers).to_proto().indexes
    assert one_by_one.to_proto().negative_counts == sketch(numbers).to_proto().negative_counts
    assert one_by_one.zeros == sketch(numbers).zeros


@given(NUMBERS)
def test_the_wire_form_keeps_everything(numbers: list[float]):
    made = sketch(numbers)

    assert Sketch.from_proto(made.to_proto()).to_proto() == made.to_proto()


def test_what_is_not_finite_is_not_counted():
    assert sketch([float("nan"), float("inf"), 1.0]).count == 1


def test_an_empty_sketch_has_no_quantiles():
    assert Sketch().quantile(0.5) is None
