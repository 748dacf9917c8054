"""How many requests may be sent a second time.

Pure. Retries may be at most a tenth of the requests of the last ten seconds (Google SRE book, chapter 22), but always up to
`FLOOR_REQUESTS`, so that the loss of one worker right after the start does not fail the calls that were on it.
"""

from __future__ import annotations

RATIO = 0.1
WINDOW_SECONDS = 10
FLOOR_REQUESTS = 256


class RetryBudget:
    """Counts requests and retries by the second over the last WINDOW_SECONDS."""

    __slots__ = ("_floor", "_ratio", "_requests", "_retries", "_second")

    def __init__(self, *, ratio: float = RATIO, floor_requests: int = FLOOR_REQUESTS) -> None:
        """Start with empty windows."""
        self._ratio = ratio
        self._floor = floor_requests
        self._second = 0
        self._requests = [0] * WINDOW_SECONDS
        self._retries = [0] * WINDOW_SECONDS

    def count(self, requests: int, now: float) -> None:
        """Note first tries."""
        self._advance(now)
        self._requests[self._second % WINDOW_SECONDS] += requests

    def take(self, retries: int, now: float) -> bool:
        """Take allowance for retries; False, and nothing taken, when the budget does not cover all of them."""
        self._advance(now)
        if sum(self._retries) + retries > max(self._floor, self._ratio * sum(self._requests)):
            return False
        self._retries[self._second % WINDOW_SECONDS] += retries
        return True

    def _advance(self, now: float) -> None:
        second = int(now)
        if second == self._second:
            return
        for passed in range(max(self._second + 1, second - WINDOW_SECONDS + 1), second + 1):
            self._requests[passed % WINDOW_SECONDS] = 0
            self._retries[passed % WINDOW_SECONDS] = 0
        self._second = second
