"""Loads are what they are said to be, and what they measured is counted once."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from random import Random

import grpc
import numpy as np
import pytest

from bench import bodies
from bench.arena import Arena
from bench.bodies import WrongAnswer
from bench.closed_loop import FAILURES, Window
from bench.figures import Figures
from bench.limit import main as raw_loop
from bench.limit import read_feeds, write_feeds
from bench.model import build_repository, rows
from bench.neighbours import check_noise
from bench.open_loop import Answer, late_share, percentile_ms, schedule
from bench.overload import check, in_time, note_refusals
from bench.workloads import trees32

OK, SHED, EXPIRED = grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED
FULL = grpc.StatusCode.RESOURCE_EXHAUSTED


def answer(seconds: float, code: grpc.StatusCode = OK, *, due_at: float = 0.0, late: float = 0.0, content: bytes = b"") -> Answer:
    return Answer(due_at=due_at, left_at=due_at + late, seconds=seconds, code=code, content=content)


def test_an_open_loop_draws_its_arrivals_before_the_run_at_the_rate_it_was_given():
    due = schedule(1000.0, 20.0, Random(1))

    assert due == schedule(1000.0, 20.0, Random(1))
    assert all(earlier < later for earlier, later in pairwise(due))
    assert due[-1] < 20.0
    assert len(due) == pytest.approx(20_000, rel=0.03)


def test_calls_that_left_late_are_counted():
    assert late_share([answer(0.01), answer(0.01, late=0.0005), answer(0.01, late=0.002), answer(0.01)]) == 0.25


def test_a_percentile_is_a_latency_that_was_seen():
    assert percentile_ms([0.003, 0.001, 0.002, 0.004], 50) == 3.0
    assert percentile_ms([0.001], 99) == 1.0
    with pytest.raises(ValueError, match="nothing"):
        percentile_ms([], 99)


def test_goodput_counts_answers_within_their_deadline_and_within_the_run_only():
    assert in_time([answer(0.02), answer(0.031), answer(0.001, SHED), answer(0.02, due_at=0.99)], end=1.0) == 1


def test_refusals_are_told_apart_from_calls_left_to_their_deadline(tmp_path: Path):
    figures = Figures()
    arena = Arena(work=tmp_path, model=tmp_path, expected=rows(), rounds=1, seconds=1.0, is_plain=True, figures=figures)

    note_refusals(
        arena,
        [answer(0.02), answer(0.002, SHED), answer(0.0305, EXPIRED), answer(0.004, EXPIRED, late=0.001), answer(0.04, EXPIRED, late=0.04)],
    )

    assert figures.by_name["overload.shed_share"].median == 0.4
    assert figures.by_name["overload.expired_share"].median == 0.2
    assert figures.by_name["overload.unsent_share"].median == 0.2
    assert figures.by_name["overload.shed_p99_ms"].median == pytest.approx(3.0)


def test_a_wrong_answer_or_an_error_that_overload_does_not_explain_stops_the_run():
    wrong = bodies.infer_request(rows()).SerializeToString()  # has no output
    with pytest.raises((WrongAnswer, IndexError)):
        check([answer(0.01, content=wrong)], rows())
    with pytest.raises(SystemExit, match="INTERNAL"):
        check([answer(0.01, grpc.StatusCode.INTERNAL)], rows())
    check([answer(0.01, SHED), answer(0.01, EXPIRED)], rows())


def test_a_closed_loop_measures_whole_bursts_once_it_is_full_and_counts_the_rest_apart():
    window = Window(in_flight=2, seconds=1.0)
    bursts = [0.5, 0.9, 1.3, 1.7, 2.1]  # two answers each, the second a hundredth later
    for burst in bursts:
        for now in (burst, burst + 0.01):
            window.answered(0.0, now)

    assert window.is_over
    assert (window.begin, window.end) == (2, 8)
    assert window.length == pytest.approx(1.2)
    assert len(window.taken) / window.length == pytest.approx(2 / 0.4)


def test_a_closed_loop_goes_on_until_its_window_is_over():
    window = Window(in_flight=2, seconds=1.0)
    for now in (0.5, 0.51, 0.9, 0.91, 1.3, 1.31):
        window.answered(0.0, now)

    assert not window.is_over


def test_a_closed_loop_lasts_longer_rather_than_hold_next_to_nothing():
    window = Window(in_flight=2, seconds=0.1, least=4)
    for now in (0.5, 0.51, 5.0, 5.01, 6.0, 6.01):
        window.answered(0.0, now)
    assert not window.is_over
    window.answered(0.0, 7.0)

    assert (window.is_over, len(window.taken), window.length) == (True, 4, pytest.approx(5.5))


def test_a_server_that_only_fails_ends_the_loop():
    window = Window(in_flight=2, seconds=0.1)
    for _ in range(FAILURES):
        assert not window.is_over
        window.refused()

    assert window.is_over


def test_feeds_come_back_as_they_were_written(tmp_path: Path):
    feeds = {4: [{"x": rows(4)}, {"x": rows(3)}], 1: [{"x": rows(1)}]}
    write_feeds(tmp_path / "feeds.npz", feeds)
    read = read_feeds(tmp_path / "feeds.npz")

    assert {size: [feed["x"].shape for feed in batches] for size, batches in read.items()} == {4: [(4, 32), (3, 32)], 1: [(1, 32)]}
    assert np.array_equal(read[4][1]["x"], rows(3))


def test_the_raw_loop_gives_a_rate_for_each_batch_size(tmp_path: Path):
    model = build_repository(tmp_path)
    write_feeds(tmp_path / "feeds.npz", {1: [{"x": rows(1)}], 64: [{"x": rows(64)}]})

    rates = raw_loop(model, tmp_path / "feeds.npz", 0.1)

    assert rates[64] > rates[1] > 0


def test_a_workload_brings_its_own_right_answer(tmp_path: Path):
    workload = trees32(tmp_path)

    assert workload.answers[0].shape == (32, 1)
    assert len(np.unique(workload.answers[0])) > 16
    assert set(workload.feeds) == {32, 64, 256}
    assert all(len(batch["x"]) == size for size, batches in workload.feeds.items() for batch in batches)


def test_every_encoding_carries_the_same_row_and_a_wrong_value_is_refused():
    row = rows()
    binary = bodies.binary_body(row)
    head = int(binary.headers[bodies.LENGTH_HEADER])

    assert binary.content[head:] == row.tobytes() == bodies.msgpack_body(row).content[-row.nbytes :]
    assert np.array_equal(bodies.http_answer(binary.content, str(head)), row.ravel())
    with pytest.raises(WrongAnswer, match="mosec answered"):
        bodies.check("mosec", row * 1.01, row)
    with pytest.raises(WrongAnswer):
        bodies.check("mosec", row[:, :-1], row)


def test_noise_that_was_held_to_its_quota_counts_and_no_other():
    check_noise([*[answer(0.001)] * 150, *[answer(0.001, FULL)] * 2850], 3.0)
    for told in (
        [answer(0.001)] * 3000,
        [answer(0.001, FULL)] * 3000,
        [*[answer(0.001)] * 400, *[answer(0.001, FULL)] * 2600],
        [*[answer(0.001)] * 150, answer(0.001, grpc.StatusCode.INTERNAL)],
    ):
        with pytest.raises(SystemExit, match="noisy"):
            check_noise(told, 3.0)
