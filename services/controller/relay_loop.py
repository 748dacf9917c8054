"""Publishes what the catalogue has written down, in its order and at least once.

    commit → wake → read what waits → send, and wait for the broker's word → mark → again until nothing waits

A process that is killed anywhere loses nothing: what is not marked is sent again by the next one, and readers drop what they have by its
revision. Two processes that overlap for a moment send the same rows in the same order, which is no more than sending them twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import structlog

from penstock.contracts.errors import Unavailable
from services.chassis.clock import Clock
from services.controller.ledger_values import OutboxRow
from services.controller.ports import Catalogue

BURST_ROWS = 500
POLL_SECONDS = 1.0
"""Time between two looks for what another process has written."""
RETRY_SECONDS = 0.2
KEPT_SECONDS = 3_600.0
"""How long published rows stay for a look."""
ANSWERS_KEPT_SECONDS = 86_400.0
"""How long a request may be repeated under its idempotency key."""

log = structlog.get_logger(__name__)


class Bus(Protocol):
    """Where messages go."""

    async def publish(self, rows: Sequence[OutboxRow]) -> None:
        """Send rows in their order and return when the bus has all of them.

        Raises:
            Unavailable: it did not take all of them; some may be there.
        """
        ...


class RelayLoop:
    """Moves rows from the outbox to the bus."""

    def __init__(self, catalogue: Catalogue, bus: Bus, clock: Clock, *, is_writer: Callable[[], bool]) -> None:
        """Keep the arguments; whoever is not the writer only waits."""
        self.published = 0
        """Rows, since the start."""
        self.failures = 0
        self._catalogue = catalogue
        self._bus = bus
        self._clock = clock
        self._is_writer = is_writer
        self._awake = asyncio.Event()
        self._pruned_at = clock.now()

    def wake(self) -> None:
        """Look at once: something was committed."""
        self._awake.set()

    async def follow(self) -> None:
        """Publish, until cancelled."""
        failing = False
        while True:
            self._awake.clear()
            try:
                while self._is_writer() and await self.publish_waiting() == BURST_ROWS:
                    pass
                await self._prune()
                failing = False
            except Unavailable as error:
                self.failures += 1
                if not failing:
                    log.warning("relay_waits", reason=error.message)
                failing = True
            await self._sleep(RETRY_SECONDS if failing else POLL_SECONDS)

    async def publish_waiting(self) -> int:
        """Publish one burst and return how many rows it had.

        Raises:
            Unavailable: the bus or the catalogue is away.
        """
        async with self._catalogue.reading() as unit:
            rows = await unit.outbox.waiting(BURST_ROWS)
        # A process that was stopped meanwhile has been replaced: what it read is old, and would come after what is newer.
        if rows and self._is_writer():
            await self._bus.publish(rows)
            async with self._catalogue.writing() as unit:
                await unit.outbox.mark(rows[-1].sequence, unit.time)
            self.published += len(rows)
            return len(rows)
        return 0

    async def _prune(self) -> None:
        if not self._is_writer() or self._clock.now() - self._pruned_at < KEPT_SECONDS:
            return
        self._pruned_at = self._clock.now()
        async with self._catalogue.writing() as unit:
            await unit.outbox.prune(unit.time - KEPT_SECONDS)
            await unit.kept_answers.prune(unit.time - ANSWERS_KEPT_SECONDS)

    async def _sleep(self, seconds: float) -> None:
        sleep = asyncio.ensure_future(self._clock.sleep(seconds))
        awake = asyncio.ensure_future(self._awake.wait())
        try:
            await asyncio.wait({sleep, awake}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sleep, awake):
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
