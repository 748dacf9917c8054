"""Deadlines and the grpc-timeout header."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.errors import InvalidInput
from services.chassis.deadline import (
    NEVER,
    deadline_after,
    format_grpc_timeout,
    has_passed,
    parse_grpc_timeout,
    remaining,
)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("1H", 3600),
        ("2M", 120),
        ("3S", 3),
        ("250m", 0.25),
        ("5u", 5e-6),
        ("7n", 7e-9),
        ("0S", 0),
        ("-5m", -0.005),
        ("99999999H", 359999996400),
    ],
)
def test_a_header_is_read_in_each_unit(header: str, seconds: float):
    assert parse_grpc_timeout(header) == pytest.approx(seconds)


@pytest.mark.parametrize("header", ["", "5", "m", "5x", "5 m", "123456789m", "1.5S", "+1S", "٣S", "5m\n", "--1S", "1S1S"])
def test_a_malformed_header_is_refused(header: str):
    with pytest.raises(InvalidInput) as refusal:
        parse_grpc_timeout(header)

    assert refusal.value.reason == "BAD_HEADER"
    assert refusal.value.field == "grpc-timeout"


@pytest.mark.parametrize("seconds", [0.0, -1.0, -math.inf, math.nan])
def test_a_budget_of_nothing_has_passed_already(seconds: float):
    assert has_passed(deadline_after(seconds, now=5.0), now=5.0)


def test_a_budget_of_ten_years_is_cut_to_the_longest():
    assert deadline_after(3.15e8, now=5.0) == 65.0
    assert deadline_after(math.inf, now=5.0, longest_seconds=600) == 605.0


def test_no_budget_never_passes():
    assert deadline_after(None, now=5.0) == NEVER
    assert remaining(NEVER, now=5.0) == math.inf
    assert not has_passed(NEVER, now=1e12)


def test_what_is_left_is_never_negative():
    assert remaining(7.0, now=5.0) == 2.0
    assert remaining(4.0, now=5.0) == 0.0


@given(st.floats(min_value=0, max_value=1e11))
def test_a_formatted_header_is_valid_and_never_longer_than_the_budget(seconds: float):
    read = parse_grpc_timeout(format_grpc_timeout(seconds))

    assert read <= seconds * (1 + 1e-9)
    assert read >= seconds * (1 - 1e-5) - 1e-9


def test_a_negative_budget_is_formatted_as_zero():
    assert format_grpc_timeout(-3.0) == "0n"
