"""Runs rounds of placement: at once when something may have changed, and now and then in any case."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import structlog

from penstock.contracts.errors import ServingError
from services.chassis.clock import Clock
from services.controller.placement_values import Plan

ROUND_SECONDS = 1.0
"""Longest time between two rounds: silence and the end of a drain bring no news of their own."""
PAUSE_SECONDS = 0.05
"""Shortest time between two rounds: what changes together is planned together."""
PAUSE_TIMES = 4.0
"""And so many times what the round took, so that with thousands of models writes go first."""

log = structlog.get_logger(__name__)


class Rounds(Protocol):
    """What a round does; `services.controller.placement.PlacementRounds` is one."""

    async def round(self) -> Plan:
        """Do what is to be done now."""
        ...


class PlacementLoop:
    """Reconciles while this process is the writer."""

    def __init__(
        self, rounds: Rounds, clock: Clock, *, is_writer: Callable[[], bool], caught_up: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Keep the arguments; before `caught_up` returns, workers that live may not have been heard of, and nothing is decided."""
        self.rounds = 0
        """Rounds that were done, since the start."""
        self._rounds = rounds
        self._clock = clock
        self._is_writer = is_writer
        self._caught_up = caught_up
        self._news = asyncio.Event()

    def wake(self) -> None:
        """Look soon: a deployment, a route or a worker has changed."""
        self._news.set()

    async def follow(self) -> None:
        """Reconcile, until cancelled; a round that cannot be done now is done again later."""
        if self._caught_up is not None:
            await self._caught_up()
        while True:
            self._news.clear()
            begun = self._clock.now()
            if self._is_writer():
                try:
                    await self._rounds.round()
                    self.rounds += 1
                except ServingError as error:
                    log.warning("placement_waits", reason=error.message, code=error.reason)
                except Exception:
                    log.exception("placement_failed")
            await self._clock.sleep(max(PAUSE_SECONDS, PAUSE_TIMES * (self._clock.now() - begun)))
            with suppress(TimeoutError):
                async with asyncio.timeout(ROUND_SECONDS):
                    await self._news.wait()
