"""Decides how much of a wave each tenant may have.

Pure: the caller passes `now`. A tenant is limited three ways: requests per second and rows per second (token buckets, filled
continuously up to `burst_seconds` worth), and rows in flight. The wave asks once per tenant (`open`) and then pays each request
from what it was granted, so that a request costs two subtractions.
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
    """A token bucket that fills continuously."""

    __slots__ = ("_burst", "_filled_at", "_rate", "tokens")

    def __init__(self, rate: float, burst_seconds: float) -> None:
        """Start full; a bucket always holds at least one token's worth."""
        self._rate = rate
        self._burst = max(rate * burst_seconds, 1.0)
        self._filled_at: float | None = None
        self.tokens = self._burst

    def fill(self, now: float) -> None:
        """Add what came in since the last time."""
        if self._rate != UNLIMITED and self._filled_at is not None:
            self.tokens = min(self._burst, self.tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now

    def seconds_until(self, tokens: float) -> float:
        """Return how long it takes until so many tokens are there."""
        missing = min(tokens, self._burst) - self.tokens
        return max(missing / self._rate, 0.001) if self._rate else 60.0


class Tenant:
    """One tenant and what it uses now."""

    __slots__ = ("_allowed", "_is_unlimited", "_requests", "_rows", "policy", "rejected_requests", "rows_in_flight", "wave")

    def __init__(self, policy: TenantPolicy) -> None:
        """Start with full buckets and nothing in flight."""
        self.rows_in_flight = 0
        self.rejected_requests = 0
        self.wave = -1
        self.adopt(policy)

    def adopt(self, policy: TenantPolicy) -> None:
        """Change the policy in force; what is in flight stays counted, the buckets start full."""
        self.policy = policy
        self._requests = Bucket(policy.requests_per_second, policy.burst_seconds)
        self._rows = Bucket(policy.rows_per_second, policy.burst_seconds)
        self._allowed: dict[str, bool] = {}
        self._is_unlimited = policy.requests_per_second == policy.rows_per_second == policy.max_rows_in_flight == UNLIMITED

    def open(self, now: float) -> None:
        """Fill the buckets; once a wave."""
        self._requests.fill(now)
        self._rows.fill(now)

    def admit(self, rows: int) -> ServingError | None:
        """Take one request of `rows` rows, or say when to come back; what is taken is in flight until `release`."""
        if self._is_unlimited:
            self.rows_in_flight += rows
            return None
        policy = self.policy
        if self._requests.tokens < 1.0:
            return self._refuse("requests", policy.requests_per_second, self._requests.seconds_until(1.0))
        if self._rows.tokens < rows and self._rows.tokens < policy.rows_per_second * policy.burst_seconds:
            return self._refuse("rows", policy.rows_per_second, self._rows.seconds_until(rows))
        if self.rows_in_flight and self.rows_in_flight + rows > policy.max_rows_in_flight:
            self.rejected_requests += 1
            return QuotaExceeded(
                f"tenant {policy.name!r} has {self.rows_in_flight} rows in flight, its limit is {policy.max_rows_in_flight:g}",
                reason="CONCURRENCY",
                retry_after_seconds=0.05,
            )
        self._requests.tokens -= 1.0
        self._rows.tokens -= rows
        self.rows_in_flight += rows
        return None

    def has_room(self, requests: int, rows: int) -> bool:
        """Whether `admit` would take so many requests, of `rows` rows together, one after the other."""
        return self._is_unlimited or (
            self._requests.tokens >= requests and self._rows.tokens >= rows and self.rows_in_flight + rows <= self.policy.max_rows_in_flight
        )

    def take(self, requests: int, rows: int) -> None:
        """Take requests for which there is room; they are in flight until `release`."""
        if not self._is_unlimited:
            self._requests.tokens -= requests
            self._rows.tokens -= rows
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

    def _refuse(self, what: str, rate: float, seconds: float) -> QuotaExceeded:
        self.rejected_requests += 1
        return QuotaExceeded(
            f"tenant {self.policy.name!r} has used its quota of {rate:g} {what} a second; come back in {seconds:.3f} s",
            retry_after_seconds=seconds,
        )
