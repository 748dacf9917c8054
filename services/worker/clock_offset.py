"""Pure: how far another machine's monotonic clock is from ours, learnt from messages that carry its time.

What a message shows is the true offset plus the time it was under way, which is never negative: the smallest offset seen is the nearest
to the truth, and instants converted by it are late by the quickest message's way and never early. Clocks run apart by some 50 us a
second, so what was seen is forgotten: after WINDOW_SECONDS the smallest of the window before stands beside that of the present one.
"""

from __future__ import annotations

WINDOW_SECONDS = 30.0


class ClockOffset:
    """The offset of one peer; what has to be added to its clock to get ours."""

    __slots__ = ("_before", "_began_at", "_lately")

    def __init__(self) -> None:
        """Know nothing yet."""
        self._before = self._lately = float("inf")
        self._began_at = 0.0

    def observe(self, told_at: float, now: float) -> None:
        """Learn from a message.

        Args:
            told_at: the peer's clock when it sent the message, seconds.
            now: our clock when the message came, seconds.
        """
        if now - self._began_at >= WINDOW_SECONDS:
            self._before, self._lately, self._began_at = self._lately, float("inf"), now
        self._lately = min(self._lately, now - told_at)

    @property
    def seconds(self) -> float:
        """The smallest offset that was seen lately; 0 when nothing was."""
        found = min(self._before, self._lately)
        return found if found != float("inf") else 0.0
