"""The offset of another machine's clock is as near to the truth as the quickest message, and follows clocks that run apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.worker.clock_offset import WINDOW_SECONDS, ClockOffset


def learnt(*messages: tuple[float, float]) -> float:
    offset = ClockOffset()
    for told_at, now in messages:
        offset.observe(told_at, now)
    return offset.seconds


def test_nothing_seen_is_no_offset():
    assert ClockOffset().seconds == 0.0


def test_one_slow_message_is_forgiven_by_the_next():
    assert learnt((0.0, 100.9), (1.0, 101.0)) == 100.0
    assert learnt((1.0, 101.0), (2.0, 102.9)) == 100.0


@given(st.lists(st.floats(0.0, 5.0), min_size=1, max_size=200), st.floats(-1e5, 1e5))
def test_deadlines_are_never_early_and_late_by_the_quickest_way_only(delays: list[float], true_offset: float):
    messages = [(0.1 * number, 0.1 * number + true_offset + delay) for number, delay in enumerate(delays)]

    assert -1e-6 <= learnt(*messages) - true_offset - min(delays) <= 1e-6


def test_a_clock_that_runs_apart_is_followed_within_two_windows():
    drift = 1e-4
    messages = [(at, at * (1.0 + drift) + 7.0) for at in (0.1 * number for number in range(3000))]
    told_at, now = messages[-1]

    assert 0.0 <= (now - told_at) - learnt(*messages) <= 2 * WINDOW_SECONDS * drift


def test_what_was_quick_long_ago_is_forgotten():
    first = (0.0, 50.0)
    later = [(at, at + 50.2) for at in (WINDOW_SECONDS * number for number in (1, 2, 3))]

    assert learnt(first, *later) - 50.2 < 1e-9
    assert learnt(first, *later) > 50.1
