"""Classes, levels and ageing; tenants in turn."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from tests.worker.queues import BULK, ONLINE, STREAM, chunks, ids, queue_of, tenants_of
from tests.worker.works import work


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
