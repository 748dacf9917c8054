"""Writes down when keys were last used: what routers tell while this process is the writer, and what was seen at its own faces.

It is an observation and no change: nobody asked for it, so there is no audit record, no revision and no message. A time is only ever
replaced by a later one, whoever writes it, so that a writer that was replaced a moment ago does no harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from penstock.contracts.errors import ServingError
from penstock.contracts.router_status import RouterStatus
from services.chassis.clock import Clock
from services.controller.key_uses import KeyUses
from services.controller.ports import Catalogue

PAUSE_SECONDS = 5.0
"""Shortest time between two writes: what is used together is written together."""
WRITTEN_AT_ONCE = 500
"""Most keys of one transaction: others wait for it."""

log = structlog.get_logger(__name__)


class KeyUseLoop:
    """Keeps `last_used_time` of keys true to the minute."""

    def __init__(
        self, catalogue: Catalogue, clock: Clock, *, is_writer: Callable[[], bool], wall_seconds: Callable[[], float] = time.time
    ) -> None:
        """Keep the arguments."""
        self._catalogue = catalogue
        self._clock = clock
        self._is_writer = is_writer
        self._wall_seconds = wall_seconds
        self._uses = KeyUses()
        self._news = asyncio.Event()

    def hear(self, status: RouterStatus) -> None:
        """Note what a router tells; routers repeat it, so that one who becomes the writer hears of it too."""
        if self._is_writer():
            for use in status.key_uses:
                self._note(use.key_id, use.used_time)

    def seen(self, key_id: str) -> None:
        """Note that a key opened a face of this process."""
        self._note(key_id, self._wall_seconds())

    async def follow(self) -> None:
        """Write, until cancelled; what cannot be written now waits."""
        while True:
            await self._news.wait()
            self._news.clear()
            try:
                while await self.write():
                    pass
            except ServingError as error:
                self._news.set()
                log.warning("key_uses_wait", reason=error.message)
            except Exception:
                log.exception("key_uses_failed")
            await self._clock.sleep(PAUSE_SECONDS)

    async def write(self) -> int:
        """Write down some of what waits, and return of how many keys."""
        uses = self._uses.waiting(WRITTEN_AT_ONCE)
        if uses:
            async with self._catalogue.writing() as unit:
                await unit.keys.used(uses)
            self._uses.written(uses)
        return len(uses)

    def _note(self, key_id: str, used_time: float) -> None:
        if self._uses.note(key_id, used_time, self._wall_seconds()):
            self._news.set()
