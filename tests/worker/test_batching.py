"""Who runs together, and when."""

from __future__ import annotations

import pytest

from services.worker.batch_policy import QueuePolicy, TimeoutAction
from services.worker.batching import PROBE_SECONDS
from services.worker.waiting_ends import DropCause
from tests.worker.queues import BULK, chunks, ids, queue_of
from tests.worker.works import work


def test_a_lone_request_runs_at_once_when_the_executor_is_idle():
    queue = queue_of()
    queue.push(work(1), now=0.0)

    assert ids(queue.take(now=0.0)) == [(1, 0)]
    assert queue.take(now=0.0) is None


def test_what_waited_meanwhile_runs_together_up_to_the_maximum():
    queue = queue_of(4)
    for number in range(3):
        queue.push(work(number, count=2), now=0.0)

    assert ids(queue.take(0.0)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert ids(queue.take(0.0)) == [(2, 0), (2, 1)]


def test_a_chunk_is_split_where_a_batch_is_full_and_keeps_its_order():
    queue = queue_of(4)
    queue.push(work(1, count=10), now=0.0)

    batches = [queue.take(0.0) for _ in range(3)]

    assert [batch.rows for batch in batches] == [4, 4, 2]
    assert [position for batch in batches for _, position in ids(batch)] == list(range(10))
    assert all(isinstance(part.positions, range) for batch in batches for part in batch.parts)


def test_requests_of_many_rows_are_never_cut():
    queue = queue_of(8)
    queue.push(work(1, count=3, rows=3), now=0.0)

    assert [queue.take(0.0).rows for _ in range(2)] == [6, 3]


def test_a_model_without_batch_dimension_runs_one_request_at_a_time():
    queue = queue_of(0)
    queue.push(work(1, count=3), now=0.0)

    assert [ids(queue.take(0.0)) for _ in range(3)] == [[(1, 0)], [(1, 1)], [(1, 2)]]


def test_a_request_waits_for_company_until_its_delay_is_over():
    queue = queue_of(max_queue_delay_microseconds=5000)
    queue.push(work(1, at=1.0), now=1.0)

    assert queue.take(1.004) is None
    assert queue.next_due == pytest.approx(1.005)
    assert ids(queue.take(1.0051)) == [(1, 0)]


def test_a_full_batch_does_not_wait():
    queue = queue_of(2, max_queue_delay_microseconds=5000)
    queue.push(work(1, count=2), now=0.0)

    assert queue.next_due == 0.0
    assert queue.take(0.0).rows == 2


def test_a_preferred_size_is_taken_while_the_oldest_is_not_overdue_and_all_afterwards():
    queue = queue_of(8, max_queue_delay_microseconds=5000, preferred_batch_size=(2, 4))
    queue.push(work(1, count=5), now=0.0)

    assert queue.take(0.0).rows == 4
    assert queue.take(0.0) is None
    queue.push(work(2, count=2, at=0.0), now=0.0)
    assert queue.take(0.006).rows == 3


def test_a_deadline_ends_the_wait_for_company():
    queue = queue_of(max_queue_delay_microseconds=1_000_000, cost=lambda rows, size: 0.01)
    queue.push(work(1, deadlines=[0.1]), now=0.0)

    assert queue.next_due == pytest.approx(0.08)
    assert ids(queue.take(0.08)) == [(1, 0)]


def test_nothing_is_waited_for_when_the_queue_closes():
    queue = queue_of(max_queue_delay_microseconds=1_000_000)
    queue.push(work(1), now=0.0)
    queue.is_closing = True

    assert ids(queue.take(0.0)) == [(1, 0)]


def test_only_equal_shapes_run_together_and_a_different_one_blocks_nobody():
    queue = queue_of()
    queue.push(work(1, [[1.0]]), now=0.0)
    queue.push(work(2, [[1.0, 2.0]]), now=0.0)
    queue.push(work(3, [[1.0]]), now=0.0)

    assert [chunks(queue.take(0.0)) for _ in range(2)] == [[1, 3], [2]]


def test_requests_with_different_rows_of_one_shape_run_together():
    queue = queue_of()
    queue.push(work(1, [[1.0]]), now=0.0)
    queue.push(work(2, [[1.0, 2.0]], rows=2), now=0.0)

    assert queue.take(0.0).rows == 3


def test_a_full_queue_refuses_the_requests_beyond_its_bound():
    queue = queue_of(queue=QueuePolicy(max_queue_size=5))

    assert queue.push(work(1, count=3), now=0.0) == range(3, 3)
    assert list(queue.push(work(2, count=4), now=0.0)) == [2, 3]
    assert list(queue.push(work(3), now=0.0)) == [0]
    assert queue.requests == 5


def test_a_queue_without_a_bound_of_its_own_is_bounded_all_the_same():
    queue = queue_of(4)

    assert len(queue.push(work(1, count=5000), now=0.0)) == 5000 - 1024


def test_bytes_that_wait_are_bounded_but_one_chunk_is_always_let_in():
    queue = queue_of(max_queue_bytes=10)

    assert not queue.push(work(1, count=4), now=0.0)
    assert list(queue.push(work(2), now=0.0)) == [0]
    queue.take(0.0)
    assert not queue.push(work(3), now=0.0)


def test_an_expired_request_leaves_the_queue_although_no_executor_is_free():
    queue = queue_of()
    queue.push(work(1, count=3, deadlines=[5.0, 1.0, 9.0]), now=0.0)

    assert queue.next_expiry == 1.0
    assert [(drop.positions, drop.cause) for drop in queue.expire(1.0)] == [([1], DropCause.EXPIRED)]
    assert queue.next_expiry == 5.0
    assert ids(queue.take(1.0)) == [(1, 0), (1, 2)]


def test_a_request_that_cannot_make_its_deadline_is_dropped_before_it_runs():
    queue = queue_of(cost=lambda rows, size: 0.010 * rows)
    queue.push(work(1, count=2, deadlines=[0.015, 1.0]), now=0.0)

    assert ids(queue.take(0.0)) == [(1, 1)]
    assert queue.has_drops
    assert [(drop.positions, drop.cause) for drop in queue.expire(0.0)] == [([0], DropCause.HOPELESS)]


def test_a_batch_shrinks_rather_than_to_drop_everybody():
    queue = queue_of(8, cost=lambda rows, size: 0.010 * rows)
    queue.push(work(1, count=8, deadlines=[0.05] * 8), now=0.0)

    assert queue.take(0.0).rows == 4
    assert not queue.has_drops


def test_a_wrong_prediction_does_not_refuse_everybody_for_ever():
    queue = queue_of(cost=lambda rows, size: 5.0)
    runs = 0
    for step in range(2000):
        now = step * 0.1
        queue.push(work(step, deadlines=[now + 0.05], at=now), now=now)
        runs += queue.take(now) is not None
        queue.expire(now)

    assert 2 <= runs <= 2000 * 0.1 / (10 * 5.0) + 2 * PROBE_SECONDS


def test_a_request_that_waits_too_long_is_rejected_by_its_queue():
    queue = queue_of(queue=QueuePolicy(default_timeout_microseconds=2000))
    queue.push(work(1, count=2, at=0.0), now=0.0)

    assert queue.next_expiry == pytest.approx(0.002)
    (drop,) = queue.expire(0.0021)
    assert (list(drop.positions), drop.cause) == ([0, 1], DropCause.WAITED_TOO_LONG)
    assert queue.rows == queue.requests == 0


def test_a_request_that_waits_too_long_is_parked_behind_the_others_of_its_level():
    queue = queue_of(2, queue=QueuePolicy(default_timeout_microseconds=2000, timeout_action=TimeoutAction.DELAY), priority_levels=2)
    queue.push(work(1, count=2, at=0.0, deadlines=[9.0, 3.0]), now=0.0)
    assert queue.expire(0.003) == []
    queue.push(work(2, count=2, at=0.003), now=0.003)

    assert queue.next_expiry == pytest.approx(0.005)
    assert chunks(queue.take(0.003)) == [2]
    assert [(drop.positions, drop.cause) for drop in queue.expire(3.0)] == [([1], DropCause.EXPIRED)]
    assert ids(queue.take(3.0)) == [(1, 0)]


def test_levels_may_wait_differently():
    queue = queue_of(priority_levels=2, level_queues={2: QueuePolicy(max_queue_size=1, default_timeout_microseconds=1000)})
    queue.push(work(1, count=3, priority_level=1), now=0.0)

    assert list(queue.push(work(2, count=3, priority_level=2), now=0.0)) == [1, 2]
    assert [drop.work.chunk_id for drop in queue.expire(0.5)] == [2]


def test_a_cancelled_request_leaves_its_chunk_and_only_once():
    queue = queue_of()
    chunk = work(1, count=3)
    queue.push(chunk, now=0.0)

    assert queue.cancel(chunk, 1)
    assert not queue.cancel(chunk, 1)
    assert not queue.cancel(chunk, 7)
    assert ids(queue.take(0.0)) == [(1, 0), (1, 2)]
    assert not queue.cancel(chunk, 0)


def test_chunks_that_left_long_before_their_deadlines_are_not_kept():
    queue = queue_of()
    queue.push(work(0, count=8, priority_class=BULK), now=0.0)
    for number in range(1, 3000):
        queue.push(work(number, deadlines=[1e6]), now=0.0)
        queue.take(0.0)

    assert len(queue._ends._heap) < 500
