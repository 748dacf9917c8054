"""What a router does that stood still: it takes in what changed meanwhile before it decides anything.

A process that was stopped, starved or swapped out wakes with the routes and keys of before, and with the calls that came meanwhile.
The controller does not wait for a router that it has not heard for three seconds, so a rollback may have been confirmed without it.
What is left waiting in the fronts until the bus has been read again is decided by what is in force now. A bus that is away holds nobody
up for longer than PATIENCE_SECONDS: then the last good state counts, as it does in every outage.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from services.chassis.clock import Clock

STILL_SECONDS = 1.5
"""Longest time between two turns of the loop. With the second between two reports it stays below what a controller waits for a word."""
TURN_SECONDS = 0.25
"""How often the loop is seen to turn when nobody calls."""
PATIENCE_SECONDS = 0.5
"""Longest wait for the bus; an answer of its end takes a few milliseconds."""

log = structlog.get_logger(__name__)


class Refreshing(Protocol):
    """A feed that can be asked to be up to date."""

    async def refreshed(self) -> None:
        """Return when everything has been told that was there at the call."""
        ...


class Standstill:
    """Notices that the process stood still, and knows who is to go on when it is up to date."""

    def __init__(self, feeds: Sequence[Refreshing], clock: Clock) -> None:
        """Keep the feeds of what decides; the loop turns now."""
        self.count = 0
        """How often the process stood still."""
        self._feeds = feeds
        self._clock = clock
        self._turned_at = clock.now()
        self._refresh: asyncio.Task[None] | None = None
        self._waiting: list[Callable[[], None]] = []

    def note_turn(self) -> bool:
        """Note that the loop turns; return whether what is known may be from before a standstill. Called before every wave."""
        before, self._turned_at = self._turned_at, self._clock.now()
        if self._turned_at - before > STILL_SECONDS:
            self._begin(self._turned_at - before)
        return self._refresh is not None

    def then(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` once when the router is up to date."""
        self._waiting.append(go_on)

    def forget(self, go_on: Callable[[], None]) -> None:
        """Do not call `go_on` any more."""
        self._waiting = [one for one in self._waiting if one != go_on]

    async def run(self) -> None:
        """See the loop turn until cancelled."""
        while True:
            self.note_turn()
            await self._clock.sleep(TURN_SECONDS)

    def _begin(self, seconds: float) -> None:
        self.count += 1
        log.warning("stood_still", seconds=round(seconds, 3))
        if self._refresh is None:
            self._refresh = asyncio.create_task(self._catch_up(), name="standstill")

    async def _catch_up(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*(feed.refreshed() for feed in self._feeds))
        except TimeoutError:
            log.warning("stood_still_and_bus_away", waited_seconds=PATIENCE_SECONDS)
        finally:
            self._refresh = None
            waiting, self._waiting = self._waiting, []
            for go_on in waiting:
                go_on()
