"""Takes signed records off the routes topic into the catalogue, while this process is the writer.

Records that were handed to routers while the bus was away come by what routers report: those in force at one of them.

Of every model only the newest record counts: what is on the topic after an operator's record came from a writer that had adopted it, or
from an operator again. A record that is refused is said once and left: routers refuse it, too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import structlog

from penstock.contracts.errors import InvalidInput, ServingError, TenantForbidden
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.router_status import RouterStatus
from services.chassis.clock import Clock

REMEMBERED = 1024
"""Changes that are not looked at again."""
AGAIN_SECONDS = 1.0
"""How soon what could not be written is tried again, and how soon a new writer looks."""

log = structlog.get_logger(__name__)


class Adopting(Protocol):
    """Writes records down; `services.controller.break_glass.BreakGlass` is one."""

    async def adopt(self, record: RouteRecord) -> Any:
        """Write a signed record down as the next revision; one that was passed already changes nothing."""
        ...


class BreakGlassLoop:
    """Adopts what operators published past the controller."""

    def __init__(self, adoption: Adopting, clock: Clock, *, is_writer: Callable[[], bool]) -> None:
        """Keep the arguments."""
        self._adoption = adoption
        self._clock = clock
        self._is_writer = is_writer
        self._waiting: dict[str, RouteRecord] = {}
        self._news = asyncio.Event()
        self._done: deque[str] = deque(maxlen=REMEMBERED)

    def take(self, model: str, record: RouteRecord | None) -> None:
        """Note the newest record of a model, as a feed tells it."""
        if record is None or not record.break_glass:
            self._waiting.pop(model, None)
            return
        self._waiting[model] = record
        self._news.set()

    def hear(self, status: RouterStatus) -> None:
        """Note the records that are in force at a router and were not looked at before."""
        for raw in status.signed_records:
            try:
                record = RouteRecord.from_bytes(raw)
            except ServingError as error:
                log.warning("break_glass_unreadable", router=status.router_id, reason=error.message)
                continue
            if record.route is not None and record.route.change_id not in self._done:
                self._waiting[record.route.model] = record
                self._news.set()

    async def follow(self) -> None:
        """Adopt, until cancelled."""
        while True:
            self._news.clear()
            await self.look()
            if self._waiting:
                await self._clock.sleep(AGAIN_SECONDS)
                continue
            await self._news.wait()

    async def look(self) -> None:
        """Adopt what waits, if this process may write; what cannot be written now keeps waiting."""
        for model, record in list(self._waiting.items()):
            if not self._is_writer():
                return
            try:
                outcome = await self._adoption.adopt(record)
            except (TenantForbidden, InvalidInput) as error:
                log.error("break_glass_not_adopted", model=model, key=record.key_id, reason=error.message)  # noqa: TRY400
            except ServingError as error:
                log.warning("break_glass_waits", model=model, reason=error.message)
                continue
            else:
                if outcome.change is not None:
                    log.warning("break_glass_adopted", model=model, key=record.key_id, revision=outcome.value.revision)
            self._done.append(record.route.change_id if record.route is not None else "")
            if self._waiting.get(model) is record:
                del self._waiting[model]
