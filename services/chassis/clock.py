"""The only way to know the time or to wait for it."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Time as a service sees it; tests pass one that they move by hand."""

    def now(self) -> float:
        """Return monotonic seconds; the origin means nothing."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`; a value of 0 or less still lets others run."""
        ...


class SystemClock:
    """The machine's monotonic clock: no wall-clock jump moves it, and all processes of a machine share its origin."""

    def now(self) -> float:
        """Return monotonic seconds."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Sleep on the running loop."""
        await asyncio.sleep(max(seconds, 0.0))
