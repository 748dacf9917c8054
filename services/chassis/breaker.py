"""Decides whether a server that fails is asked again. Pure: the caller passes `now`, and every answer is a new value.

    closed      everything is asked
    open        nothing is asked until a pause has passed; each pause is twice the last, up to a limit
    half open   exactly one question is on its way; its fate closes or opens the breaker

It opens after `failures_in_a_row`, or when in a window enough questions were asked and too large a share of them failed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When a breaker opens, and for how long."""

    failures_in_a_row: int = 5
    window_seconds: float = 10.0
    least_questions: int = 20
    """Questions of a window below which their share of failures says nothing."""
    failed_share: float = 0.5
    first_pause_seconds: float = 1.0
    longest_pause_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """What is known of a server; instants are monotonic seconds."""

    policy: BreakerPolicy = field(default_factory=BreakerPolicy)
    opened_at: float | None = None
    """None while it is closed."""
    pauses: int = 0
    """Pauses since it was last closed."""
    is_probing: bool = False
    """Whether the one question of a half-open breaker is on its way."""
    failures: int = 0
    """In a row."""
    window_began_at: float = 0.0
    asked: int = 0
    failed: int = 0

    @property
    def is_closed(self) -> bool:
        """Whether the server is taken for well."""
        return self.opened_at is None

    @property
    def pause_seconds(self) -> float:
        """How long nothing is asked while it is open."""
        return min(self.policy.first_pause_seconds * 2.0 ** min(self.pauses - 1, 32), self.policy.longest_pause_seconds)

    def may_ask(self, now: float) -> bool:
        """Whether a question may be asked now; whoever asks it says so with `asking`."""
        return self.opened_at is None or (not self.is_probing and now >= self.opened_at + self.pause_seconds)

    def asking(self) -> Breaker:
        """Return the breaker with a question on its way; the first of an open one is its probe."""
        return self if self.opened_at is None else replace(self, is_probing=True)

    def forgotten(self) -> Breaker:
        """Return the breaker after a question whose asker gave up: nothing was learnt, and the next may probe."""
        return replace(self, is_probing=False)

    def succeeded(self, now: float) -> Breaker:
        """Return the breaker after an answer. One that came late does not close it: only the probe's does."""
        if self.opened_at is not None:
            return Breaker(policy=self.policy, window_began_at=now) if self.is_probing else self
        began = self._window(now)
        return replace(began, failures=0, asked=began.asked + 1)

    def failed_at(self, now: float) -> Breaker:
        """Return the breaker after a failure."""
        if self.opened_at is not None:
            return replace(self, opened_at=now, pauses=self.pauses + 1, is_probing=False) if self.is_probing else self
        began = self._window(now)
        noted = replace(began, failures=began.failures + 1, asked=began.asked + 1, failed=began.failed + 1)
        return replace(noted, opened_at=now, pauses=1) if noted.is_failing else noted

    def _window(self, now: float) -> Breaker:
        if now < self.window_began_at + self.policy.window_seconds:
            return self
        return replace(self, window_began_at=now, asked=0, failed=0)

    @property
    def is_failing(self) -> bool:
        """Whether enough of what was asked lately failed."""
        policy = self.policy
        is_often = self.asked >= policy.least_questions and self.failed >= policy.failed_share * self.asked
        return self.failures >= policy.failures_in_a_row or is_often
