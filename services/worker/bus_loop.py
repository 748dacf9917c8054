"""What a worker of the whole mesh does on the bus: follows its assignment, fetches what it names, and says what it holds.

Without a bus (`bus.bootstrap_servers` empty) nothing of this exists: what is held is what the model repository says.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random

from penstock.contracts.assignments import Assignment
from penstock.contracts.errors import ServingError
from penstock.contracts.topics import ASSIGNMENTS, WORKERS
from penstock.contracts.worker_status import WorkerStatus
from services.chassis.artefact_cache import ArtefactCache, opened_cache
from services.chassis.bus_refusal import check_bus
from services.chassis.clock import Clock
from services.chassis.disk_threads import DiskThreads
from services.chassis.feeds import FolderPublisher
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.kafka_sending import KafkaPublisher, KafkaSender
from services.chassis.process import CannotStart, running
from services.worker.artefact_source import ArtefactSource
from services.worker.artefacts import Artefact
from services.worker.assigned_desires import AssignedDesires, Crashes
from services.worker.assignment_feed import AssignmentFeed
from services.worker.attempts import Attempts, RetryTimes
from services.worker.config import WorkerSettings
from services.worker.fetched_versions import Assigned, FetchedVersions
from services.worker.status_reports import StatusReports


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSide:
    """What takes the place of the folders while the worker is on the bus."""

    desires: AssignedDesires
    feed: KafkaFeed[Assignment]
    sender: KafkaSender
    reports: StatusReports
    cache: ArtefactCache

    async def fetch(self, artefact: Artefact) -> Artefact:
        """Return an assigned version with its files on this disk.

        Raises:
            ServingError: as `FetchedVersions.fetch`.
        """
        return await FetchedVersions(self.cache).fetch(
            Assigned(model=artefact.model, version=artefact.version, digest=artefact.manifest_digest)
        )

    @asynccontextmanager
    async def following(self, settings: WorkerSettings, look_now: Callable[[], None]) -> AsyncGenerator[None]:
        """Act on assignments while the block lasts; nothing waits for the bus, for what was assigned last is on this disk."""
        assignments = AssignmentFeed(settings.worker_id, self.feed, self.desires, look_now)
        async with running(assignments.follow(), name="assignments"), running(assignments.note_caught_up(), name="assignments-caught-up"):
            yield


@asynccontextmanager
async def on_the_bus(settings: WorkerSettings, clock: Clock, crashes: Crashes | None = None) -> AsyncGenerator[BusSide]:
    """Open the cache and the way out while the block lasts; assignments are followed inside of `following`.

    The cache keeps what is assigned, whatever for. What is not may go although it still serves: it does so from memory, and a successor
    that waited for its files to go while it waits for the successor would wait for ever.

    Raises:
        CannotStart: the store's address is not valid, or the cache is not this worker's alone; or (`BusRefused`) Kafka and this worker
            refuse each other, and there is no last good state to begin with.
    """
    await check_bus(settings.bus, _source(settings).snapshot)
    attempts = Attempts(RetryTimes(longest_seconds=settings.artefacts.retry_limit_seconds), Random())
    desires = AssignedDesires(settings.worker_id, attempts, crashes)

    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        threads = await enter(DiskThreads("artefact-source"))
        try:
            source = ArtefactSource(settings.artefacts, threads)
            cache = await enter(opened_cache(settings.artefact_folder, settings.artefacts.limit_bytes, source, lambda: desires.digests))
        except ServingError as error:
            raise CannotStart(f"artefacts: {error.message}") from error
        sender = KafkaSender(settings.bus, settings.worker_id)
        await enter(running(sender.run(), name="bus-sender"))
        folder = FolderPublisher(settings.state_dir / "workers", WorkerStatus.to_bytes)
        reports = StatusReports(folder, KafkaPublisher(sender, WORKERS, WorkerStatus.to_bytes), clock, time.time)
        await enter(running(reports.run(), name="status-reports"))
        feed = KafkaFeed(_source(settings), Assignment.from_bytes, Assignment.supersedes)
        yield BusSide(desires=desires, feed=feed, sender=sender, reports=reports, cache=cache)


def _source(settings: WorkerSettings) -> TopicSource:
    return TopicSource(
        topic=ASSIGNMENTS,
        bus=settings.bus,
        snapshot=settings.state_dir / "snapshots" / settings.worker_id / "assignments.v1.snapshot",
        client_id=settings.worker_id,
    )
