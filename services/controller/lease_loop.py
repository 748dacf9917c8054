"""Keeps the lease while the process lives; whoever writes asks it for the epoch.

A holder that could not renew for the whole life of its lease (a database away, a process stopped) counts itself out before anybody else
may take over: its own time runs from before it asked, and on a clock that goes on while the process stands still.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

import structlog

from penstock.contracts.errors import Unavailable
from services.chassis.clock import Clock
from services.chassis.process import running
from services.controller.ledger_values import Lease

FAREWELL_SECONDS = 2.0
"""How long an ending process tries to give its lease back."""

log = structlog.get_logger(__name__)


class Claims(Protocol):
    """The lease in the catalogue; `services.controller.lease.LeaseKeeping` is one."""

    async def claim(self, mine: Lease | None) -> Lease | None:
        """Take or renew it; None while another holds it."""
        ...

    def go_past(self, epoch: int) -> None:
        """Have a higher epoch than that from the next claim on."""
        ...

    async def give_back(self, mine: Lease) -> None:
        """Let the next one take over at once."""
        ...


class LeaseLoop:
    """Holds the lease, or stands by for it."""

    def __init__(self, claims: Claims, clock: Clock, *, life_seconds: float, renew_seconds: float) -> None:
        """Keep the arguments; it is renewed so often, and lost after `life_seconds` without a renewal."""
        self._claims = claims
        self._clock = clock
        self._life_seconds = life_seconds
        self._renew_seconds = renew_seconds
        self._mine: Lease | None = None
        self._valid_until = 0.0
        self._taken = asyncio.Event()
        self._asked = asyncio.Event()

    @property
    def epoch(self) -> int:
        """The epoch under which this process may write now; 0 while it may not."""
        return self._mine.epoch if self._mine is not None and self._clock.now() < self._valid_until else 0

    async def taken(self) -> None:
        """Return when this process is the writer for the first time."""
        await self._taken.wait()

    async def asked(self) -> None:
        """Return when the lease was asked for, whatever the answer."""
        await self._asked.wait()

    @asynccontextmanager
    async def holding(self) -> AsyncGenerator[LeaseLoop]:
        """Claim and renew in the background of a block; give the lease back at its end."""
        try:
            async with running(self.follow(), name="lease"):
                yield self
        finally:
            await self._give_back()

    async def follow(self) -> None:
        """Claim and renew, until cancelled."""
        while True:
            await self.look()
            self._asked.set()
            await self._clock.sleep(self._renew_seconds)

    async def go_past(self, epoch: int) -> None:
        """Hold the lease under a higher epoch than that, if this process holds it."""
        self._claims.go_past(epoch)
        await self.look()

    async def look(self) -> None:
        """Claim or renew once; a database that is away changes nothing before the lease has run out."""
        asked_at = self._clock.now()
        try:
            async with asyncio.timeout(self._life_seconds):
                lease = await self._claims.claim(self._mine)
        except (Unavailable, TimeoutError):
            if self._mine is not None and self.epoch == 0:
                log.warning("lease_expired", epoch=self._mine.epoch, reason="the catalogue is away")
            return
        self._note(lease)
        self._valid_until = asked_at + self._life_seconds

    def _note(self, lease: Lease | None) -> None:
        if lease is not None and (self._mine is None or self._mine.epoch != lease.epoch):
            log.info("lease_taken", epoch=lease.epoch)
        if lease is None and self._mine is not None:
            log.warning("lease_lost", epoch=self._mine.epoch)
        self._mine = lease
        if lease is not None:
            self._taken.set()

    async def _give_back(self) -> None:
        if self._mine is None:
            return
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await self._claims.give_back(self._mine)
