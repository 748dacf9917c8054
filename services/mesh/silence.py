"""How long a far end has said nothing, counted in pings.

Pure. Ticks are counted, not seconds: when this process itself was held up, what the far end said waits unread, and it was not silent.
"""

from __future__ import annotations

PING_SECONDS = 0.1
SILENCE_SECONDS = 0.4
PATIENCE_SECONDS = 2.0
"""How long a silent worker may be waited for where there is no other."""


class Silence:
    """Judges one link; `tick` comes with every ping."""

    __slots__ = ("_has_heard", "_ticks", "is_silent")

    def __init__(self) -> None:
        """Start as if something had just been heard."""
        self.is_silent = False
        self._has_heard = True
        self._ticks = 0

    @property
    def is_hopeless(self) -> bool:
        """Whether it lasts so long that nobody should wait for its end."""
        return self._ticks * PING_SECONDS >= PATIENCE_SECONDS

    @property
    def is_fresh(self) -> bool:
        """Whether something was heard so lately that this end cannot be part of a silence that others are found in now."""
        return not self.is_silent and self._ticks * PING_SECONDS < SILENCE_SECONDS / 2

    def connected(self) -> None:
        """Count anew: there is another connection. What was silent is so until it speaks."""
        self._has_heard = True
        self._ticks = 0

    def heard(self) -> bool:
        """Note that something came; return whether that ends a silence."""
        self._has_heard = True
        was_silent, self.is_silent = self.is_silent, False
        return was_silent

    def tick(self) -> bool:
        """Count another ping; return whether the silence is found with it."""
        self._ticks = 0 if self._has_heard else self._ticks + 1
        self._has_heard = False
        if self.is_silent or self._ticks * PING_SECONDS < SILENCE_SECONDS:
            return False
        self.is_silent = True
        return True
