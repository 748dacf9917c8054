"""Who runs together, and when."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.batch_policy import BatchPolicy, QueuePolicy, TimeoutAction
from services.worker.batching import PROBE_SECONDS, BatchQueue
from services.worker.waiting_ends import DropCause
from services.worker.work import Batch, PriorityClass, Work
from tests.worker.works import work

ONLINE, STREAM, BULK = PriorityClass.ONLINE, PriorityClass.STREAM, PriorityClass.BULK
MILLISECOND = 0.001


def queue_of(max_batch_size: int = 8, cost=None, **policy) -> BatchQueue:
    settings = BatchPolicy(max_batch_size=max_batch_size, **policy)
    return BatchQueue(settings) if cost is None else BatchQueue(settings, cost)


def ids(batch: Batch | None) -> list[tuple[int, int]]:
    return [] if batch is None else [(part.work.chunk_id, position) for part in batch.parts for position in part.positions]


def chunks(batch: Batch | None) -> list[int]:
    return [] if batch is None else [part.work.chunk_id for part in batch.parts]


def tenants_of(batch: Batch) -> list[int]:
    return [part.work.tenants[at] if part.work.tenants else part.work.tenant for part in batch.parts for at in part.positions]


# Late formation.


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


# Waiting for company.


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


# Shapes.


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


# Priorities.


def test_online_work_goes_before_stream_and_bulk_and_never_shares_a_batch_with_them():
    queue = queue_of()
    for number, priority_class in enumerate((BULK, STREAM, ONLINE)):
        queue.push(work(number, priority_class=priority_class), now=0.0)

    assert [chunks(queue.take(0.0)) for _ in range(3)] == [[2], [1], [0]]


def test_a_higher_level_goes_first_and_a_lower_one_fills_its_batch():
    queue = queue_of(4, priority_levels=3, default_priority_level=2)
    queue.push(work(1, count=3, priority_level=3), now=0.0)
    queue.push(work(2), now=0.0)
    queue.push(work(3, priority_level=1), now=0.0)

    assert chunks(queue.take(0.0)) == [3, 2, 1]
    assert ids(queue.take(0.0)) == [(1, 2)]


def test_levels_beyond_the_lowest_count_as_the_lowest():
    queue = queue_of(1, priority_levels=2)
    queue.push(work(1, priority_level=9), now=0.0)
    queue.push(work(2, priority_level=2), now=0.0)

    assert chunks(queue.take(0.0)) == [1]


def test_a_starved_class_gets_one_batch_after_its_ageing_and_then_waits_again():
    queue = queue_of(2, ageing_seconds=0.1)
    queue.push(work(0, count=20, priority_class=BULK), now=0.0)
    served: list[tuple[float, int]] = []
    for step in range(100):
        now = step * 0.01
        queue.push(work(step + 1, count=4, at=now), now=now)
        served += [(now, 0)] if 0 in chunks(queue.take(now)) else []

    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(served)]
    assert len(served) >= 3
    assert served[0][0] <= 0.22
    assert all(0.19 <= gap <= 0.23 for gap in gaps)


def test_time_without_work_is_no_waiting():
    queue = queue_of(4, ageing_seconds=0.1)
    queue.push(work(1, count=8), now=99.99)
    queue.take(99.99)
    queue.push(work(2, priority_class=BULK), now=100.0)

    assert chunks(queue.take(100.0)) == [1]


def test_bulk_work_runs_in_slices_of_its_measured_cost():
    queue = queue_of(64, cost=lambda rows, size: rows * 0.0001)
    queue.push(work(1, count=64, priority_class=BULK), now=0.0)
    queue.push(work(2, count=64), now=0.0)

    assert queue.take(0.0).rows == 64
    assert queue.take(0.0).rows == 8


# Tenants.


def test_tenants_take_turns_while_there_is_more_than_one_batch():
    queue = queue_of(4)
    queue.push(work(1, count=40, tenant=1), now=0.0)
    queue.push(work(2, count=4, tenant=2), now=0.0)

    assert [Counter(tenants_of(queue.take(0.0)))[2] for _ in range(3)] == [2, 2, 0]


def test_a_tenant_that_was_idle_saves_nothing_up():
    queue = queue_of(4)
    queue.push(work(1, count=60, tenant=1), now=0.0)
    for _ in range(5):
        queue.take(0.0)
    queue.push(work(2, count=20, tenant=2), now=0.0)

    served = Counter([tenant for _ in range(4) for tenant in tenants_of(queue.take(0.0))])
    assert served[1] >= 6
    assert served[2] >= 6


def test_a_chunk_of_many_tenants_is_taken_apart_only_under_contention():
    queue = queue_of(4)
    queue.push(work(1, count=4, tenants=[1, 2, 1, 2]), now=0.0)
    assert [part.positions for part in queue.take(0.0).parts] == [range(4)]

    queue.push(work(2, count=6, tenants=[1, 1, 1, 1, 1, 2]), now=0.0)
    assert Counter(tenants_of(queue.take(0.0))) == {1: 3, 2: 1}
    assert queue.rows == 2


def test_a_tenant_with_many_shapes_gets_no_more_than_its_share():
    queue = queue_of(1)
    for width in range(1, 21):
        queue.push(work(width, [[0.0] * width], tenant=1), now=0.0)
    queue.push(work(99, [[0.0] * 50], tenant=2), now=0.0)

    order = [chunks(queue.take(0.0))[0] for _ in range(21)]

    assert order.index(99) <= 2


@settings(max_examples=150, deadline=None)
@given(
    backlog=st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 3)), min_size=6, max_size=40),
    limit=st.integers(3, 16),
)
def test_two_waiting_tenants_never_differ_by_more_than_a_turn_and_a_request_each(backlog, limit):
    queue = queue_of(limit)
    waiting: Counter[int] = Counter()
    largest: Counter[int] = Counter()
    for number, (tenant, count, rows) in enumerate(backlog):
        queue.push(work(number, count=count, rows=rows, tenant=tenant), now=0.0)
        waiting[tenant] += count * rows
        largest[tenant] = max(largest[tenant], rows)

    served: Counter[int] = Counter()
    while (batch := queue.take(0.0)) is not None:
        for part in batch.parts:
            served[part.work.tenant] += part.rows
        backlogged = [tenant for tenant in waiting if served[tenant] < waiting[tenant]]
        for one in backlogged:
            for other in backlogged:
                assert abs(served[one] - served[other]) <= largest[one] + largest[other] + 2 * max(1, limit // 8)


# Bounds.


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


# Deadlines, timeouts, cancels.


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


# The invariants, under any history.

Step = tuple[str, int, int, int, int, float]


@st.composite
def histories(draw):
    return draw(
        st.lists(
            st.one_of(
                st.tuples(
                    st.just("push"),
                    st.integers(1, 7),  # requests
                    st.integers(1, 3),  # rows
                    st.sampled_from([1, 2]),  # width
                    st.integers(0, 17),  # class, level, tenant
                    st.sampled_from([0.0, 0.0, 0.02, 0.3]),  # deadline after arrival, 0 for none
                ),
                st.tuples(st.just("take")),
                st.tuples(st.just("wait"), st.sampled_from([0.001, 0.01, 0.4])),
                st.tuples(st.just("cancel"), st.integers(0, 40), st.integers(0, 6)),
                st.tuples(st.just("abandon"), st.integers(0, 40)),
                st.tuples(st.just("expire")),
            ),
            max_size=60,
        )
    )


POLICIES = st.builds(
    BatchPolicy,
    max_batch_size=st.sampled_from([3, 4, 16]),
    preferred_batch_size=st.sampled_from([(), (2,), (2, 3)]),
    max_queue_delay_microseconds=st.sampled_from([0, 0, 5000]),
    priority_levels=st.just(2),
    queue=st.sampled_from(
        [
            QueuePolicy(),
            QueuePolicy(max_queue_size=9),
            QueuePolicy(default_timeout_microseconds=20_000),
            QueuePolicy(default_timeout_microseconds=20_000, timeout_action=TimeoutAction.DELAY),
        ]
    ),
)


@settings(max_examples=250, deadline=None)
@given(policy=POLICIES, history=histories())
def test_every_request_leaves_exactly_once_whatever_happens(policy, history):
    queue = BatchQueue(policy, lambda rows, size: 0.001 * rows)
    left: Counter[tuple[int, int]] = Counter()
    works: list[Work] = []
    now = 0.0
    for step in history:
        match step:
            case ("push", count, rows, width, kind, deadline):
                one = work(
                    len(works),
                    [[0.0] * (rows * width)] * count,
                    rows=rows,
                    at=now,
                    priority_class=(ONLINE, STREAM, BULK)[kind % 3],
                    priority_level=kind % 2 + 1,
                    tenants=[(kind + position) % 3 for position in range(count)] if kind > 8 else None,
                    deadlines=[now + deadline * (position % 2 + 1) for position in range(count)] if deadline else None,
                )
                works.append(one)
                left.update((one.chunk_id, position) for position in queue.push(one, now))
            case ("take",):
                batch = queue.take(now)
                if batch is not None:
                    check_batch(batch, policy)
                    left.update(ids(batch))
            case ("wait", seconds):
                now += seconds
            case ("cancel", number, position) if works:
                one = works[number % len(works)]
                if queue.cancel(one, position):
                    left[one.chunk_id, position] += 1
            case ("abandon", number) if works:
                one = works[number % len(works)]
                open_before = {(one.chunk_id, at) for entry in one.waiting for at in entry.positions}
                assert queue.abandon(one) == len(open_before)
                left.update(open_before)
        left.update((drop.work.chunk_id, at) for drop in queue.expire(now) for at in drop.positions)
        assert queue.requests == sum(one.count for one in works) - left.total()
        assert queue.rows == sum(one.count * one.rows for one in works) - sum(works[n].rows for n, _ in left.elements())
        assert queue.next_expiry > now

    queue.is_closing = True
    while (batch := queue.take(now)) is not None:
        check_batch(batch, policy)
        left.update(ids(batch))
    left.update((drop.work.chunk_id, at) for drop in queue.expire(now) for at in drop.positions)
    assert queue.rows == queue.requests == queue._bytes == 0
    assert left == Counter((one.chunk_id, position) for one in works for position in range(one.count))
    assert not any(one.waiting for one in works)
    assert all(not level.lines and not level._served for level in queue._levels.values())


def check_batch(batch: Batch, policy: BatchPolicy) -> None:
    assert 0 < batch.rows == sum(part.rows for part in batch.parts) <= policy.row_limit
    assert len({part.work.template.group for part in batch.parts}) == 1
    assert len({part.work.priority_class for part in batch.parts}) == 1
    assert len(set(ids(batch))) == len(ids(batch))


@settings(max_examples=30, deadline=None)
@given(kinds=st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_nobody_starves_while_higher_work_keeps_coming(kinds):
    queue = queue_of(2, ageing_seconds=0.05, priority_levels=2)
    open_chunks = set()
    for number, kind in enumerate(kinds):
        queue.push(work(number, priority_class=(ONLINE, STREAM, BULK)[kind % 3], priority_level=kind // 3 + 1), now=0.0)
        open_chunks.add(number)
    for step in range(400):
        now = step * 0.005
        queue.push(work(1000 + step, count=3, at=now, priority_level=1), now=now)
        batch = queue.take(now)
        open_chunks -= set(chunks(batch))

    assert not open_chunks
