"""Looks whether the topics still hold what is in force: when this process becomes the writer, and now and then while it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from penstock.contracts.errors import ServingError
from services.chassis.clock import Clock
from services.controller.changes import Intent

LOOK_SECONDS = 60.0
"""Time between two looks of a writer: a topic that is lost meanwhile is noticed by nobody who reads it."""
FIRST_LOOK_SECONDS = 3.0
"""Longest look before writing begins."""
LATER_LOOK_SECONDS = 30.0
SOON_SECONDS = 5.0
"""Time until the next look after a first one that failed."""
TICK_SECONDS = 0.1

INTENT = Intent(actor="controller", why="the topics lacked it")

log = structlog.get_logger(__name__)


class Republisher(Protocol):
    """Fills topics again; `services.controller.republishing.Republishing` does."""

    async def republish(self, intent: Intent) -> Any:
        """Publish again what topics lack."""
        ...


class RepublishLoop:
    """Fills topics again by itself, and says from when on this process may write.

    A writer looks before it writes: a change that a restored catalogue numbers too low would be dropped by everybody who reads it. While
    the bus is away nobody can say, and writing goes on after FIRST_LOOK_SECONDS.
    """

    def __init__(self, republishing: Republisher, clock: Clock, *, epoch: Callable[[], int]) -> None:
        """Keep the arguments; the epoch is 0 while this process may not write."""
        self._republishing = republishing
        self._clock = clock
        self._epoch = epoch
        self._looked_in = 0
        self._first = asyncio.Event()

    @property
    def epoch(self) -> int:
        """The epoch under which this process may write; 0 before it has looked."""
        epoch = self._epoch()
        return epoch if epoch == self._looked_in else 0

    async def looked(self) -> None:
        """Return after the first look of this process as the writer."""
        await self._first.wait()

    async def follow(self) -> None:
        """Look, until cancelled; what cannot be read now is looked at again later."""
        due_at = 0.0
        while True:
            epoch = self._epoch()
            if epoch and epoch != self._looked_in:
                due_at = self._clock.now() + (LOOK_SECONDS if await self._look(FIRST_LOOK_SECONDS) else SOON_SECONDS)
                self._looked_in = self._epoch()  # a look may have gone past epochs that others had
                self._first.set()
            elif epoch and self._clock.now() >= due_at:
                await self._look(LATER_LOOK_SECONDS)
                due_at = self._clock.now() + LOOK_SECONDS
            await self._clock.sleep(TICK_SECONDS)

    async def _look(self, limit_seconds: float) -> bool:
        try:
            async with asyncio.timeout(limit_seconds):
                outcome = await self._republishing.republish(INTENT)
        except ServingError as error:
            log.warning("topics_not_looked_at", reason=error.message, code=error.reason)
            return False
        except TimeoutError:
            log.warning("topics_not_looked_at", reason=f"the bus said nothing for {limit_seconds:g} s", code="UNAVAILABLE")
            return False
        if outcome.value:
            log.warning("topics_filled_again", records=len(outcome.value))
        return True
