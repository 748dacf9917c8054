"""Looks whether the topics still hold what is in force: when this process becomes the writer, and now and then while it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import structlog

from penstock.contracts.errors import ServingError
from services.chassis.clock import Clock
from services.controller.changes import Intent

LOOK_SECONDS = 60.0
"""Time between two looks of a writer: a topic that is lost meanwhile is noticed by nobody who reads it."""
TICK_SECONDS = 0.5

INTENT = Intent(actor="controller", why="the topics lacked it")

log = structlog.get_logger(__name__)


class Republisher(Protocol):
    """Fills topics again; `services.controller.republishing.Republishing` does."""

    async def republish(self, intent: Intent) -> Any:
        """Publish again what topics lack."""
        ...


class RepublishLoop:
    """Fills topics again by itself."""

    def __init__(self, republishing: Republisher, clock: Clock, *, epoch: Callable[[], int]) -> None:
        """Keep the arguments; the epoch is 0 while this process may not write."""
        self._republishing = republishing
        self._clock = clock
        self._epoch = epoch

    async def follow(self) -> None:
        """Look, until cancelled; what cannot be read now is looked at again later."""
        looked_in, due_at = 0, 0.0
        while True:
            epoch = self._epoch()
            if epoch and (epoch != looked_in or self._clock.now() >= due_at):
                await self._look()
                looked_in, due_at = epoch, self._clock.now() + LOOK_SECONDS
            await self._clock.sleep(TICK_SECONDS)

    async def _look(self) -> None:
        try:
            outcome = await self._republishing.republish(INTENT)
        except ServingError as error:
            log.warning("topics_not_looked_at", reason=error.message, code=error.reason)
            return
        if outcome.value:
            log.warning("topics_filled_again", records=len(outcome.value))
