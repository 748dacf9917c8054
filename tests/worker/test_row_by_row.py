"""Large rows are executed one by one where that was found to cost less."""

from __future__ import annotations

import numpy as np
import pytest

from penstock.contracts.errors import ExecutionFailed
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from services.worker.row_by_row import AGAIN, LARGE_BYTES, SELDOM, SHAPES, TRIALS, Pace, RowByRowSession, has_even_answers
from tests.worker.works import FakeSession

LARGE = LARGE_BYTES // 4


def images(rows: int, width: int = LARGE) -> dict[str, np.ndarray]:
    return {"x": np.arange(rows, dtype=np.float32)[:, None] * np.ones((1, width), np.float32)}


@pytest.mark.parametrize(
    ("shape", "max_batch_size", "is_even"),
    [((-1, 10), 8, True), ((-1,), 8, True), ((-1, -1, 4), 8, False), ((10, 4), 0, False), ((-1, 10), 1, False)],
    ids=["fixed", "a number", "as many as were found", "no rows", "never two"],
)
def test_only_answers_of_one_shape_can_be_put_together_from_rows(shape: tuple[int, ...], max_batch_size: int, is_even: bool):
    image, found = (TensorSpec(name=name, datatype=DataType.FP32, shape=dims) for name, dims in (("x", (-1, 3, 224, 224)), ("y", shape)))

    assert has_even_answers(Signature(inputs=(image,), outputs=(found,), max_batch_size=max_batch_size)) is is_even


def test_a_shape_is_tried_before_a_way_is_taken_and_now_and_then_after_that():
    pace = Pace()
    for _ in range(TRIALS):
        assert pace.is_trial(8)
        pace.observe(0.005, 0.010)

    assert pace.is_by_row
    assert pace.share == pytest.approx(0.5)
    assert [pace.is_trial(8) for _ in range(AGAIN)].count(True) == 1
    pace.share = 2.0
    assert [pace.is_trial(8) for _ in range(SELDOM)].count(True) == 1


def test_a_change_is_learnt_and_one_odd_trial_is_not_enough():
    pace = Pace(share=0.9, trials=TRIALS)
    pace.observe(0.011, 0.010)
    assert pace.is_by_row

    for _ in range(10):
        pace.observe(0.011, 0.010)
    assert not pace.is_by_row


def test_next_to_nothing_is_no_reason_and_neither_are_quick_rows():
    near, quick = Pace(), Pace()
    near.observe(0.0099, 0.010)
    quick.observe(0.00001, 0.0001)

    assert not near.is_by_row
    assert not quick.is_by_row


def test_nothing_is_compared_in_a_batch_of_few_rows():
    assert not Pace().is_trial(3)


@pytest.mark.parametrize(
    ("pace", "runs"),
    [(Pace(), [2, 1, 1, 1]), (Pace(share=0.5, trials=TRIALS), [1] * 5), (Pace(trials=TRIALS), [5])],
    ids=["both ways", "row by row", "whole"],
)
def test_answers_come_in_the_order_of_the_rows_whichever_way_they_ran(pace: Pace, runs: list[int]):
    inner = FakeSession()
    session = RowByRowSession(inner)
    session.paces = {((LARGE,),): pace}

    (answer,) = session.run(images(5), ["y"])

    assert inner.runs == runs
    assert np.array_equal(answer, images(5)["x"] * 2)


@pytest.mark.parametrize("feeds", [images(1), images(3, width=8)], ids=["one row", "small rows"])
def test_nothing_is_learnt_of_single_or_small_rows(feeds):
    inner = FakeSession()
    session = RowByRowSession(inner)
    session.run(feeds, ["y"])

    assert inner.runs == [len(feeds["x"])]
    assert not session.paces


def test_shapes_beyond_those_that_are_told_apart_run_whole():
    inner = FakeSession()
    session = RowByRowSession(inner)
    session.paces = {((at,),): Pace() for at in range(SHAPES)}

    session.run(images(4), ["y"])

    assert inner.runs == [4]
    assert len(session.paces) == SHAPES


def test_a_row_that_fails_fails_the_batch():
    session = RowByRowSession(FakeSession(poison=1.0))
    session.paces = {((LARGE,),): Pace(share=0.5, trials=TRIALS)}

    with pytest.raises(ExecutionFailed):
        session.run(images(3), ["y"])
