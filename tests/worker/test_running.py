"""A batch while it runs: who still waits for it."""

from __future__ import annotations

import math

from services.worker.running import STUCK_SECONDS, RunningBatch
from services.worker.work import Batch, Part, Work
from tests.worker.works import FakeHandle, work


def running(*works: Work) -> RunningBatch:
    return RunningBatch(Batch([Part(one, range(one.count)) for one in works]), FakeHandle(), 0.0)


def test_a_batch_dies_with_its_last_deadline():
    batch = running(work(1, count=2, deadlines=[1.0, 3.0]), work(2, deadlines=[2.0]))

    assert batch.next_check_at == 3.0
    assert not batch.is_dead(2.9)
    assert batch.is_dead(3.0)


def test_a_batch_with_a_patient_caller_never_dies():
    assert running(work(1, deadlines=[1.0]), work(2)).dead_at == math.inf


def test_callers_that_left_no_longer_keep_a_batch_alive():
    one, other = work(1, count=2, deadlines=[1.0, 3.0]), work(2)
    batch = running(one, other)

    assert batch.leave(other, 0)
    assert batch.dead_at == 3.0
    assert batch.leave(one, 1)
    assert batch.dead_at == 1.0
    assert batch.leave(one, 0)
    assert batch.is_dead(0.0)


def test_a_patient_caller_keeps_a_batch_alive_when_others_leave():
    one, other = work(1, deadlines=[1.0]), work(2)
    batch = running(one, other)
    batch.leave(one, 0)

    assert batch.dead_at == math.inf


def test_a_whole_chunk_may_leave():
    one, other = work(1, count=2), work(2, deadlines=[5.0])
    batch = running(one, other)

    assert batch.leave_all(one)
    assert batch.dead_at == 5.0


def test_requests_of_other_batches_are_not_its_business():
    batch = running(work(1))
    stranger = work(1)

    assert not batch.leave(stranger, 0)
    assert not batch.leave_all(stranger)
    assert batch.dead_at == math.inf


def test_a_stopped_batch_is_stuck_when_it_goes_on_for_too_long_and_is_reported_once():
    batch = running(work(1, deadlines=[1.0]))
    batch.stop(1.0)

    assert batch.handle.is_terminated
    assert not batch.is_dead(2.0)
    assert batch.next_check_at == 1.0 + STUCK_SECONDS
    assert not batch.is_stuck(1.5)
    assert batch.is_stuck(1.0 + STUCK_SECONDS)
    batch.is_reported = True
    assert not batch.is_stuck(9.0)
    assert batch.next_check_at == math.inf
