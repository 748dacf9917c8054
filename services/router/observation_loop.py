"""Folds what was noted and sends it: exposures as they come, outcome windows as they end. No request ever waits for it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable

from penstock.contracts.observations import ExposureBatch
from penstock.contracts.topics import EXPOSURES, OUTCOMES
from services.chassis.kafka_sending import KafkaSender
from services.router.observing import Observing

FOLD_SECONDS = 0.05
BATCH_EXPOSURES = 250
"""Exposures of one message; encoding it takes about a millisecond."""


class ObservationLoop:
    """Sends one router's observations."""

    def __init__(
        self,
        observing: Observing,
        sender: KafkaSender,
        instance_id: str,
        *,
        window_seconds: float,
        wall_seconds: Callable[[], float] = time.time,
    ) -> None:
        """Keep the collaborators."""
        self._observing = observing
        self._sender = sender
        self._instance_id = instance_id
        self._window_seconds = window_seconds
        self.on_use: Callable[[str, str], object] = lambda _model, _version: None
        """Told the model and version of every window that saw requests."""
        self._wall_seconds = wall_seconds
        self._dropped_windows = 0
        self._dropped_exposures = 0

    async def run(self) -> None:
        """Fold and send until cancelled, then once more."""
        start = self._wall_seconds()
        try:
            while True:
                await asyncio.sleep(FOLD_SECONDS)
                now = self._wall_seconds()
                await self._fold_all(now)
                await self._send_exposures()
                if not 0 <= now - start < self._window_seconds:
                    self._send_windows(start, now)
                    start = now
        finally:
            while self._observing.fold(self._wall_seconds()):
                pass
            self._send_windows(start, self._wall_seconds())

    async def _fold_all(self, now: float) -> None:
        is_more = True
        while is_more:
            is_more = self._observing.fold(now)
            await asyncio.sleep(0)

    async def _send_exposures(self) -> None:
        exposures = self._observing.exposures
        waiting = exposures.waiting
        while waiting:
            batch = tuple(waiting.popleft() for _ in range(min(len(waiting), BATCH_EXPOSURES)))
            dropped = self._dropped_exposures + exposures.untold()
            message = ExposureBatch(router_instance_id=self._instance_id, exposures=batch, dropped=dropped)
            is_taken = self._sender.offer(EXPOSURES, self._instance_id, message.to_bytes())
            self._dropped_exposures = 0 if is_taken else dropped
            if not is_taken:
                exposures.lose(len(batch))
            await asyncio.sleep(0)

    def _send_windows(self, start: float, end: float) -> None:
        for window in self._observing.windows.close(start, max(end - start, 0.0)):
            if not window.segment and not window.shadow:
                self.on_use(window.model, window.version)
            message = dataclasses.replace(window, dropped_windows=self._dropped_windows)
            is_taken = self._sender.offer(OUTCOMES, window.model, message.to_bytes())
            self._dropped_windows = 0 if is_taken else self._dropped_windows + 1
