"""How long a worker waits for a router that says nothing.

At the beginning of every connection, and all the time over TCP: where a router's machine or a firewall on the way is gone, a connection
that this end has nothing to send on would stay for ever. Looks are counted and not seconds, for this process may have stood still itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LOOKS = 3


class Patience:
    """Judges one connection; whoever owns it sets `has_heard` with everything that comes."""

    __slots__ = ("_look_seconds", "_looks", "_loop", "_lose", "_timer", "has_heard")

    def __init__(self, lose: Callable[[str], None]) -> None:
        """Keep what is called once it is lost, with the name of the event; it begins with `wait`."""
        self.has_heard = False
        self._lose = lose
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._looks = 0
        self._look_seconds: float | None = None

    def wait(self, seconds: float, *, then: float | None) -> None:
        """Wait for the first words; `then` is how long silence may last afterwards, None for ever."""
        self._look_seconds = None if then is None else then / LOOKS
        self._timer = self._loop.call_later(seconds, self._lose, "link_without_hello")

    def watch(self) -> None:
        """Expect something every so often, from now on."""
        self.rest()
        self._looks = 0
        if self._look_seconds is not None:
            self._look(self._look_seconds)

    def rest(self) -> None:
        """Expect nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, seconds: float) -> None:
        self._looks = 0 if self.has_heard else self._looks + 1
        self.has_heard = False
        if self._looks > LOOKS:
            self._lose("link_router_silent")
        else:
            self._timer = self._loop.call_later(seconds, self._look, seconds)
