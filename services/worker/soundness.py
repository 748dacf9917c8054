"""Whether a version keeps its own signature, judged by its executions. Pure.

    healthy ──broken outputs, BREACHES in a row──▶ unhealthy ──an answer, or UNHEALTHY_SECONDS──▶ healthy

An execution whose output has another type or shape than the signature fails its requests alone. Several in a row, without one that was
right in between, say that it is the version and not a row. The mark only tells routers to prefer others: nothing is unloaded for it, so
that callers who know a row which breaks a version cannot take it away from everybody. Time alone lifts the mark as well, because who is
asked nothing cannot prove anything; then a single breach brings it back.
"""

from __future__ import annotations

BREACHES = 3
UNHEALTHY_SECONDS = 30.0

REASON = f"its outputs broke its signature {BREACHES} times in a row"


class Soundness:
    """The judgement on one replica."""

    __slots__ = ("_breaches", "_until")

    def __init__(self) -> None:
        """Start healthy."""
        self._breaches = 0
        self._until = 0.0

    @property
    def is_in_doubt(self) -> bool:
        """Whether an answer would change anything."""
        return self._breaches > 0

    def is_healthy(self, now: float) -> bool:
        """Whether it carries no mark at `now`."""
        return self._breaches < BREACHES or now >= self._until

    def keep(self) -> None:
        """Note an execution that kept the signature."""
        self._breaches = 0

    def breach(self, now: float) -> bool:
        """Note an execution that broke the signature; return True when it makes the replica unhealthy."""
        was_healthy = self.is_healthy(now)
        self._breaches += 1
        self._until = now + UNHEALTHY_SECONDS
        return was_healthy and not self.is_healthy(now)
