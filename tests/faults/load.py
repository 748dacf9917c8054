"""An open loop of calls: each leaves on its own schedule, whatever became of those before it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

from tests.faults.caller import OPTIONS, Caller
from tests.faults.ledger import Entry, Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is asked."""

    rate: float = 100.0
    """Calls a second."""
    models: tuple[str, ...] = ("alpha", "beta")
    rows: tuple[int, ...] = (1, 1, 1, 2, 4)
    """Drawn from."""
    deadline_seconds: float = 5.0


@dataclass
class Load:
    """A load that runs until it is stopped; nonces go on over the loads of a test."""

    caller: Caller
    plan: Plan = field(default_factory=Plan)
    random: Random = field(default_factory=lambda: Random(0))
    nonces: int = 0
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, seconds: float = float("inf")) -> None:
        """Ask for so many seconds or until `stop`; return when every call has ended."""
        self._stop.clear()
        async with asyncio.TaskGroup() as group:
            started, count = time.monotonic(), 0
            while not self._stop.is_set() and time.monotonic() < started + seconds:
                self.nonces += 1
                count += 1
                group.create_task(self._ask(self.nonces))
                await asyncio.sleep(max(0.0, started + count / self.plan.rate - time.monotonic()))

    def stop(self) -> None:
        """Ask no more."""
        self._stop.set()

    async def _ask(self, nonce: int) -> None:
        plan = self.plan
        rows = self.random.choice(plan.rows)
        await self.caller.ask(self.random.choice(plan.models), nonce, rows=rows, deadline_seconds=plan.deadline_seconds)


IMPATIENCE = ("keepalive", "ping", "min_reconnect_backoff")
"""In the names of options that end what is slow; the last is also how long gRPC waits for a server's first frame, 20 s by itself."""
UNDISTURBED = [one for one in OPTIONS if not any(word in one[0] for word in IMPATIENCE)]
"""Options of a client that does not give up a server which gets no processor for seconds: nothing is broken between the two here."""


@asynccontextmanager
async def asking(target: str, ledger: Ledger, plan: Plan, options: Sequence[tuple[str, int | str]] = UNDISTURBED) -> AsyncGenerator[None]:
    """Ask all the time while the block lasts, and wait for every answer."""
    async with Caller(target, ledger, options=options) as caller:
        load = Load(caller, plan)
        loading = asyncio.create_task(load.run())
        try:
            yield
        finally:
            load.stop()
            await loading


async def more_answers(ledger: Ledger, count: int) -> None:
    """Return when so many more calls were answered."""
    before = sum(entry.is_ok for entry in ledger.entries())
    async with asyncio.timeout(60):
        while sum(entry.is_ok for entry in ledger.entries()) < before + count:
            await asyncio.sleep(0.05)


def percentile(entries: Sequence[Entry], share: float) -> float:
    """Return the time in which this share of the answered calls was answered, in seconds; 0 without any."""
    taken = sorted(entry.seconds for entry in entries if entry.is_ok)
    return taken[min(len(taken) - 1, int(share * len(taken)))] if taken else 0.0
