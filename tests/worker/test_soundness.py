"""When a replica is unhealthy, and when it is not any more."""

from __future__ import annotations

import numpy as np

from services.worker.execution import ExecutionRules
from services.worker.soundness import BREACHES, UNHEALTHY_SECONDS, Soundness
from tests.worker.batchers import WaitingSink, batcher_of, now_work
from tests.worker.works import FakeSession, signature


def broken(times: int, now: float = 0.0) -> Soundness:
    made = Soundness()
    for _ in range(times):
        made.breach(now)
    return made


def test_three_breaches_in_a_row_make_it_unhealthy_and_are_told_once():
    made = Soundness()

    assert [made.breach(0.0) for _ in range(5)] == [False, False, True, False, False]
    assert not made.is_healthy(0.0)


def test_two_are_not_enough_and_an_answer_in_between_begins_anew():
    made = broken(BREACHES - 1)
    assert made.is_healthy(0.0)
    made.keep()

    assert [made.breach(0.0) for _ in range(BREACHES)] == [False, False, True]


def test_an_answer_heals_at_once():
    made = broken(BREACHES)
    made.keep()

    assert made.is_healthy(0.0)


def test_time_lifts_the_mark_and_a_single_breach_brings_it_back():
    made = broken(BREACHES, now=5.0)

    assert not made.is_healthy(5.0 + UNHEALTHY_SECONDS - 0.1)
    assert made.is_healthy(5.0 + UNHEALTHY_SECONDS)
    assert made.breach(5.0 + UNHEALTHY_SECONDS)
    assert not made.is_healthy(5.0 + UNHEALTHY_SECONDS)


async def test_a_batcher_counts_executions_that_break_the_signature_and_those_alone():
    sink = WaitingSink()
    wrong, right = FakeSession(output=lambda x: np.repeat(x, 2, axis=1)).output, FakeSession().output
    session = FakeSession(output=wrong)
    async with batcher_of(session) as batcher:
        healthy = []
        for number, output in enumerate((wrong, wrong, right, wrong, wrong, wrong, right), 1):
            session.output = output
            batcher.submit(now_work(number, sink=sink))
            await sink.reported(number)
            healthy.append(batcher.is_healthy)

    assert healthy == [True, True, True, True, True, False, True]


async def test_numbers_that_are_none_and_rows_that_fail_say_nothing_of_the_signature():
    sink = WaitingSink()
    rules = ExecutionRules(signature=signature(), require_finite_output=True)
    async with batcher_of(FakeSession(poison=9.0, output=lambda x: x * np.nan), rules=rules) as batcher:
        for number in range(1, 11):
            batcher.submit(now_work(number, [[9.0 if number % 2 else 1.0]], sink=sink))
            await sink.reported(number)

        assert {error.reason for error in sink.errors.values()} == {"OUTPUT_NOT_FINITE", "EXECUTION_FAILED"}
        assert batcher.is_healthy
