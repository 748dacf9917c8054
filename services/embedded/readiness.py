"""Waits until everything that can be ready is ready."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from penstock.contracts.worker_status import ReplicaState, WorkerStatus
from services.chassis.child import Child
from services.chassis.clock import Clock
from services.embedded.addresses import Addresses
from services.embedded.run_folder import RunFolder

POLL_SECONDS = 0.02
"""Time between two looks while processes start."""

REPORT_SECONDS = 5.0
"""Time between two lines that say what is still awaited."""

REACH_SECONDS = 10.0
"""Longest wait for every router to reach the workers that are settled: one that cannot is not waited for any longer."""

CHECK_SECONDS = 5.0
"""Longest wait for the first good answer of the HTTP face."""

_BUSY = frozenset({ReplicaState.LOADING, ReplicaState.WARMING})

log = structlog.get_logger(__name__)


class Readiness:
    """Looks at what children say about themselves; only what their present process says counts."""

    def __init__(self, folder: RunFolder, routers: Sequence[Child], workers: Sequence[Child], clock: Clock) -> None:
        """Store the arguments."""
        self._folder = folder
        self._routers = routers
        self._workers = workers
        self._clock = clock

    async def routers_ready(self) -> None:
        """Return when every router serves."""
        await self._until(lambda: [child.spec.name for child in self._routers if not self._is_serving(child)])

    async def workers_settled(self) -> Mapping[str, WorkerStatus]:
        """Return every worker's status when each has loaded what can be loaded."""
        await self._until(
            lambda: [_awaited(child.spec.name, self._status(child)) for child in self._workers if not self._is_settled(child)]
        )
        statuses = {child.spec.name: self._status(child) for child in self._workers}
        return {name: status for name, status in statuses.items() if status is not None}

    async def workers_reached(self) -> bool:
        """Return True when every router knows what the workers have loaded and can send them requests; False if it takes too long."""
        give_up_at = self._clock.now() + REACH_SECONDS
        while missing := [child.spec.name for child in self._routers if not self._reaches_all(child)]:
            if self._clock.now() >= give_up_at:
                log.warning("workers_not_reached", routers=missing)
                return False
            await self._clock.sleep(POLL_SECONDS)
        return True

    async def _until(self, awaited: Callable[[], list[str]]) -> None:
        report_at = self._clock.now() + REPORT_SECONDS
        while missing := awaited():
            if self._clock.now() >= report_at:
                log.info("still_starting", awaited=missing)
                report_at += REPORT_SECONDS
            await self._clock.sleep(POLL_SECONDS)

    def _is_serving(self, child: Child) -> bool:
        return self._presence(child) is not None

    def _reaches_all(self, child: Child) -> bool:
        presence = self._presence(child) or {}
        reached = presence.get("workers", {})
        statuses = [self._status(worker) for worker in self._workers]
        return all(reached.get(status.worker_id, -1) >= status.revision for status in statuses if status is not None and status.settled)

    def _presence(self, child: Child) -> dict[str, Any] | None:
        """Return what the present process of a router says of itself; None while it does not serve."""
        try:
            content = json.loads(self._folder.ready(child.spec.name).read_bytes())
        except (OSError, ValueError):
            return None
        is_present = isinstance(content, dict) and child.process_id is not None and content.get("pid") == child.process_id  # pyright: ignore[reportUnknownMemberType]
        return content if is_present else None  # pyright: ignore[reportUnknownVariableType]

    def _is_settled(self, child: Child) -> bool:
        status = self._status(child)
        return status is not None and status.settled

    def _status(self, child: Child) -> WorkerStatus | None:
        try:
            status = WorkerStatus.from_bytes((self._folder.workers / f"{child.spec.name}.pb").read_bytes())
        except (OSError, ValueError):
            return None
        return status if status.process_id == child.process_id else None


async def answers(served: Addresses, clock: Clock) -> bool:
    """Ask `GET /v2/health/ready` until it says yes, for at most CHECK_SECONDS; a face that speaks TLS is not asked."""
    if served.is_tls:
        return True
    give_up_at = clock.now() + CHECK_SECONDS
    while clock.now() < give_up_at:
        if await _status_of(served) == 200:
            return True
        await clock.sleep(POLL_SECONDS)
    return False


async def _status_of(served: Addresses) -> int | None:
    try:
        async with asyncio.timeout(1.0):
            reader, writer = await asyncio.open_connection(served.local_host, served.http_port)
            try:
                writer.write(b"GET /v2/health/ready HTTP/1.1\r\nHost: penstock\r\nConnection: close\r\n\r\n")
                return int((await reader.readline()).split(b" ")[1])
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, IndexError):
        return None


def _awaited(name: str, status: WorkerStatus | None) -> str:
    if status is None:
        return name
    busy = [f"{each.model}@{each.version}" for each in status.replicas if each.state in _BUSY]
    return f"{name} (loading {', '.join(busy[:5])})" if busy else name
