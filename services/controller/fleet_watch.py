"""Remembers what workers said last; one that is silent for too long is none any more. Nothing of it is stored: workers say it again."""

from __future__ import annotations

from collections.abc import Callable

from penstock.contracts.worker_status import WorkerStatus
from services.chassis.clock import Clock

SILENCE_SECONDS = 10.0
"""Silence after which a worker's deployments are placed elsewhere; routers stop sending to it far earlier."""


class FleetWatch:
    """The workers of the mesh, as a follower of their feed knows them."""

    def __init__(self, clock: Clock, *, silence_seconds: float = SILENCE_SECONDS) -> None:
        """Start without workers."""
        self._clock = clock
        self._silence_seconds = silence_seconds
        self._heard: dict[str, tuple[WorkerStatus, float]] = {}
        self._listeners: list[Callable[[], None]] = []

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after every status that says something new."""
        self._listeners.append(listener)

    def note(self, worker_id: str, status: WorkerStatus | None) -> None:
        """Take a worker's word, also one that it repeats; None means that it said goodbye."""
        before = self._heard.pop(worker_id, None)
        if status is not None:
            self._heard[worker_id] = status, self._clock.now()
        if status is None or before is None or (before[0].instance_id, before[0].revision) != (status.instance_id, status.revision):
            for listener in self._listeners:
                listener()

    def workers(self) -> tuple[WorkerStatus, ...]:
        """Return those that were heard of lately, by name."""
        oldest = self._clock.now() - self._silence_seconds
        return tuple(status for _, (status, heard_at) in sorted(self._heard.items()) if heard_at > oldest)

    def silence(self, worker_id: str) -> float | None:
        """Return the seconds since a worker's last word; None when it was never heard of."""
        heard = self._heard.get(worker_id)
        return None if heard is None else self._clock.now() - heard[1]
