import threading

import numpy as np
import pytest

from examples import datasets
from examples.examination import Examination, Trial, agree, trials
from examples.measure import Timed, calls_per_second, one_by_one
from examples.ways import RefusedCall, columns_of
from penstock.contracts.errors import DeadlineExceeded

ROWS = [[0.0], [1.0], [2.0], [3.0], [4.0]]


class FakeWay:
    """Answers each row with its own first number as the label, plus an error that a test may set."""

    keeps_running = True

    def __init__(self, name="fake", rows_a_call=1, label_error=0, number_error=0.0):
        self.name = name
        self.rows_a_call = rows_a_call
        self.asked = []
        self._label_error = label_error
        self._number_error = number_error

    def ask(self, question):
        self.asked.append(question)
        labels = np.array([int(row[0]) + self._label_error for row in question.rows])
        return {"label": labels, "probabilities": np.array(question.rows, np.float32) + self._number_error}


class RefusingWay(FakeWay):
    def __init__(self, refusal):
        super().__init__("refusing")
        self._refusal = refusal

    def ask(self, question):
        raise self._refusal


def trial(floor=0.9):
    def accuracy(answers):
        return float(np.mean(answers["label"] == [0, 1, 2, 3, 4]))

    return Trial(model="digits", version="1", input_name="pixels", rows=ROWS, accuracy=accuracy, floor=floor)


@pytest.fixture
def examination():
    return Examination(in_flight=2, throughput_seconds=0.02)


def test_every_row_is_asked_once_in_order_and_right_answers_leave_no_complaint(examination):
    way = FakeWay(rows_a_call=2)
    examination.run(trial(), [way])

    assert [row for question in way.asked[1:4] for row in question.rows] == ROWS
    assert examination.complaints == []
    assert examination.findings[0].accuracy == 1.0


def test_an_accuracy_below_the_floor_is_a_complaint(examination):
    examination.run(trial(), [FakeWay(label_error=1)])

    assert examination.complaints == ["digits 1 over fake: accuracy 0.0% is below its floor of 90%"]


@pytest.mark.parametrize("second", [FakeWay("other", label_error=1), FakeWay("other", number_error=0.001)])
def test_a_way_that_answers_otherwise_is_a_complaint(examination, second):
    examination.run(trial(floor=0.0), [FakeWay("first"), second])

    assert examination.complaints == ["digits 1: other answers other than first"]


@pytest.mark.parametrize("refusal", [RefusedCall("503"), DeadlineExceeded("too late")])
def test_a_refused_call_is_a_complaint_and_other_ways_are_still_asked(examination, refusal):
    examination.run(trial(), [RefusingWay(refusal), FakeWay("second")])

    assert examination.complaints == [f"digits 1 over refusing: {type(refusal).__name__}: {refusal}"]
    assert [found.way.name for found in examination.findings] == ["second"]


@pytest.mark.parametrize(
    ("others", "is_same"),
    [
        ({"label": np.array([[1], [2]])}, True),
        ({"label": np.array([1, 3])}, False),
        ({"label": np.array([1])}, False),
        ({"name": np.array([1, 2])}, False),
        ({}, False),
    ],
)
def test_columns_agree_by_name_rows_and_values(others, is_same):
    assert agree({"label": np.array([1, 2])}, others) is is_same


def test_fractions_agree_within_their_last_bits_only():
    column = np.array([0.25, 0.75], np.float32)

    assert agree({"p": column}, {"p": column + np.float32(2e-5)})
    assert not agree({"p": column}, {"p": column + np.float32(1e-3)})
    assert not agree({"p": column}, {"p": np.array([np.nan, 0.75], np.float32)})


def test_rows_become_columns():
    columns = columns_of([{"label": 1, "p": [0.5, 0.5]}, {"label": 0, "p": [1.0, 0.0]}])

    assert columns["label"].tolist() == [1, 0]
    assert columns["p"].tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_all_held_out_rows_and_all_sentences_are_asked():
    rows = {(one.model, one.version): len(one.rows) for one in trials()}

    held_out = len(datasets.digits().held_out_rows)
    expected = {("digits", "1"): held_out, ("digits", "2"): held_out}
    expected |= {("breast_cancer", "1"): len(datasets.breast_cancer().held_out_rows), ("minilm", "1"): 2 * len(datasets.SENTENCE_PAIRS)}
    assert rows == expected


def test_answers_keep_the_order_of_the_calls():
    timed = one_by_one(str, [3, 1, 2])

    assert timed.answers == ["3", "1", "2"]
    assert len(timed.seconds) == 3


def test_percentiles_are_in_milliseconds():
    timed = Timed(answers=[None] * 3, seconds=[0.001, 0.002, 0.003])

    assert timed.percentile_ms(50) == pytest.approx(2.0)


def test_throughput_keeps_as_many_calls_in_flight_as_asked_for():
    both_are_in, seen = threading.Barrier(2, timeout=10), threading.local()

    def meet_once(_):
        if not hasattr(seen, "other"):
            seen.other = both_are_in.wait()

    assert calls_per_second(meet_once, [1], in_flight=2, seconds=1.0) > 0


def test_a_way_that_starts_a_process_a_call_has_no_throughput(examination):
    way = FakeWay()
    way.keeps_running = False
    examination.run(trial(), [way])

    assert examination.findings[0].calls_per_second is None
    assert len(way.asked) == 1 + len(ROWS)


def test_one_failed_call_fails_the_measurement():
    def refuse(_):
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        calls_per_second(refuse, [1], in_flight=2, seconds=0.05)
