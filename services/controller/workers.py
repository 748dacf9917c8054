"""The workers that were heard of lately: what placement may count on.

When nobody is heard the bus is away, which says nothing of workers: all of them count as they did, and for SILENT_SECONDS more when words
come again, because the first one to be heard then is not the last one alive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from penstock.contracts.worker_status import WorkerStatus

SILENT_SECONDS = 5.0
"""A worker says something every second; one that was silent so long holds nothing that is counted on."""

BUS_SILENT_SECONDS = 2.5
"""Silence of everybody after which the bus is what is silent: workers report every second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A worker's last word, and when it came in monotonic seconds."""

    status: WorkerStatus
    at: float


class Workers:
    """Follows what workers report."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Keep the monotonic clock."""
        self._now = now
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
            self._heard[worker_id] = Heard(status=status, at=now)
        if status is None or held is None or status.supersedes(held.status):
            for listener in self._listeners:
                listener()

    def workers(self) -> tuple[WorkerStatus, ...]:
        """Return what live workers reported last."""
        now = self._now()
        if now - self._newest_at > BUS_SILENT_SECONDS:
            return tuple(one.status for one in self._heard.values())
        return tuple(one.status for one in self._heard.values() if now - max(one.at, self._again_at) <= SILENT_SECONDS)

    def heard(self) -> tuple[tuple[str, str, float], ...]:
        """Return name, instance and monotonic time of the last word of each."""
        return tuple((name, one.status.instance_id, one.at) for name, one in sorted(self._heard.items()))
