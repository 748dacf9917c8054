"""Decides how much of a wave each tenant may have.

Pure: the caller passes `now`. A tenant is limited three ways: requests per second and rows per second (token buckets, filled
continuously up to `burst_seconds` worth), and rows in flight. The wave asks once per tenant (`open`) and then pays each request
from what it was granted, so that a request costs two subtractions.

A quota that several routers keep together is dealt out elsewhere (quota_share.py): here it is a part of each bucket, and how many rows
this router may have in flight.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from penstock.contracts.errors import QuotaExceeded, ServingError

UNLIMITED = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantPolicy:
    """What one tenant may do."""

    name: str
    number: int = 0
    """Number on the worker link; 0 is everybody's."""
    requests_per_second: float = UNLIMITED
    rows_per_second: float = UNLIMITED
    burst_seconds: float = 1.0
    max_rows_in_flight: float = UNLIMITED
    models: tuple[str, ...] | None = None
    """Patterns (`*`, `?`) of the models that it may call; None means all."""
    is_admin: bool = False
    """May load and unload models and change settings."""


class Bucket:
    """A token bucket that fills continuously.

    Where several routers keep one quota, it is this router's part of the quota's bucket: `share` makes it a fixed part of it, `grant`
    sets what of its tokens this router may spend.
    """

    __slots__ = ("_filled_at", "_full_burst", "_full_rate", "_put", "_rate", "burst", "tokens")

    def __init__(self, rate: float, burst_seconds: float) -> None:
        """Start full; a bucket always holds at least one token's worth."""
        self._full_rate = self._rate = rate
        self._full_burst = self.burst = max(rate * burst_seconds, 1.0)
        self._filled_at: float | None = None
        self.tokens = self._put = self.burst

    @property
    def is_unlimited(self) -> bool:
        """Whether it never runs dry."""
        return self._full_rate == UNLIMITED

    @property
    def full_rate(self) -> float:
        """Tokens a second of the whole quota."""
        return self._full_rate

    @property
    def full_burst(self) -> float:
        """The most tokens that the whole quota holds."""
        return self._full_burst

    @property
    def spent(self) -> float:
        """Tokens taken since the start; counted by what was put in, so that a request pays nothing for it."""
        return 0.0 if self.is_unlimited else self._put - self.tokens

    def fill(self, now: float) -> None:
        """Add what came in since the last time."""
        if self._rate != UNLIMITED and self._filled_at is not None:
            filled = min(self.burst, self.tokens + (now - self._filled_at) * self._rate)
            self._put += filled - self.tokens
            self.tokens = filled
        self._filled_at = now

    def share(self, part: float) -> None:
        """Be a fixed part (above 0, at most 1) of the quota from now on; tokens beyond it are gone."""
        if not self.is_unlimited:
            self._rate = self._full_rate * part
            self.burst = max(self._full_burst * part, 1.0)
            self._set(min(self.tokens, self.burst))

    def grant(self, tokens: float, part: float) -> None:
        """Hold so many tokens, which may be less than none, and fill at a part of the quota's rate."""
        self._rate = self._full_rate * part
        self.burst = max(self._full_burst * part, tokens, 1.0)
        self._set(tokens)

    def seconds_until(self, tokens: float) -> float:
        """Return how long it takes until so many tokens are there."""
        missing = min(tokens, self.burst) - self.tokens
        return max(missing / self._rate, 0.001) if self._rate else 60.0

    def _set(self, tokens: float) -> None:
        self._put += tokens - self.tokens
        self.tokens = tokens


