"""The story of a load: fetch → inspect → reserve memory → open → warm up, check, measure → ready.

A load for which there is no room waits for what is on its way out, and fails only when nothing is.
One load at a time: then the growth of resident memory during it is the version's, and a crash can be put down to it. Only fetching goes on
side by side, so that a store that is away holds up nothing that is here. The work itself runs in threads; nothing here blocks the loop.
Whatever fails, the replica ends FAILED with the reason, and everything is given back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from penstock.contracts.errors import DeadlineExceeded, Internal, MemoryBudgetExceeded, ServingError
from services.chassis.blackbox import Slot
from services.worker.artefacts import Artefact
from services.worker.background_thread import in_thread
from services.worker.batcher import Batcher
from services.worker.digests import Digests
from services.worker.graph_versions import is_graph, read_graph
from services.worker.inspection import Inspected, inspect
from services.worker.memory_budget import MemoryBudget
from services.worker.opening import Device, Opened, open_version, start_runtime
from services.worker.reconciliation import Offer
from services.worker.replica import Loaded, Replica
from services.worker.replica_state import ReplicaEvent
from services.worker.resident_memory import settled_resident_bytes
from services.worker.suspects import Suspects
from services.worker.trial import Trial
from services.worker.try_out import TriedOut, try_out

log = structlog.get_logger(__name__)


async def found_here(artefact: Artefact) -> Artefact:
    """Return a version whose files are on this disk already."""
    return artefact


async def nothing_leaves(replica: Replica) -> bool:  # noqa: ARG001  the port of a worker that unloads nothing
    """Say that no memory is about to be given back."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingPorts:
    """Whom a load talks to."""

    make_batcher: Callable[[Replica, Opened, TriedOut], Batcher]
    """Called on the event loop when everything else has succeeded."""
    on_change: Callable[[], None]
    """Called when the replica's state has changed."""
    on_end: Callable[[Replica, float], None]
    """Called with the seconds of a load that is over; the replica's failure says how."""
    ready_twin: Callable[[Replica], Replica | None]
    """Returns a ready replica of the same version and digest."""
    resident_bytes: Callable[[], int] = settled_resident_bytes
    """Returns the memory of this process; called in a thread."""
    fetch: Callable[[Artefact], Awaitable[Artefact]] = found_here
    """Returns an offered version with its files on this disk; has deadlines of its own."""
    leaving: Callable[[Replica], Awaitable[bool]] = nothing_leaves
    """Makes what is not wanted any more leave for a replica that lacks memory; True when something has left, False when nothing will."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTimes:
    """How long a load takes at most."""

    load_seconds: float = 300.0
    """From its start to READY."""
    try_seconds: float = 30.0
    """Of it, for executing the version."""


class Loading:
    """Loads replicas, one at a time."""

    def __init__(self, device: Device, budget: MemoryBudget, suspects: Suspects, ports: LoadingPorts, times: LoadTimes) -> None:
        """Store the arguments."""
        self._device = device
        self._budget = budget
        self._suspects = suspects
        self._ports = ports
        self._times = times
        self._digests = Digests()
        self._turn = asyncio.Lock()

    async def fetch(self, replica: Replica) -> bool:
        """Bring the files of a replica that is to be loaded to this disk; False when it has FAILED over it. Any number at a time."""
        started_at = time.monotonic()
        try:
            replica.files = await self._ports.fetch(replica.offer.artefact)
        except Exception as error:  # noqa: BLE001  as in `load`
            self._fail(replica, self._told(replica, error))
            self._ports.on_end(replica, time.monotonic() - started_at)
            return False
        return True

    async def load(self, replica: Replica) -> None:
        """Bring a replica from LOADING to READY or FAILED, or to UNLOADED when it is what is ready already.

        Cancelling abandons the load: what it used is given back, and the caller moves the replica on.
        """
        async with self._turn:
            started_at = time.monotonic()
            try:
                async with asyncio.timeout(self._times.load_seconds):
                    await self._story(replica)
            except Exception as error:  # noqa: BLE001  the head of the story: a load may fail in any way, and only itself
                self._fail(replica, self._told(replica, error))
            self._ports.on_end(replica, time.monotonic() - started_at)

    async def _story(self, replica: Replica) -> None:
        version, offer = replica.model_version, replace(replica.offer, artefact=replica.files or replica.offer.artefact)
        if await in_thread(lambda: is_graph(offer.artefact), name=f"tell-{version}"):
            await self._take_graph(replica, offer)
            return
        with self._suspects.loading(version) as slot:
            inspected = await in_thread(lambda: inspect(offer, self._digests), name=f"inspect-{version}")
            replica.digest = inspected.digest
            if inspected.config.ignored:
                log.warning("configuration_ignored", model=replica.model, version=replica.version, settings=inspected.config.ignored)
            if self._is_ready_already(replica):
                return
            await self._reserve(replica, inspected)
            try:
                await self._open_and_try(replica, inspected, slot)
            except BaseException:
                self._budget.release(replica.replica_id)
                raise

    async def _reserve(self, replica: Replica, inspected: Inspected) -> None:
        while True:
            try:
                self._budget.reserve(replica.replica_id, str(replica.model_version), inspected.estimated_bytes)
            except MemoryBudgetExceeded:
                if not await self._ports.leaving(replica):
                    raise
            else:
                return

    async def _take_graph(self, replica: Replica, offer: Offer) -> None:
        """Hold a graph ready for routers, which run it: there is nothing to open, to warm up or to execute here."""
        held = await in_thread(lambda: read_graph(offer, self._digests), name=f"read-{replica.model_version}")
        replica.digest = held.digest
        if self._is_ready_already(replica):
            return
        self._step(replica, ReplicaEvent.LOADED)
        replica.loaded = held.loaded
        self._step(replica, ReplicaEvent.WARMED)
        log.info("graph_ready", model=replica.model, version=replica.version, replica_id=replica.replica_id, digest=replica.digest[:12])

    async def _open_and_try(self, replica: Replica, inspected: Inspected, slot: Slot | None) -> None:
        await in_thread(start_runtime, name="start-runtime")
        before = await in_thread(self._ports.resident_bytes, name="measure-memory")
        opened = await in_thread(lambda: open_version(inspected, self._device), name=f"open-{inspected.artefact}")
        self._step(replica, ReplicaEvent.LOADED)
        self._suspects.warming(slot, replica.model_version)
        trial = Trial(opened.sessions[0], opened.completed.signature)
        try:
            tried = await self._tried(trial, opened)
        finally:
            trial.stop()  # a thread that nobody waits for any more must not go on executing
        # Memory that an earlier model gave back to the allocator is used again and does not show: a floor is what the files need.
        after = await in_thread(self._ports.resident_bytes, name="measure-memory")
        memory_bytes = max(after - before, inspected.file_bytes)
        self._budget.settle(replica.replica_id, str(inspected.artefact), memory_bytes)
        self._finish(replica, opened, tried, memory_bytes)

    async def _tried(self, trial: Trial, opened: Opened) -> TriedOut:
        seconds = self._times.try_seconds
        try:
            return await in_thread(lambda: try_out(trial, opened), name=f"try-{opened.inspected.artefact}", timeout_seconds=seconds)
        except TimeoutError as error:
            raise DeadlineExceeded(f"warm-up and golden examples did not finish within {seconds:g} s") from error

    def _finish(self, replica: Replica, opened: Opened, tried: TriedOut, memory_bytes: int) -> None:
        replica.loaded = Loaded.of(opened.completed, provider=opened.provider, memory_bytes=memory_bytes, costs=tried.costs)
        replica.batcher = self._ports.make_batcher(replica, opened, tried)
        replica.batcher.start()
        self._step(replica, ReplicaEvent.WARMED)
        log.info(
            "replica_ready",
            model=replica.model,
            version=replica.version,
            replica_id=replica.replica_id,
            digest=replica.digest[:12],
            provider=opened.provider,
            memory_bytes=memory_bytes,
            milliseconds_by_rows={point.rows: round(point.seconds * 1000, 3) for point in tried.costs},
            golden_examples=tried.golden_examples,
        )

    def _is_ready_already(self, replica: Replica) -> bool:
        """Say whether the files only look different (touched, copied again): then the ready replica stands for them."""
        twin = self._ports.ready_twin(replica)
        if twin is None:
            return False
        twin.offer = replica.offer
        self._step(replica, ReplicaEvent.ABANDONED)
        return True

    def _told(self, replica: Replica, error: Exception) -> ServingError:
        if isinstance(error, ServingError):
            return error
        if isinstance(error, TimeoutError):
            return DeadlineExceeded(f"the load did not finish within {self._times.load_seconds:g} s")
        log.error("load_broke", model=replica.model, version=replica.version, exc_info=error)
        return Internal("internal error while loading; the worker's log says why")

    def _fail(self, replica: Replica, error: ServingError) -> None:
        replica.failure = error
        self._step(replica, ReplicaEvent.FAILED, error.message)
        log.error("replica_failed", model=replica.model, version=replica.version, reason=error.reason, message=error.message)

    def _step(self, replica: Replica, event: ReplicaEvent, reason: str = "") -> None:
        replica.step(event, now_time=time.time(), reason=reason)
        self._ports.on_change()
