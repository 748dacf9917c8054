"""Says on the bus what the worker holds: at once when it changes, and again and again so that silence is noticed.

The state folder gets every change as well, for whoever lives on this machine. Routers follow either. What is repeated differs from what
was said before in `observed_time` alone, so that nobody takes it for a change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from penstock.contracts.worker_status import WorkerStatus
from services.chassis.clock import Clock
from services.chassis.feeds import Publisher

REPEAT_SECONDS = 1.0


class StatusReports:
    """Publishes a worker's status in two places, and repeats it in one; implements the publisher port."""

    def __init__(
        self, folder: Publisher[WorkerStatus], bus: Publisher[WorkerStatus], clock: Clock, wall_seconds: Callable[[], float]
    ) -> None:
        """Store the arguments."""
        self._folder = folder
        self._bus = bus
        self._clock = clock
        self._wall_seconds = wall_seconds
        self._newest: WorkerStatus | None = None

    def publish(self, key: str, value: WorkerStatus | None) -> None:
        """Publish a status, or withdraw it with None.

        Raises:
            OSError: it could not be written to the folder; the bus has it all the same.
        """
        self._newest = value
        self._bus.publish(key, self._stamped(value))
        self._folder.publish(key, value)

    async def run(self) -> None:
        """Repeat the newest status until cancelled."""
        while True:
            await self._clock.sleep(REPEAT_SECONDS)
            if self._newest is not None:
                self._bus.publish(self._newest.worker_id, self._stamped(self._newest))

    def _stamped(self, status: WorkerStatus | None) -> WorkerStatus | None:
        return None if status is None else replace(status, observed_time=self._wall_seconds())
