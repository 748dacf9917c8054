"""One execution: what fails alone, what is taken apart, what breaks its own signature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.errors import ExecutionFailed, RequestTooLarge
from services.worker.bisection import CULPRITS
from services.worker.execution import Execution, ExecutionRules, Outcome
from services.worker.memory_shortage import out_of_memory
from services.worker.work import Batch, Part
from tests.worker.works import FakeSession, signature, work

POISON = 666.0


def batch_of(*works) -> Batch:
    return Batch([Part(one, range(one.count)) for one in works])


def run(session, batch: Batch, **rules) -> Outcome:
    execution = Execution(session, ExecutionRules(signature=signature(max_batch_size=rules.pop("max_batch_size", 64)), **rules))
    return execution.run(batch, execution.new_handle())


def answered(outcome: Outcome) -> dict[tuple[int, int], list[float]]:
    found = {}
    for part, (share,) in outcome.answered:
        values = np.frombuffer(share.raw, dtype=np.float32).reshape(len(part.positions), -1)
        found |= {(part.work.chunk_id, at): row.tolist() for at, row in zip(part.positions, values, strict=True)}
    return found


def failed(outcome: Outcome) -> dict[tuple[int, int], str]:
    return {(part.work.chunk_id, at): error.reason for part, error in outcome.failed for at in part.positions}


def test_each_request_gets_its_own_answer():
    outcome = run(FakeSession(), batch_of(work(1, [[1.0], [2.0]]), work(2, [[3.0, 4.0]], rows=2)))

    assert answered(outcome) == {(1, 0): [2.0], (1, 1): [4.0], (2, 0): [6.0, 8.0]}
    assert [rows for rows, _ in outcome.executions] == [4]
    assert not outcome.failed


def test_a_row_that_breaks_a_rule_fails_alone_and_before_the_model_runs():
    session = FakeSession()

    outcome = run(session, batch_of(work(1, [[1.0], [math.nan], [3.0]])), reject_non_finite=True)

    assert answered(outcome) == {(1, 0): [2.0], (1, 2): [6.0]}
    assert failed(outcome) == {(1, 1): "NOT_FINITE_INPUT"}
    assert session.runs == [2]


def test_the_model_does_not_run_when_no_request_is_sound():
    session = FakeSession()

    outcome = run(session, batch_of(work(1, [[math.inf]])), reject_non_finite=True)

    assert failed(outcome) == {(1, 0): "NOT_FINITE_INPUT"}
    assert session.runs == []


@settings(max_examples=60, deadline=None)
@given(size=st.integers(2, 64), data=st.data())
def test_one_poison_row_costs_its_own_request_and_at_most_two_runs_a_level(size, data):
    culprit = data.draw(st.integers(0, size - 1))
    session = FakeSession(poison=POISON)
    values = [[POISON if at == culprit else float(at)] for at in range(size)]
    cut = data.draw(st.integers(1, size))
    works = [work(1, values[:cut])] + ([work(2, values[cut:])] if cut < size else [])

    outcome = run(session, batch_of(*works))

    assert list(failed(outcome).values()) == ["POISON_ROW"]
    assert len(answered(outcome)) == size - 1
    assert all(value[0] != 2 * POISON for value in answered(outcome).values())
    assert len(session.runs) - 1 <= 2 * math.ceil(math.log2(size))


def test_the_poison_row_is_named_within_its_request():
    values = [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, POISON, 7.0]]

    outcome = run(FakeSession(poison=POISON), batch_of(work(1, values, rows=4)))

    ((part, error),) = outcome.failed
    assert list(part.positions) == [1]
    assert isinstance(error, ExecutionFailed)
    assert error.reason == "POISON_ROW"
    assert "row 2 " in error.message


def test_a_lone_request_names_its_poison_row_too():
    outcome = run(FakeSession(poison=POISON), batch_of(work(1, [[0.0, POISON]], rows=2)))

    assert "row 1 " in outcome.failed[0][1].message


def test_rows_that_only_fail_together_all_get_their_answers():
    class Crowded(FakeSession):
        def run(self, feeds, outputs, handle=None):
            self.poison = POISON if len(feeds["x"]) > 1 and 1.0 in feeds["x"] and 2.0 in feeds["x"] else None
            if self.poison is not None:
                feeds = {"x": feeds["x"] * 0 + POISON}
            return super().run(feeds, outputs, handle)

    outcome = run(Crowded(), batch_of(work(1, [[1.0], [0.0], [3.0], [2.0]])))

    assert len(answered(outcome)) == 4
    assert not outcome.failed


def test_several_poison_rows_are_all_found():
    values = [[POISON if at in (3, 17, 18) else float(at)] for at in range(32)]

    outcome = run(FakeSession(poison=POISON), batch_of(work(1, values)))

    assert failed(outcome) == dict.fromkeys([(1, 3), (1, 17), (1, 18)], "POISON_ROW")
    assert len(answered(outcome)) == 29


def test_a_model_that_always_fails_blames_no_row_and_is_not_run_without_end():
    session = FakeSession(poison=0.0)

    outcome = run(session, batch_of(work(1, count=64)))

    assert set(failed(outcome).values()) == {"EXECUTION_FAILED"}
    assert len(failed(outcome)) == 64
    assert len(session.runs) <= 1 + CULPRITS * 2 * 6 + 6


def test_without_batch_dimension_no_row_is_named():
    outcome = run(FakeSession(poison=POISON), batch_of(work(1, [[POISON]])), max_batch_size=0)

    assert failed(outcome) == {(1, 0): "EXECUTION_FAILED"}


CONTRACT = {
    "type": lambda x: x.astype(np.float64),
    "rank": lambda x: x.ravel(),
    "size": lambda x: np.repeat(x, 2, axis=1),
    "rows": lambda x: x[:-1],
}


@pytest.mark.parametrize("output", CONTRACT.values(), ids=CONTRACT)
def test_an_output_that_differs_from_the_signature_fails_all_of_its_requests(output):
    outcome = run(FakeSession(output=output), batch_of(work(1, count=3)))

    assert failed(outcome) == dict.fromkeys([(1, 0), (1, 1), (1, 2)], "OUTPUT_CONTRACT")
    assert not outcome.answered


def test_non_finite_outputs_fail_their_own_requests_where_the_rules_say_so():
    values = [[0.0, 1.0], [2.0, 0.0], [4.0, 4.0]]
    session = FakeSession(output=lambda x: np.where(x == 0, np.float32(np.nan), x))

    strict = run(session, batch_of(work(1, values, rows=2), work(2, [[5.0]])), require_finite_output=True)
    lenient = run(session, batch_of(work(1, values, rows=2)))

    assert failed(strict) == dict.fromkeys([(1, 0), (1, 1)], "OUTPUT_NOT_FINITE")
    assert answered(strict) == {(1, 2): [4.0, 4.0], (2, 0): [5.0]}
    counting = run(session, batch_of(work(1, values, rows=2)), count_non_finite_output=True)

    assert len(answered(lenient)) == len(answered(counting)) == 3
    assert (strict.not_finite, lenient.not_finite, counting.not_finite) == (2, 0, 2)


def hungry(limit: int, poison: float = 0.0):
    """Fail for want of memory above so many rows, and for another reason where `poison` is among them."""

    def execute(x: np.ndarray) -> np.ndarray:
        if len(x) > limit:
            raise out_of_memory()
        if poison and (x == poison).any():
            raise ExecutionFailed("no")
        return x * 2

    return execute


def test_a_batch_that_does_not_fit_into_memory_runs_as_two_halves():
    session = FakeSession(output=hungry(limit=4))

    outcome = run(session, batch_of(work(1, [[float(at)] for at in range(7)])))

    assert answered(outcome) == {(1, at): [2.0 * at] for at in range(7)}
    assert session.runs == [7, 3, 4]
    assert not outcome.failed


def test_a_half_that_does_not_fit_either_is_refused_and_not_tried_again():
    session = FakeSession(output=hungry(limit=3))

    outcome = run(session, batch_of(work(1, [[float(at)] for at in range(7)])))

    assert sorted(answered(outcome)) == [(1, 0), (1, 1), (1, 2)]
    assert failed(outcome) == dict.fromkeys([(1, at) for at in range(3, 7)], "OUT_OF_MEMORY")
    assert {type(error) for _, error in outcome.failed} == {RequestTooLarge}
    assert session.runs == [7, 3, 4]


def test_a_single_request_that_does_not_fit_is_refused_at_once():
    session = FakeSession(output=hungry(limit=1))

    assert failed(run(session, batch_of(work(1, [[1.0, 2.0]], rows=2)))) == {(1, 0): "OUT_OF_MEMORY"}
    assert session.runs == [2]


def test_a_bad_row_in_a_half_fails_alone():
    outcome = run(FakeSession(output=hungry(limit=4, poison=5.0)), batch_of(work(1, [[float(at)] for at in range(8)])))

    assert failed(outcome) == {(1, 5): "POISON_ROW"}
    assert len(answered(outcome)) == 7


def test_a_batch_that_is_stopped_is_neither_answered_nor_failed():
    session = FakeSession()
    session.is_endless = True
    execution = Execution(session, ExecutionRules(signature=signature()))
    handle = execution.new_handle()
    handle.terminate()

    outcome = execution.run(batch_of(work(1, count=2)), handle)

    assert [list(part.positions) for part in outcome.stopped] == [[0, 1]]
    assert not outcome.answered
    assert not outcome.failed


def test_a_bisection_that_is_stopped_keeps_what_it_has():
    class Stopping(FakeSession):
        def run(self, feeds, outputs, handle=None):
            if len(self.runs) == 2:
                self.is_endless = True
                handle.terminate()
            return super().run(feeds, outputs, handle)

    outcome = run(Stopping(poison=POISON), batch_of(work(1, [[0.0], [1.0], [2.0], [POISON]])))

    assert sorted(answered(outcome)) == [(1, 0), (1, 1)]
    assert [list(part.positions) for part in outcome.stopped] == [[2, 3]]
