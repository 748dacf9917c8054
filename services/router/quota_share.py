"""Decides what this router reports of its tenants' quotas, and what it may spend. Pure: the caller passes `now`.

Quotas belong to tenants, not to routers. What is left of each is kept in one place (quota_script.py), which deals it out: every tick a
router reports what it admitted since it was last heard, and how much its callers ask for; it is granted its part of what is left, by
demand, and until the next tick its bucket fills at the same part of the quota's rate. What was admitted beyond the quota, because
parts were dealt out by demand that has moved on, makes what is left negative, and is waited for: errors do not add up.

Totals are reported, not differences: a report whose reply was lost may have been heard, and is then not counted twice.

While nobody deals out, each router has an even part: the limit divided by the routers it last knew, or was told to expect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp

from services.router.admission import UNLIMITED, Bucket, Tenant

DEMAND_SECONDS = 0.5
"""Time constant over which demand is averaged."""
IDLE_SECONDS = 5.0
"""Time after its last request after which a tenant is reported no more, and has an even part."""
FLOOR = 0.1
"""Share of a quota that is dealt out evenly, whatever the demand: a caller who moves to another router is not met by an empty bucket."""
NO_LIMIT = -1.0

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dealt:
    """What a router was granted of one meter, and what is left of it for all of them."""

    tokens: float
    part: float
    level: float


class Meter:
    """What is known of one limit per second; survives changes of the tenant's policy."""

    __slots__ = ("acknowledged", "demand", "heard_at", "level", "reported", "seen")

    def __init__(self) -> None:
        """Start with nothing asked for and nothing heard."""
        self.demand = 0.0
        """Asked for a second, admitted or not."""
        self.seen = 0.0
        """Asked for in all, when last looked at."""
        self.reported = 0.0
        self.acknowledged = 0.0
        """Admitted in all, when last reported, and when last heard for certain."""
        self.level: float | None = None
        self.heard_at = 0.0

    def look(self, asked: float, seconds: float) -> None:
        """Take note of what was asked for in all, so many seconds after the last look."""
        rate = (asked - self.seen) / seconds
        self.demand += (rate - self.demand) * (1.0 - exp(-seconds / DEMAND_SECONDS))
        self.seen = asked

    def report(self, bucket: Bucket, spent: float, grain: float, now: float) -> Numbers:
        """Return what is told of it: rate, burst, admitted in all, what of it was heard, what is left if nobody knows, demand, grain."""
        self.reported = spent
        if bucket.is_unlimited:
            return (NO_LIMIT, *(0.0,) * 6)
        known = bucket.full_burst if self.level is None else self.level + (now - self.heard_at) * bucket.full_rate
        return (
            bucket.full_rate,
            bucket.full_burst,
            spent,
            self.acknowledged,
            min(known, bucket.full_burst),
            self.demand,
            min(grain, bucket.full_burst),
        )

    def absorb(self, dealt: Dealt, bucket: Bucket, spent: float, now: float) -> None:
        """Spend by what was dealt, less what was admitted since the report."""
        self.acknowledged = self.reported
        self.level, self.heard_at = dealt.level, now
        if not bucket.is_unlimited:
            bucket.grant(dealt.tokens - (spent - self.reported), dealt.part)


class Book:
    """What one tenant does at this router, as it is reported."""

    def __init__(self, tenant: Tenant, now: float) -> None:
        """Begin with what the tenant has done so far."""
        self.tenant = tenant
        self._meters = Meter(), Meter()
        self._looked_at = now
        self._busy_at = now
        self._refused_rows = tenant.rejected_rows
        for meter, asked in zip(self._meters, self._asked(), strict=True):
            meter.seen = asked

    def is_idle(self, now: float) -> bool:
        """Whether nothing was asked for lately, and nothing is in flight."""
        return now - self._busy_at > IDLE_SECONDS and not self.tenant.rows_in_flight

    def look(self, now: float) -> None:
        """Measure demand; once a tick."""
        asked = self._asked()
        if asked != tuple(meter.seen for meter in self._meters):
            self._busy_at = now
        if now > self._looked_at:
            for meter, one in zip(self._meters, asked, strict=True):
                meter.look(one, now - self._looked_at)
            self._looked_at = now

    def report(self, now: float) -> Numbers:
        """Return both meters, rows in flight, how many there may be, and how many are wanted."""
        tenant = self.tenant
        tenant.open(now)
        requests, rows = tenant.spent
        grain = float(max(tenant.largest_rejected_rows, 1))
        tenant.largest_rejected_rows = 0
        most = tenant.policy.max_rows_in_flight
        refused, self._refused_rows = tenant.rejected_rows - self._refused_rows, tenant.rejected_rows
        return (
            *self._meters[0].report(tenant.requests, requests, 1.0, now),
            *self._meters[1].report(tenant.rows, rows, grain, now),
            float(tenant.rows_in_flight),
            NO_LIMIT if most == UNLIMITED else most,
            1.5 * tenant.rows_in_flight + refused,
        )

    def absorb(self, numbers: Numbers, now: float) -> None:
        """Spend by what was dealt: tokens, part and level of both meters, then rows in flight."""
        tenant = self.tenant
        tenant.open(now)
        tenant.is_granted = True
        for meter, bucket, spent, at in zip(self._meters, (tenant.requests, tenant.rows), tenant.spent, (0, 3), strict=True):
            meter.absorb(Dealt(tokens=numbers[at], part=numbers[at + 1], level=numbers[at + 2]), bucket, spent, now)
        tenant.allow(UNLIMITED if numbers[6] == NO_LIMIT else numbers[6])

    def _asked(self) -> tuple[float, float]:
        requests, rows = self.tenant.spent
        return requests + self.tenant.rejected_requests, rows + self.tenant.rejected_rows


class Quotas:
    """The tenants of this router whose limits are shared."""

    def __init__(self, routers: int) -> None:
        """Expect so many routers until more is known."""
        self.routers = routers
        self.books: dict[str, Book] = {}

    def due(self, tenants: Mapping[str, Tenant], now: float) -> list[Book]:
        """Return the books to report now, measured; a tenant that does nothing has an even part and no report."""
        for name in self.books.keys() - tenants.keys():
            del self.books[name]
        due: list[Book] = []
        for name, tenant in tenants.items():
            if tenant.is_unlimited:
                continue
            book = self.books.get(name)
            if book is None or book.tenant is not tenant:
                book = self.books[name] = Book(tenant, now)
            book.look(now)
            if book.is_idle(now):
                self._estimate(tenant)
            else:
                due.append(book)
        return due

    def estimate(self, tenants: Iterable[Tenant]) -> None:
        """Go on without anybody who deals out."""
        for tenant in tenants:
            self._estimate(tenant)

    def _estimate(self, tenant: Tenant) -> None:
        part = 1.0 / max(self.routers, 1)
        if tenant.is_granted or tenant.part != part:
            tenant.share(part)
