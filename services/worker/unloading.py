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

NOTICE_SECONDS = 0.5
"""Time between saying that a replica drains and refusing requests: ten times the interval at which routers look."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadingPorts:
    """Whom an unload talks to."""

    on_change: Callable[[], None]
    """Called when the replica's state has changed."""
    on_closed: Callable[[Replica, Batcher], None]
    """Called when the batcher of a replica is closed, to give back what belongs to it."""


class Unloading:
    """Unloads replicas; several at a time."""

    def __init__(self, clock: Clock, ports: UnloadingPorts, *, drain_seconds: float) -> None:
        """Store the arguments; `drain_seconds` bounds how long a queue is finished before it is cut."""
        self._clock = clock
        self._ports = ports
        self._drain_seconds = drain_seconds

    async def unload(self, replica: Replica, *, notice_seconds: float = NOTICE_SECONDS, reason: str = "unloaded") -> None:
        """Bring a replica from DRAINING to UNLOADED; requests that arrive during the notice are still served."""
        await self._clock.sleep(notice_seconds)
        await self.close(replica, self._clock.now() + self._drain_seconds)
        replica.step(ReplicaEvent.EMPTIED, now_time=time.time(), reason=reason)
        log.info("replica_unloaded", model=replica.model, version=replica.version, replica_id=replica.replica_id)
        self._ports.on_change()
        await in_thread(give_back, name="give-back")

    async def close(self, replica: Replica, deadline: float) -> None:
        """Finish a replica's queue until `deadline` (monotonic seconds), then close its batcher."""
        batcher = replica.batcher
        if batcher is None:
            return
        if not await batcher.drain(deadline):
            log.warning("drain_cut", model=replica.model, version=replica.version, waiting_requests=batcher.waiting_requests)
        await batcher.close()
        replica.batcher = None
        self._ports.on_closed(replica, batcher)
