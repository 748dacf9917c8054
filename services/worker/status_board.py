"""Where the worker says what it is and holds: published for routers, and told to whoever watches.

Changes of one turn of the event loop leave together: routers never see a moment at which the old replica is draining and the new
one is not ready yet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace

import structlog

from penstock.contracts.worker_status import ReplicaStatus, WorkerStatus
from services.chassis.feeds import Publisher

QUICK_SECONDS = 0.002
REST_SHARE = 10
"""After a publication that was not quick lies at least so many times its time: with thousands of replicas each costs milliseconds."""
LONGEST_REST_SECONDS = 0.1
"""A worker that was stopped while it published must not be silent for ten times as long: routers are told of a drain by this alone, and
have its notice to hear it."""

log = structlog.get_logger(__name__)


@dataclass(slots=True, kw_only=True, eq=False)
class StatusBoard:
    """The worker's status; used on the event loop only."""

    identity: WorkerStatus
    """Everything that never changes; complete from `open` on."""
    publisher: Publisher[WorkerStatus]
    replicas: Callable[[], Iterable[ReplicaStatus]] = tuple
    """Asked for at every change."""
    is_settled: bool = False
    is_draining: bool = False
    applied_overrides: dict[str, int] = field(default_factory=dict[str, int])
    assignment_revision: int = 0
    current: WorkerStatus = field(init=False)
    """The newest status."""
    _not_before: float = field(init=False, default=0.0)
    """Loop time before which nothing more is published; that of uvloop and asyncio is the monotonic clock."""
    _is_open: bool = field(init=False, default=False)
    _is_published: bool = field(init=False, default=False)
    _is_scheduled: bool = field(init=False, default=False)
    _changed: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Start with nothing."""
        self.current = self.identity

    def open(self, *, link_address: str, control_address: str) -> None:
        """Publish from now on: the worker can be reached at these addresses."""
        self.identity = replace(self.identity, link_address=link_address, control_address=control_address)
        self._is_open = True
        self.publish()

    def change(self) -> None:
        """Publish what is there, at the end of this turn of the loop, or later if publishing would take much of the time."""
        if not self._is_scheduled:
            self._is_scheduled = True
            loop = asyncio.get_running_loop()
            if self._not_before > loop.time():
                loop.call_at(self._not_before, self.publish)
            else:
                loop.call_soon(self.publish)

    def publish(self) -> None:
        """Publish now, if anything differs from what was published last, or that failed."""
        started_at = time.monotonic()
        self._publish()
        seconds = time.monotonic() - started_at
        if seconds > QUICK_SECONDS:
            self._not_before = time.monotonic() + rest_after(seconds)

    def tell(self) -> bool:
        """Publish now; return whether whoever follows can know what is there. Before `open` nobody follows."""
        self.publish()
        return self._is_published or not self._is_open

    def _publish(self) -> None:
        self._is_scheduled = False
        status = replace(
            self.identity,
            revision=self.current.revision,
            draining=self.is_draining,
            replicas=tuple(self.replicas()),
            settled=self.is_settled,
            applied_overrides=dict(self.applied_overrides),
            assignment_revision=self.assignment_revision,
        )
        if status != self.current:
            self.current = replace(status, revision=status.revision + 1)
            self._is_published = False
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()
        if self._is_open and not self._is_published:
            self._write()

    def withdraw(self) -> None:
        """Take the published status back: this worker is gone."""
        self._is_open = False
        try:
            self.publisher.publish(self.identity.worker_id, None)
        except OSError as error:
            log.warning("status_not_withdrawn", reason=str(error))

    async def watch(self) -> AsyncIterator[WorkerStatus]:
        """Yield the status now and after every change; a slow watcher misses what was replaced meanwhile."""
        while True:
            changed = self._changed
            yield self.current
            await changed.wait()

    async def wait_until(self, holds: Callable[[WorkerStatus], bool]) -> WorkerStatus:
        """Return the first status of which `holds` is true."""
        while not holds(self.current):
            await self._changed.wait()
        return self.current

    def _write(self) -> None:
        try:
            self.publisher.publish(self.identity.worker_id, self.current)
            self._is_published = True
        except OSError as error:  # tried again at the next change or look: a full disk must not stop a worker that serves
            log.error("status_not_published", reason=str(error))  # noqa: TRY400  the machine's fault, no trace


def rest_after(seconds: float) -> float:
    """Pure: return how long nothing is published after a publication that was not quick."""
    return min(REST_SHARE * seconds, LONGEST_REST_SECONDS)
