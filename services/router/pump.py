"""Carries waves from fronts to the inference path, whenever a front has something; under overload in larger waves."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import structlog

from penstock.contracts.errors import Internal
from services.mesh.dispatch import Dispatch
from services.mesh.dispatch_counters import DispatchCounters
from services.router.front import Front
from services.router.inference import Inference
from services.router.standstill import Standstill

WAVE_LIMIT = 256
"""Most calls of one wave; 64 to 1024 made no measurable difference on the sketch."""

PAUSE_SECONDS = 0.0015
"""How long what comes is left to gather after a wave of which something was refused for lack of time. A wave costs this process and the
switches to it much the same for one call as for ten, and under overload that time is the workers': at three times the capacity with router
and worker on one core, goodput was 0.4 to 0.5 of the best without it and 0.8 to 0.95 with it and the door's lasting margin; half of the
refusals wait for up to 3 ms in all instead of 1 (2 busy vCPUs, November 2026)."""

log = structlog.get_logger(__name__)


@contextmanager
def pumping(fronts: Sequence[Front], inference: Inference, dispatch: Dispatch, standstill: Standstill | None = None) -> Generator[None]:
    """Take waves while the block lasts; where there is a `standstill`, none by what was known before one."""
    pumps = [Pump(front, inference, dispatch.counters, standstill) for front in fronts]
    for pump in pumps:
        pump.start()
    try:
        yield
    finally:
        for pump in pumps:
            pump.stop()


class Pump:
    """Carries the waves of one front."""

    def __init__(self, front: Front, inference: Inference, counters: DispatchCounters, standstill: Standstill | None = None) -> None:
        """Store the arguments; `start` begins."""
        self._front = front
        self._inference = inference
        self._counters = counters
        self._standstill = standstill
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Take waves from now on."""
        self._pause = None
        self._loop.add_reader(self._front.fileno(), self._take)

    def stop(self) -> None:
        """Take no more."""
        if self._pause is not None:
            self._pause.cancel()
        if self._standstill is not None:
            self._standstill.forget(self.start)
        self._loop.remove_reader(self._front.fileno())

    def _take(self) -> None:
        if self._standstill is not None and self._standstill.note_turn():
            self._loop.remove_reader(self._front.fileno())
            self._standstill.then(self.start)
            return
        shed = self._counters.shed_requests
        wave = self._front.recv_wave(WAVE_LIMIT)
        try:
            self._inference.take(self._front, wave)
        except Exception:
            # A mistake of ours must not leave callers waiting: whoever was answered before it happened ignores the second answer.
            log.exception("wave_failed", calls=len(wave.call_ids))
            self._front.fail_many(wave.call_ids, [Internal("internal error")] * len(wave.call_ids))
        if self._counters.shed_requests != shed and len(wave.call_ids) < WAVE_LIMIT:
            self._loop.remove_reader(self._front.fileno())
            self._pause = self._loop.call_later(PAUSE_SECONDS, self.start)
