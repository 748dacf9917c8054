"""What a lane learns from answers, and how it gets over what it learnt wrongly."""

from __future__ import annotations

from array import array

import pytest

from penstock.contracts.worker_status import CostPoint
from services.mesh import door
from services.mesh.chunk import Chunk
from services.mesh.lane import SLOWDOWNS, Lane
from tests.mesh.ledger import ONE_ROW, Ledger
from tests.mesh.queueing import Numbered

COST = 0.01


def lane_of(rows_by_seconds: dict[int, float] | None = None, *, row_limit: int = 4) -> Lane:
    lane = Lane(row_limit)
    lane.seed([CostPoint(rows=rows, seconds=seconds) for rows, seconds in (rows_by_seconds or {1: COST, 4: COST}).items()])
    return lane


def answer(lane: Lane, now: float, *, rows: int = 1, seconds: float = COST, waiting: int = 0) -> None:
    lane.leave(1, rows)
    lane.learn(now, (rows, int(seconds * 1e6)), waiting)


def backlog(lane: Lane, now: float, turns: int, *, seconds: float) -> float:
    """Let so many executions of COST be answered, each so long after the one before, with rows waiting all the time; return the end."""
    lane.enter(1, turns + 2, now)
    for _ in range(turns + 1):
        now += seconds
        answer(lane, now)
    answer(lane, now + COST)
    return now + COST


def chunk_of(requests: int, deadline: float) -> Chunk:
    chunk = Chunk(Ledger(), ONE_ROW, Numbered([]))
    for _ in range(requests):
        chunk.columns[0].append(array("f", [0.0, 0.0]).tobytes())
        chunk.deadlines.append(deadline)
    chunk.seal()
    return chunk


def test_a_backlog_whose_turns_take_longer_than_their_executions_is_slow():
    lane = lane_of()
    backlog(lane, 0.0, 40, seconds=3 * COST)

    assert lane.slowdown == pytest.approx(3.0, rel=0.1)


def test_one_stop_of_a_worker_is_not_taken_for_its_speed():
    lane = lane_of()
    now = backlog(lane, 0.0, 20, seconds=COST)
    backlog(lane, now + 1.0, 1, seconds=60.0)

    assert lane.slowdown < 3.0


def test_a_slowdown_is_forgotten_by_single_requests_on_an_idle_lane():
    lane = lane_of()
    now = backlog(lane, 0.0, 200, seconds=100 * COST)
    assert lane.slowdown > SLOWDOWNS[1] / 2
    for _ in range(60):
        now += 1.0
        lane.enter(1, 1, now)
        now += 1.1 * COST
        answer(lane, now)

    assert lane.slowdown < 1.5


def test_single_requests_on_an_idle_lane_never_make_it_slow():
    lane = lane_of()
    now = backlog(lane, 0.0, 20, seconds=COST)
    before = lane.slowdown
    for _ in range(20):
        now += 1.0
        lane.enter(1, 1, now)
        now += 5 * COST
        answer(lane, now)

    assert lane.slowdown == before


def test_executions_that_are_told_together_after_silence_do_not_make_it_fast():
    lane = lane_of()
    now = backlog(lane, 0.0, 20, seconds=COST)
    before = lane.slowdown
    for _ in range(50):
        now += 1.0
        lane.enter(1, 3, now)
        now += 3 * COST
        for number in range(3):
            answer(lane, now, seconds=COST + number * 1e-5)

    assert lane.slowdown == before


@pytest.mark.parametrize("rows", [1, 4])
def test_costs_that_fell_are_believed_after_few_answers(rows: int):
    lane = lane_of({1: 1.0, 2: 1.0, 4: 1.0})
    for now in range(10):
        lane.enter(1, rows, float(now))
        answer(lane, now + COST, rows=rows)

    assert lane.cost(rows) < 2 * COST
    assert lane.cost(4) < 10 * COST


def test_one_slow_execution_of_a_model_that_was_just_loaded_is_outweighed_by_the_next_ones():
    lane = Lane(4)
    lane.enter(1, 1, 0.0)
    answer(lane, 1.0, seconds=1.0)
    for now in range(1, 9):
        lane.enter(1, 1, float(now))
        answer(lane, now + COST)

    assert lane.cost(1) < 2 * COST


@pytest.mark.parametrize("others", [0, 1000])
@pytest.mark.parametrize("slowdown", [1, 100])
@pytest.mark.parametrize("cost", [COST, 1000.0])
def test_a_lone_caller_is_never_refused_by_an_idle_lane(cost: float, slowdown: int, others: int):
    lane = lane_of()
    now = backlog(lane, 0.0, 20, seconds=slowdown * COST)
    lane.enter(1, 1, now)
    answer(lane, now + COST, seconds=cost, waiting=others)
    now += 2 * COST

    assert not door.is_pressed(chunk_of(1, now + 0.001), lane, now)
    assert door.fitting(chunk_of(1, now + 0.001), lane, now) == [0]
    assert door.fitting(chunk_of(3, now + 0.001), lane, now)[0] == 0


def test_what_was_in_flight_on_a_lost_link_is_not_waited_for():
    lane = lane_of()
    lane.enter(1, 500, 0.0)
    lane.clear()

    assert lane.seconds(lane.rows, 1, 0.1) == pytest.approx(COST)
