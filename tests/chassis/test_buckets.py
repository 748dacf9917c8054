"""Logarithmic buckets."""

from __future__ import annotations

from bisect import bisect_left

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.buckets import Buckets, BucketScale

SCALES = st.builds(
    lambda lowest, octaves, bits: BucketScale(lowest=lowest, highest=lowest << octaves, bits=bits),
    st.integers(1, 5000),
    st.integers(1, 25),
    st.integers(0, 4),
)


@given(SCALES)
def test_bounds_ascend_and_cover_the_scale(scale: BucketScale):
    bounds = scale.bounds()

    assert bounds == sorted(set(bounds))
    assert bounds[0] <= scale.lowest * 2
    assert bounds[-1] >= scale.highest


@given(SCALES, st.integers(-3, 1 << 40))
def test_a_value_is_counted_at_the_first_bound_that_is_not_below_it(scale: BucketScale, value: int):
    buckets = Buckets(scale)

    assert buckets.add(value) == bisect_left(scale.bounds(), value)
    assert buckets.cumulative()[-1] == 1
    assert buckets.units == max(value, 0)


@given(st.lists(st.integers(0, 1 << 30), max_size=50))
def test_nothing_is_lost(values: list[int]):
    buckets = Buckets(BucketScale(lowest=64, highest=1 << 26))
    for value in values:
        buckets.add(value)

    assert sum(buckets.counts) == len(values)
    assert buckets.units == sum(values)
    for bound, below in zip(buckets.scale.bounds(), buckets.cumulative(), strict=False):
        assert below == sum(value <= bound for value in values)


def test_powers_of_two_are_bounds_without_sub_buckets():
    assert BucketScale(lowest=1, highest=8, bits=0).bounds() == [1, 2, 4, 8]


def test_an_octave_is_cut_into_equal_parts():
    assert BucketScale(lowest=64, highest=128, bits=2).bounds() == [64, 80, 96, 112, 128]


def test_equal_values_may_be_counted_at_once():
    buckets = Buckets(BucketScale(lowest=1, highest=8, bits=0))

    buckets.add(4, count=3)

    assert (buckets.counts[2], buckets.units) == (3, 12)


def test_the_newest_traced_value_of_a_bucket_is_its_exemplar():
    buckets = Buckets(BucketScale(lowest=1, highest=8, bits=0))

    buckets.add_traced(3, {"trace_id": "a"}, 1.0)
    buckets.add_traced(4, {"trace_id": "b"}, 2.0)

    assert {index: kept.labels["trace_id"] for index, kept in buckets.exemplars.items()} == {2: "b"}
    assert sum(buckets.counts) == 2


@pytest.mark.parametrize("limits", [{"lowest": 0, "highest": 8}, {"lowest": 8, "highest": 8}, {"lowest": 1, "highest": 8, "bits": -1}])
def test_a_scale_that_holds_nothing_is_refused(limits):
    with pytest.raises(ValueError, match="scale"):
        BucketScale(**limits)
