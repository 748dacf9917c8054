"""The pure deciders of the mesh: placement, rotation, retry budget."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from services.mesh.placement import BASE_EJECTION_SECONDS, FAILURES_TO_EJECT, Rotation, choose, in_rotation
from services.mesh.retry_budget import FLOOR_REQUESTS, RetryBudget


@dataclass
class Seat:
    rows_in_flight: int = 0
    credit_rows: int = 100


def test_of_two_the_one_with_fewer_rows_is_chosen():
    assert all(choose([busy := Seat(50), idle := Seat(10)], 1, Random(n)) is idle for n in range(20)), busy


def test_equal_candidates_share():
    seats = [Seat(), Seat()]

    assert {id(choose(seats, 1, Random(n))) for n in range(50)} == {id(seat) for seat in seats}


def test_power_of_two_choices_keeps_many_candidates_level():
    seats, random = [Seat(credit_rows=10**9) for _ in range(8)], Random(1)
    for _ in range(8000):
        chosen = choose(seats, 1, random)
        assert chosen is not None
        chosen.rows_in_flight += 1

    assert max(seat.rows_in_flight for seat in seats) - min(seat.rows_in_flight for seat in seats) < 40


def test_no_candidate_or_no_credit_is_nobody():
    assert choose([], 1, Random(1)) is None
    assert choose([Seat(100)], 1, Random(1)) is None
    assert choose([Seat(100), Seat(99)], 2, Random(1)) is None


def test_a_request_above_the_whole_credit_goes_to_an_idle_candidate():
    seats = [Seat(1), Seat(0)]

    assert choose(seats, 1000, Random(1)) is seats[1]


def test_a_replica_leaves_after_failures_in_a_row_and_longer_every_time():
    rotation = Rotation()
    now = 100.0

    assert [rotation.fail(now) for _ in range(FAILURES_TO_EJECT)] == [False] * (FAILURES_TO_EJECT - 1) + [True]
    assert not rotation.is_in(now)
    assert rotation.is_in(now + BASE_EJECTION_SECONDS)
    now += BASE_EJECTION_SECONDS
    for _ in range(FAILURES_TO_EJECT):
        rotation.fail(now)
    assert not rotation.is_in(now + BASE_EJECTION_SECONDS)
    assert rotation.is_in(now + 2 * BASE_EJECTION_SECONDS)


def test_a_success_ends_the_row():
    rotation = Rotation()
    for _ in range(FAILURES_TO_EJECT - 1):
        rotation.fail(1.0)
    rotation.succeed()

    assert not rotation.fail(1.0)


def test_when_most_are_ejected_ejection_is_ignored():
    assert in_rotation([1, 2, 3, 4], [1, 2]) == [3, 4]
    assert in_rotation([1, 2, 3], [1, 2]) == [1, 2, 3]
    assert in_rotation([1], [1]) == [1]


def test_retries_are_a_tenth_of_the_last_ten_seconds():
    budget = RetryBudget(floor_requests=3)
    budget.count(1000, 50.0)

    assert budget.take(100, 51.0)
    assert not budget.take(1, 51.0)
    assert budget.take(3, 70.0)
    assert not budget.take(1, 70.0)


def test_a_refused_retry_takes_nothing():
    budget = RetryBudget(floor_requests=10)

    assert not budget.take(11, 1.0)
    assert budget.take(10, 1.0)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 200), st.integers(0, 60)), max_size=60))
def test_in_every_window_of_seconds_retries_stay_within_the_budget(steps: list[tuple[float, int, int]]):
    budget, now, granted, counted = RetryBudget(), 1000.0, [], []
    for passed, requests, retries in steps:
        now += passed
        budget.count(requests, now)
        counted.append((int(now), requests))
        if budget.take(retries, now):
            granted.append((int(now), retries))
        since = int(now) - 9
        in_window = sum(n for at, n in granted if at >= since)
        asked = sum(n for at, n in counted if at >= since)
        assert in_window <= max(FLOOR_REQUESTS, 0.1 * asked) or not granted or granted[-1][0] != int(now)
