"""What holds for the batch queue under any history."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from services.worker.batch_policy import BatchPolicy, QueuePolicy, TimeoutAction
from services.worker.batching import BatchQueue
from services.worker.work import Batch, Work
from tests.worker.queues import BULK, ONLINE, STREAM, chunks, ids, queue_of
from tests.worker.works import work


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


class Driver:
    """Plays a history on a queue and counts how often each request left it."""

    def __init__(self, policy: BatchPolicy) -> None:
        self.policy = policy
        self.queue = BatchQueue(policy, lambda rows, size: 0.001 * rows)
        self.left: Counter[tuple[int, int]] = Counter()
        self.works: list[Work] = []
        self.now = 0.0

    def play(self, action: str, *values) -> None:
        getattr(self, action)(*values)
        self.expire()

    def push(self, count: int, rows: int, width: int, kind: int, deadline: float) -> None:
        one = work(
            len(self.works),
            [[0.0] * (rows * width)] * count,
            rows=rows,
            at=self.now,
            priority_class=(ONLINE, STREAM, BULK)[kind % 3],
            priority_level=kind % 2 + 1,
            tenants=[(kind + position) % 3 for position in range(count)] if kind > 8 else None,
            deadlines=[self.now + deadline * (position % 2 + 1) for position in range(count)] if deadline else None,
        )
        self.works.append(one)
        self.left.update((one.chunk_id, position) for position in self.queue.push(one, self.now))

    def take(self) -> bool:
        batch = self.queue.take(self.now)
        if batch is not None:
            check_batch(batch, self.policy)
            self.left.update(ids(batch))
        return batch is not None

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def cancel(self, number: int, position: int) -> None:
        one = self.works[number % len(self.works)] if self.works else None
        if one is not None and self.queue.cancel(one, position):
            self.left[one.chunk_id, position] += 1

    def abandon(self, number: int) -> None:
        if self.works:
            one = self.works[number % len(self.works)]
            waiting = {(one.chunk_id, at) for entry in one.waiting for at in entry.positions}
            assert self.queue.abandon(one) == len(waiting)
            self.left.update(waiting)

    def expire(self) -> None:
        self.left.update((drop.work.chunk_id, at) for drop in self.queue.expire(self.now) for at in drop.positions)


@settings(max_examples=200, deadline=None)
@given(policy=POLICIES, history=histories())
def test_every_request_leaves_exactly_once_whatever_happens(policy, history):
    driver = Driver(policy)
    queue = driver.queue
    for step in history:
        driver.play(*step)
        gone = driver.left.elements()
        assert queue.requests == sum(one.count for one in driver.works) - driver.left.total()
        assert queue.rows == sum(one.count * one.rows for one in driver.works) - sum(driver.works[number].rows for number, _ in gone)
        assert queue.next_expiry > driver.now

    queue.is_closing = True
    while driver.take():
        pass
    driver.expire()
    assert queue.rows == queue.requests == queue._bytes == 0
    assert driver.left == Counter((one.chunk_id, position) for one in driver.works for position in range(one.count))
    assert not any(one.waiting for one in driver.works)
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
