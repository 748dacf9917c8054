"""When a client tries again. Pure: the caller passes the source of random numbers and sleeps.

The server's advice decides: a refusal that says when to come back is obeyed to the millisecond, one that is not retryable is final.
Without advice the wait doubles from `first_seconds`, with full jitter (AWS Architecture Blog, "Exponential Backoff and Jitter"), and
a client-wide budget keeps retries to a tenth of the calls, so that a fleet of clients does not turn an overload into a storm.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from penstock.contracts.errors import ServingError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how late a call is tried again."""

    attempts: int = 3
    """Most tries of one call, the first included; 1 never tries again."""
    first_seconds: float = 0.02
    longest_seconds: float = 1.0
    budget_ratio: float = 0.1
    """Retries per call, on the average; a reserve of ten is always there."""

    def wait_seconds(self, attempt: int, error: ServingError, random: Random) -> float | None:
        """Return how long to wait before try number `attempt` + 1 (the first try is 1); None when the error is final."""
        if attempt >= self.attempts or not error.status.is_retryable:
            return None
        if error.retry_after_seconds is not None:
            return error.retry_after_seconds
        return random.uniform(0.0, min(self.longest_seconds, self.first_seconds * 2 ** (attempt - 1)))


class RetryBudget:
    """Tokens for retries: every call brings a fraction, every retry takes one."""

    RESERVE = 10.0

    def __init__(self, ratio: float) -> None:
        """Start with the reserve."""
        self._ratio = ratio
        self._tokens = self.RESERVE

    def count_call(self) -> None:
        """Note a call."""
        self._tokens = min(self.RESERVE, self._tokens + self._ratio)

    def take(self) -> bool:
        """Take allowance for one retry."""
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
