"""When a server that fails is asked again, by hand-moved time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.chassis.breaker import Breaker, BreakerPolicy

POLICY = BreakerPolicy(first_pause_seconds=1.0, longest_pause_seconds=4.0)


def failing(times: int, now: float = 0.0) -> Breaker:
    breaker = Breaker(policy=POLICY)
    for _ in range(times):
        breaker = breaker.asking().failed_at(now)
    return breaker


def test_failures_in_a_row_open_it_and_an_answer_between_them_does_not_let_it_open():
    assert failing(4).is_closed
    assert not failing(5).is_closed
    assert failing(4).succeeded(0.0).failed_at(0.0).is_closed


def test_half_of_many_questions_failing_opens_it_and_what_lies_before_the_window_does_not_count():
    breaker = Breaker(policy=POLICY)
    for _ in range(10):
        breaker = breaker.succeeded(0.0).failed_at(0.0)
    assert not breaker.is_closed

    old = Breaker(policy=POLICY)
    for _ in range(9):
        old = old.succeeded(0.0).failed_at(0.0)
    assert old.succeeded(11.0).failed_at(11.0).is_closed


def test_after_its_pause_exactly_one_question_is_asked():
    breaker = failing(5)

    assert not breaker.may_ask(0.9)
    assert breaker.may_ask(1.0)
    assert not breaker.asking().may_ask(1.0)
    assert breaker.asking().forgotten().may_ask(1.0)


def test_the_probes_answer_closes_it_and_the_pauses_begin_anew():
    breaker = failing(5).asking().failed_at(1.0).asking().succeeded(3.0)

    assert breaker.is_closed
    assert failing(5).pause_seconds == 1.0
    assert breaker.failures == 0


def test_an_answer_to_a_question_of_before_does_not_close_it():
    assert not failing(5).succeeded(0.1).is_closed


def test_pauses_double_up_to_the_longest():
    breaker, pauses, now = failing(5), list[float](), 0.0
    for _ in range(4):
        pauses.append(breaker.pause_seconds)
        now += breaker.pause_seconds
        breaker = breaker.asking().failed_at(now)

    assert pauses == [1.0, 2.0, 4.0, 4.0]


@given(st.lists(st.booleans(), max_size=60))
def test_a_server_that_comes_back_is_asked_again_whatever_happened_before(answers: list[bool]):
    breaker, now = Breaker(policy=POLICY), 0.0
    for is_answered in answers:
        now += 0.1
        if breaker.may_ask(now):
            breaker = breaker.asking()
            breaker = breaker.succeeded(now) if is_answered else breaker.failed_at(now)

    assert breaker.may_ask(now + POLICY.longest_pause_seconds)
