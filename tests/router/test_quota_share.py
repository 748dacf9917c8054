"""What a router reports and spends of quotas that it shares, by hand-moved time; what deals them out here is a function."""

from __future__ import annotations

import pytest

from services.router.admission import UNLIMITED, Tenant, TenantPolicy
from services.router.quota_share import IDLE_SECONDS, NO_LIMIT, Book, Numbers, Quotas

RATE = 100.0


def tenant(**limits: float) -> Tenant:
    return Tenant(TenantPolicy(name="t", **(limits or {"requests_per_second": RATE})))


def admitted(one: Tenant, now: float, asked: int, rows: int = 1) -> int:
    one.open(now)
    count = sum(one.admit(rows) is None for _ in range(asked))
    one.release(count * rows)
    return count


def dealt(tokens: float, part: float, level: float) -> Numbers:
    return (tokens, part, level, 0.0, 0.0, 0.0, NO_LIMIT)


def test_an_even_part_divides_rate_burst_and_rows_in_flight():
    one, crowded = tenant(), tenant(max_rows_in_flight=8)
    one.share(0.25)
    crowded.share(0.25)

    assert admitted(one, 0.0, 1000) == 25
    assert admitted(one, 0.1, 1000) == pytest.approx(0.1 * RATE / 4, abs=1)
    assert admitted(crowded, 0.0, 1000) == 2
    assert (crowded.has_room(1, 3), crowded.has_room(1, 2)) == (False, True)


def test_a_limit_below_one_a_router_still_lets_one_request_through():
    one = tenant(requests_per_second=1)
    one.share(0.01)

    assert admitted(one, 0.0, 5) == 1


def test_what_is_granted_is_spent_once_and_a_debt_is_waited_for():
    one = tenant()
    book = Book(one, 0.0)
    admitted(one, 0.0, 40)
    book.look(0.1)
    report = book.report(0.1)
    admitted(one, 0.1, 3)
    book.absorb(dealt(5.0, 0.5, 10.0), 0.1)

    assert report[2:4] == (40.0, 0.0)
    assert admitted(one, 0.1, 100) == 2
    assert admitted(one, 0.2, 100) == 5

    book.report(0.3)
    book.absorb(dealt(-10.0, 0.5, -20.0), 0.3)
    assert [admitted(one, now, 100) for now in (0.4, 0.48, 0.6)] == [0, 0, 5]


def test_a_report_that_was_not_answered_is_repeated_with_the_same_base():
    one = tenant()
    book = Book(one, 0.0)
    admitted(one, 0.0, 10)
    first = book.report(0.1)
    admitted(one, 0.1, 5)
    second = book.report(0.2)
    book.absorb(dealt(50.0, 1.0, 50.0), 0.2)
    third = book.report(0.3)

    assert [one[2:4] for one in (first, second, third)] == [(10.0, 0.0), (15.0, 0.0), (15.0, 15.0)]


def test_what_is_left_is_remembered_for_whoever_has_forgotten_it():
    book = Book(tenant(), 0.0)
    fresh = book.report(0.0)[4]
    book.absorb(dealt(-30.0, 1.0, -30.0), 0.0)

    assert fresh == RATE
    assert book.report(0.5)[4] == pytest.approx(20.0)
    assert book.report(60.0)[4] == RATE


def test_demand_counts_what_was_refused():
    one = tenant(requests_per_second=10)
    book = Book(one, 0.0)
    for tick in range(1, 51):
        admitted(one, tick / 10, 20)
        book.look(tick / 10)

    assert book.report(5.0)[5] == pytest.approx(200.0, rel=0.01)


def test_a_change_of_policy_counts_nothing_twice_and_keeps_the_part():
    one = tenant()
    one.share(0.5)
    book = Book(one, 0.0)
    admitted(one, 0.0, 30)
    one.adopt(TenantPolicy(name="t", requests_per_second=50))

    assert book.report(0.0)[:3] == (50.0, 50.0, 30.0)
    assert admitted(one, 0.0, 100) == 25


def test_the_rows_of_a_large_request_are_told_so_that_it_is_not_starved():
    one = tenant(rows_per_second=RATE)
    one.share(0.25)
    book = Book(one, 0.0)
    one.open(0.0)
    assert one.admit(10) is None
    assert one.admit(60) is not None

    assert book.report(0.0)[13] == 60.0
    assert book.report(0.1)[13] == 1.0


def test_limits_that_there_are_not_are_reported_as_none():
    book = Book(tenant(max_rows_in_flight=4), 0.0)
    report = book.report(0.0)
    book.absorb((0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0), 0.0)

    assert (report[0], report[7], report[15]) == (NO_LIMIT, NO_LIMIT, 4.0)
    assert admitted(book.tenant, 1.0, 100, rows=1) == 2


def test_only_tenants_with_limits_that_do_something_are_reported():
    quotas, busy, free = Quotas(4), tenant(), tenant(requests_per_second=UNLIMITED)
    tenants = {"busy": busy, "free": free}
    assert [book.tenant for book in quotas.due(tenants, 0.0)] == [busy]

    quotas.books["busy"].absorb(dealt(100.0, 1.0, 100.0), 0.0)
    assert quotas.due(tenants, IDLE_SECONDS + 1.0) == []
    assert admitted(busy, IDLE_SECONDS + 1.0, 1000) == 25

    assert [book.tenant for book in quotas.due(tenants, IDLE_SECONDS + 1.1)] == [busy]
    assert quotas.due({}, IDLE_SECONDS + 1.2) == []
    assert quotas.books == {}


def test_without_anybody_who_deals_out_each_router_has_an_even_part():
    quotas, one = Quotas(1), tenant()
    quotas.estimate([one])
    assert one.part == 1.0

    quotas.routers = 4
    quotas.estimate([one])
    assert admitted(one, 0.0, 1000) == 25
