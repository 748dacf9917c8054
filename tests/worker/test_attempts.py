"""What passes is tried again, later each time; what does not pass is tried again when something else is assigned."""

from __future__ import annotations

from random import Random

import pytest

from penstock.contracts.errors import (
    ArtifactCorrupt,
    DeadlineExceeded,
    LoadFailed,
    MemoryBudgetExceeded,
    NotFound,
    ServingError,
    Unavailable,
)
from services.worker.attempts import Attempts, RetryTimes

KEY = ("m", "1")
AWAY = Unavailable("away", reason="STORE_UNAVAILABLE")


def attempts() -> Attempts:
    return Attempts(RetryTimes(first_seconds=1.0, longest_seconds=8.0), Random(7))


def next_due(tried: Attempts, number: int, now: float) -> float:
    """Return how long after `now` the next attempt may be made, in steps of 0.01 s."""
    waited = 0.0
    while tried.number(KEY, "a", now + waited) == number:
        waited += 0.01
        assert waited < 1000
    return waited


@pytest.mark.parametrize("error", [AWAY, NotFound("not there", reason="ARTEFACT_NOT_FOUND")])
def test_what_passes_is_tried_again_with_growing_waits_up_to_a_limit(error: ServingError):
    tried, now, waits = attempts(), 100.0, []
    for number in range(8):
        assert tried.number(KEY, "a", now) == number
        assert tried.failed(KEY, number, error, now)
        waits.append(next_due(tried, number, now))
        now += waits[-1]

    for wait, ceiling in zip(waits, (1, 2, 4, 8, 8, 8, 8, 8), strict=True):
        assert ceiling / 2 <= wait <= ceiling + 0.02


@pytest.mark.parametrize("error", [LoadFailed("no"), MemoryBudgetExceeded("no room"), DeadlineExceeded("slow")])
def test_what_does_not_pass_is_not_tried_again(error: ServingError):
    tried = attempts()
    number = tried.number(KEY, "a", 0.0)

    assert not tried.failed(KEY, number, error, 0.0)
    assert tried.number(KEY, "a", 1e9) == number


def test_spoilt_files_are_fetched_anew_once():
    tried = attempts()
    assert tried.failed(KEY, tried.number(KEY, "a", 0.0), ArtifactCorrupt("spoilt"), 0.0)
    again = tried.number(KEY, "a", 10.0)

    assert again == 1
    assert not tried.failed(KEY, again, ArtifactCorrupt("spoilt"), 10.0)


def test_files_spoilt_twice_are_spoilt_although_the_store_was_away_in_between():
    tried = attempts()
    for error, goes_on in ((ArtifactCorrupt("spoilt"), True), (AWAY, True), (ArtifactCorrupt("spoilt"), False)):
        assert tried.failed(KEY, tried.number(KEY, "a", 1e6), error, 0.0) is goes_on


def test_something_else_is_tried_at_once_and_under_a_number_of_its_own():
    tried = attempts()
    tried.failed(KEY, tried.number(KEY, "a", 0.0), LoadFailed("no"), 0.0)

    assert tried.number(KEY, "b", 0.0) == 1
    assert tried.number(KEY, "a", 0.0) == 2


def test_a_failure_of_an_older_attempt_changes_nothing():
    tried = attempts()
    tried.number(KEY, "a", 0.0)
    tried.number(KEY, "b", 0.0)

    assert not tried.failed(KEY, 0, AWAY, 0.0)
    assert not tried.failed(("m", "2"), 0, AWAY, 0.0)


def test_what_is_no_longer_assigned_is_forgotten():
    tried = attempts()
    tried.failed(KEY, tried.number(KEY, "a", 0.0), AWAY, 0.0)
    tried.keep_only([])

    assert tried.number(KEY, "a", 0.0) == 0
