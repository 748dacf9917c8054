"""The story of an unload: say so → let routers see it → finish the queue → close → give everything back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from services.chassis.clock import Clock
from services.worker.background_thread import in_thread
from services.worker.batcher import Batcher
from services.worker.replica import Replica
from services.worker.replica_state import ReplicaEvent
from services.worker.resident_memory import give_back

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadingPorts:
    """Whom an unload talks to."""

    on_change: Callable[[], None]
    """Called when the replica's state has changed."""
    on_closed: Callable[[Replica, Batcher], None]
    """Called when the batcher of a replica is closed, to give back what belongs to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainTimes:
    """How long a drain takes at most."""

    notice_seconds: float
    """Between saying that a replica drains and refusing requests, so that routers see it in time."""
    drain_seconds: float
    """For finishing the queue before it is cut."""


class Unloading:
    """Unloads replicas; several at a time."""

    def __init__(self, clock: Clock, ports: UnloadingPorts, times: DrainTimes) -> None:
        """Store the arguments."""
        self._clock = clock
        self._ports = ports
        self._times = times
        self._is_watched = True

    def leave_unnoticed(self) -> None:
        """Give no notice any more: no router is there to need it."""
        self._is_watched = False

    async def unload(self, replica: Replica) -> None:
        """Bring a replica from DRAINING to UNLOADED; requests that arrive during the notice are still served."""
        if self._is_watched:
            await self._clock.sleep(self._times.notice_seconds)
        await self._close(replica, self._clock.now() + self._times.drain_seconds)
        replica.step(ReplicaEvent.EMPTIED, now_time=time.time(), reason="unloaded")
        log.info("replica_unloaded", model=replica.model, version=replica.version, replica_id=replica.replica_id)
        self._ports.on_change()
        await in_thread(give_back, name="give-back")

    async def _close(self, replica: Replica, deadline: float) -> None:
        batcher = replica.batcher
        if batcher is None:
            return
        if not await batcher.drain(deadline):
            log.warning("drain_cut", model=replica.model, version=replica.version, waiting_requests=batcher.waiting_requests)
        await batcher.close()
        replica.batcher = None
        self._ports.on_closed(replica, batcher)
