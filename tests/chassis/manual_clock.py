"""A clock that tests move by hand."""

from __future__ import annotations

import asyncio
import heapq


class ManualClock:
    """Implements `Clock`: time passes only by `advance`."""

    def __init__(self, now: float = 0.0) -> None:
        """Start at `now`."""
        self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = 0
        self._changed = asyncio.Event()

    def now(self) -> float:
        """Return the time."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Wait until `advance` has moved the clock by `seconds`."""
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._order, woken))
        self._changed.set()
        await woken

    async def asleep(self, count: int = 1) -> None:
        """Wait until `count` tasks sleep on this clock."""
        while sum(not woken.done() for _, _, woken in self._sleepers) < count:
            self._changed.clear()
            await self._changed.wait()

    def next_wake_in(self) -> float:
        """Return the seconds until the first sleeper wakes."""
        return min(at for at, _, woken in self._sleepers if not woken.done()) - self._now

    def advance(self, seconds: float) -> None:
        """Move the clock and wake who is due."""
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)
