"""The workers that were heard of lately: what placement may count on.

When nobody is heard the bus is away, which says nothing of workers: all of them count as they did, and for SILENT_SECONDS more when words
come again, because the first one to be heard then is not the last one alive.

Who reads the topic from its beginning finds words of workers that died long ago, and cannot ask them: what was found is as old as it says
of itself. One that is old is only known, until the worker speaks again; placement is given the time for that (`settled`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from penstock.contracts.worker_status import WorkerStatus
from services.chassis.clock import Clock

SILENT_SECONDS = 5.0
"""A worker says something every second; one that was silent so long holds nothing that is counted on."""

BUS_SILENT_SECONDS = 2.5
"""Silence of everybody after which the bus is what is silent: workers report every second."""


SKEW_SECONDS = 3.0
"""How far the clocks of two machines may be apart; a word that is found counts as so much younger than it says."""

LOOK_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A worker's last word, and when it came in monotonic seconds."""

    status: WorkerStatus
    at: float
    is_old: bool = False
    """It was found, and may be all that is left of the worker."""


class Workers:
    """Follows what workers report."""

    def __init__(self, now: Callable[[], float], wall_seconds: Callable[[], float] = time.time) -> None:
        """Keep the monotonic clock, and the one that workers stamp their words with."""
        self._now = now
        self._wall_seconds = wall_seconds
        self._listeners: list[Callable[[], None]] = []
        self._heard: dict[str, Heard] = {}
        self._newest_at = now()
        self._again_at = now()

    def on_news(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every word of a worker that says something new."""
        self._listeners.append(listener)

    def follow(self, worker_id: str, status: WorkerStatus | None) -> None:
        """Take a worker's newest status; None when it is gone."""
        now = self._now()
        if now - self._newest_at > BUS_SILENT_SECONDS:
            self._again_at = now
        self._newest_at = now
        held = self._heard.get(worker_id)
        if status is None:
            self._heard.pop(worker_id, None)
        else:
            self._heard[worker_id] = self._taken(status, held)
        if status is None or held is None or status.supersedes(held.status):
            for listener in self._listeners:
                listener()

    def workers(self) -> tuple[WorkerStatus, ...]:
        """Return what live workers reported last."""
        now = self._now()
        known = [one for one in self._heard.values() if not one.is_old]
        if now - self._newest_at > BUS_SILENT_SECONDS:
            return tuple(one.status for one in known)
        return tuple(one.status for one in known if now - max(one.at, self._again_at) <= SILENT_SECONDS)

    async def settled(self, clock: Clock) -> None:
        """Return when everybody who was found has spoken, or has had the time for it."""
        until = clock.now() + SILENT_SECONDS
        while clock.now() < until and any(one.is_old for one in self._heard.values()):
            await clock.sleep(LOOK_SECONDS)

    def _taken(self, status: WorkerStatus, held: Heard | None) -> Heard:
        now = self._now()
        if held is None:
            age = self._wall_seconds() - status.observed_time - SKEW_SECONDS if status.observed_time else 0.0
            return Heard(status=status, at=now - max(age, 0.0), is_old=age > SILENT_SECONDS)
        is_read_again = status.observed_time == held.status.observed_time != 0 and not status.supersedes(held.status)
        return replace(held, status=status) if is_read_again else Heard(status=status, at=now)

    def heard(self) -> tuple[tuple[str, str, float], ...]:
        """Return name, instance and monotonic time of the last word of each."""
        return tuple((name, one.status.instance_id, one.at) for name, one in sorted(self._heard.items()))
