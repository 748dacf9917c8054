"""Opens what looks after the files of registered versions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prometheus_client.metrics_core import Metric

from services.chassis.clock import Clock
from services.chassis.process import running
from services.controller.changes import Changes
from services.controller.config import ControllerSettings
from services.controller.verification import Paced, Touchstones, Verification, VerificationLoop

LOOK_SECONDS = 60.0
"""How often the catalogue is asked what is due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifying:
    """What looks after versions, as a collector of metrics."""

    loop: VerificationLoop

    def collect(self) -> Iterable[Metric]:
        """Return what was found."""
        yield from self.loop.checks.collect()
        yield from self.loop.damaged.collect()


@asynccontextmanager
async def verifying(
    changes: Changes, touchstones: Touchstones, settings: ControllerSettings, clock: Clock, is_writer: Callable[[], bool]
) -> AsyncGenerator[Verifying]:
    """Look again and again while the block lasts and this process is the writer."""
    pace = Paced(clock, settings.verify_bytes_per_second)
    loop = VerificationLoop(Verification(changes, touchstones, pace), settings.verify_seconds)
    async with running(_follow(loop, clock, is_writer), name="verification"):
        yield Verifying(loop=loop)


async def _follow(loop: VerificationLoop, clock: Clock, is_writer: Callable[[], bool]) -> None:
    while True:
        if is_writer():
            await loop.look()
        await clock.sleep(LOOK_SECONDS)