class Tenant:
    """One tenant and what it uses now."""

    __slots__ = (
        "_allowed", "_is_unlimited", "_most_rows", "_spent_before", "is_granted", "largest_rejected_rows", "part", "policy",
        "rejected_requests", "rejected_rows", "requests", "rows", "rows_in_flight", "wave",
    )  # fmt: skip

    def __init__(self, policy: TenantPolicy) -> None:
        """Start with full buckets and nothing in flight."""
        self.rows_in_flight = 0
        self.rejected_requests = 0
        self.rejected_rows = 0
        self.largest_rejected_rows = 0
        """Rows of the largest request refused for its rows since somebody set this to 0."""
        self.wave = -1
        self.part = 1.0
        """The fixed part of the quotas that this router has while it is granted nothing."""
        self.is_granted = False
        self._spent_before = (0.0, 0.0)
        self.requests = self.rows = Bucket(UNLIMITED, 1.0)
        self.adopt(policy)

    def adopt(self, policy: TenantPolicy) -> None:
        """Change the policy in force; what is in flight stays counted, the buckets start full."""
        self._spent_before = self.spent
        self.policy = policy
        self.requests = Bucket(policy.requests_per_second, policy.burst_seconds)
        self.rows = Bucket(policy.rows_per_second, policy.burst_seconds)
        self._allowed: dict[str, bool] = {}
        self._is_unlimited = policy.requests_per_second == policy.rows_per_second == policy.max_rows_in_flight == UNLIMITED
        self._most_rows = policy.max_rows_in_flight
        self.share(self.part)

    @property
    def is_unlimited(self) -> bool:
        """Whether nothing limits it."""
        return self._is_unlimited

    @property
    def spent(self) -> tuple[float, float]:
        """Requests and rows admitted since the start, each 0 where it has no limit."""
        return self._spent_before[0] + self.requests.spent, self._spent_before[1] + self.rows.spent

    def share(self, part: float) -> None:
        """Have a fixed part (above 0, at most 1) of every limit from now on."""
        self.part = part
        self.is_granted = False
        self.requests.share(part)
        self.rows.share(part)
        self._most_rows = self.policy.max_rows_in_flight * part

    def allow(self, rows_in_flight: float) -> None:
        """Have at most so many rows in flight, as long as none of them is alone."""
        self._most_rows = rows_in_flight

    def open(self, now: float) -> None:
        """Fill the buckets; once a wave."""
        self.requests.fill(now)
        self.rows.fill(now)

    def admit(self, rows: int) -> ServingError | None:
        """Take one request of `rows` rows, or say when to come back; what is taken is in flight until `release`."""
        if self._is_unlimited:
            self.rows_in_flight += rows
            return None
        policy = self.policy
        if self.requests.tokens < 1.0:
            return self._refuse("requests", rows, policy.requests_per_second, self.requests.seconds_until(1.0))
        if self.rows.tokens < rows and self.rows.tokens < self.rows.burst:
            self.largest_rejected_rows = max(self.largest_rejected_rows, rows)
            return self._refuse("rows", rows, policy.rows_per_second, self.rows.seconds_until(rows))
        if self.rows_in_flight and self.rows_in_flight + rows > self._most_rows:
            self.rejected_requests += 1
            self.rejected_rows += rows
            return QuotaExceeded(
                f"tenant {policy.name!r} has {self.rows_in_flight} rows in flight, its limit is {policy.max_rows_in_flight:g}",
                reason="CONCURRENCY",
                retry_after_seconds=0.05,
            )
        self.requests.tokens -= 1.0
        self.rows.tokens -= rows
        self.rows_in_flight += rows
        return None

    def has_room(self, requests: int, rows: int) -> bool:
        """Whether `admit` would take so many requests, of `rows` rows together, one after the other."""
        return self._is_unlimited or (
            self.requests.tokens >= requests and self.rows.tokens >= rows and self.rows_in_flight + rows <= self._most_rows
        )

    def take(self, requests: int, rows: int) -> None:
        """Take requests for which there is room; they are in flight until `release`."""
        if not self._is_unlimited:
            self.requests.tokens -= requests
            self.rows.tokens -= rows
        self.rows_in_flight += rows

    def release(self, rows: int) -> None:
        """Give back rows in flight; exactly once a request."""
        self.rows_in_flight -= rows

    def may_call(self, model: str) -> bool:
        """Whether the tenant may call a model."""
        patterns = self.policy.models
        if patterns is None:
            return True
        allowed = self._allowed.get(model)
        if allowed is None:
            if len(self._allowed) > 4096:
                self._allowed.clear()
            allowed = self._allowed[model] = any(fnmatchcase(model, pattern) for pattern in patterns)
        return allowed

    def _refuse(self, what: str, rows: int, rate: float, seconds: float) -> QuotaExceeded:
        self.rejected_requests += 1
        self.rejected_rows += rows
        return QuotaExceeded(
            f"tenant {self.policy.name!r} has used its quota of {rate:g} {what} a second; come back in {seconds:.3f} s",
            retry_after_seconds=seconds,
        )
