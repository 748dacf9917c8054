"""Admission and the result cache, by hand-moved time."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.router.admission import Tenant, TenantPolicy
from services.router.result_cache import OVERHEAD_BYTES, ResultCache


@dataclass(eq=False)
class Waiter:
    deadline: float = float("inf")


def admitted(tenant: Tenant, now: float, asked: int, rows: int = 1) -> int:
    tenant.open(now)
    count = 0
    for _ in range(asked):
        if tenant.admit(rows) is None:
            count += 1
            tenant.release(rows)
    return count


def test_a_rate_holds_over_time_and_a_burst_is_one_second():
    tenant = Tenant(TenantPolicy(name="t", requests_per_second=10))

    assert [admitted(tenant, now, 100) for now in (0.0, 0.5, 0.5, 10.0)] == [10, 5, 0, 10]


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 50)), max_size=30))
def test_no_window_gets_more_than_burst_plus_rate(steps: list[tuple[float, int]]):
    tenant, now, total = Tenant(TenantPolicy(name="t", requests_per_second=10, burst_seconds=2)), 0.0, 0
    for passed, asked in steps:
        now += passed
        total += admitted(tenant, now, asked)

        assert total <= 20 + 10 * now + 1e-6


def test_rows_count_not_only_requests():
    tenant = Tenant(TenantPolicy(name="t", rows_per_second=100))

    assert admitted(tenant, 0.0, 10, rows=30) == 3


def test_a_request_above_the_whole_bucket_passes_when_the_bucket_is_full_and_is_paid_for():
    tenant = Tenant(TenantPolicy(name="t", rows_per_second=10))

    assert admitted(tenant, 0.0, 2, rows=50) == 1
    assert admitted(tenant, 2.0, 1, rows=1) == 0
    assert admitted(tenant, 5.0, 1, rows=1) == 1


def test_advice_is_the_time_at_which_it_would_pass():
    tenant = Tenant(TenantPolicy(name="t", requests_per_second=10))
    admitted(tenant, 0.0, 10)
    error = tenant.admit(1)

    assert error is not None
    assert error.retry_after_seconds == pytest.approx(0.1)
    assert admitted(tenant, 0.1, 1) == 1


def test_rows_in_flight_come_back_only_by_release():
    tenant = Tenant(TenantPolicy(name="t", max_rows_in_flight=4))

    assert tenant.admit(3) is None
    refused = tenant.admit(2)
    assert refused is not None
    assert refused.reason == "CONCURRENCY"
    tenant.release(3)
    assert tenant.admit(2) is None


def test_model_patterns_decide_what_may_be_called():
    tenant = Tenant(TenantPolicy(name="t", models=("fraud-*", "digits")))

    assert [tenant.may_call(name) for name in ("fraud-1", "digits", "fraud", "other")] == [True, True, False, False]


def test_an_answer_lives_for_its_time():
    cache: ResultCache[Waiter] = ResultCache(ttl_seconds=10)
    cache.land(b"k", b"answer", 0.0)
    cache.land(b"short", b"answer", 0.0, ttl_seconds=1)

    assert (cache.get(b"k", 9.9), cache.get(b"short", 0.9)) == (b"answer", b"answer")
    assert (cache.get(b"k", 10.0), cache.get(b"short", 1.0)) == (None, None)
    assert cache.used_bytes == 0


def test_the_least_recently_used_answer_goes_first():
    cache: ResultCache[Waiter] = ResultCache(limit_bytes=2 * (OVERHEAD_BYTES + 10))
    cache.land(b"1", b"x" * 10, 0.0)
    cache.land(b"2", b"x" * 10, 0.0)
    cache.get(b"1", 0.0)
    cache.land(b"3", b"x" * 10, 0.0)

    assert [cache.get(key, 0.0) is not None for key in (b"1", b"2", b"3")] == [True, False, True]


def test_an_answer_larger_than_the_cache_is_not_kept():
    cache: ResultCache[Waiter] = ResultCache(limit_bytes=300)
    cache.land(b"1", b"x" * 200, 0.0)

    assert len(cache) == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 400), st.floats(0, 5)), max_size=60))
def test_the_limit_in_bytes_holds_after_every_step(steps: list[tuple[int, int, float]]):
    cache: ResultCache[Waiter] = ResultCache(limit_bytes=2000, ttl_seconds=7)
    now = 0.0
    for key, size, passed in steps:
        now += passed
        cache.get(bytes([key]), now)
        cache.land(bytes([key]), b"x" * size, now)

        assert 0 <= cache.used_bytes <= 2000
    for key in range(6):
        cache.get(bytes([key]), now + 100)
    assert cache.used_bytes == 0


def test_waiters_of_a_flight_are_served_together_or_one_by_one():
    cache: ResultCache[Waiter] = ResultCache()
    first, second, third = Waiter(), Waiter(deadline=5.0), Waiter()

    assert not cache.join(b"k", Waiter())
    assert all(cache.join(b"k", waiter) for waiter in (first, second, third))
    assert cache.expire(5.0) == [second]
    assert cache.promote(b"k") is first
    assert not cache.leave(b"k", first)
    assert cache.land(b"k", b"answer", 0.0) == [third]
    assert cache.abandon(b"k") == []
