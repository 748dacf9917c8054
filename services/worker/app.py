"""The worker: constructors in opening order; leaving closes in the mirror of it.

What invites traffic enters last and so leaves first: on SIGTERM routers are told, queues are finished, and only then the links close.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from penstock.contracts.worker_status import WorkerStatus
from services.chassis import telemetry
from services.chassis.allocator import give_back_unused
from services.chassis.blackbox import Blackbox, crash_file
from services.chassis.clock import Clock, SystemClock
from services.chassis.entry import Start
from services.chassis.feeds import FolderPublisher
from services.chassis.heartbeat import beating
from services.chassis.metrics_server import MetricsServer
from services.chassis.process import CannotStart, Hooks, running
from services.chassis.process_metrics import process_metrics
from services.worker.batcher import Batcher
from services.worker.batchers import Batchers
from services.worker.config import WorkerSettings
from services.worker.control_servicer import ControlServicer, serving_control
from services.worker.crash_book import CrashBook, note_proved
from services.worker.desires import Desires
from services.worker.ending import Ending
from services.worker.execution_spans import SpanTracer
from services.worker.inline_guard import InlineGuard
from services.worker.link_connection import LinkIdentity
from services.worker.link_server import LinkServer
from services.worker.link_tls import certificate_watch, link_tls
from services.worker.loading import Loading, LoadingPorts, LoadTimes, found_here
from services.worker.memory_budget import MemoryBudget
from services.worker.metrics import WorkerMetrics
from services.worker.opening import Device
from services.worker.override_feed import OverrideFeed
from services.worker.reconciler import Pace, Reconciler
from services.worker.replica import Replica
from services.worker.replicas import Replicas
from services.worker.resident_memory import keep_large_blocks_apart
from services.worker.settling import Settling
from services.worker.status_board import StatusBoard
from services.worker.suspects import Suspects, last_loading
from services.worker.trials import Trials
from services.worker.turn_end import TurnEnd
from services.worker.unloading import DrainTimes, Unloading, UnloadingPorts

FOLDERS = ("workers", "overrides", "links", "control", "metrics", "blackbox", "heartbeats", "trials", "crashes")

if TYPE_CHECKING:
    from services.worker.bus_loop import BusSide

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What stands between the files and the links."""

    replicas: Replicas
    board: StatusBoard
    reconciler: Reconciler
    unloading: Unloading
    metrics: WorkerMetrics


@asynccontextmanager
async def worker(start: Start[WorkerSettings]) -> AsyncGenerator[Hooks]:
    """Serve while the block lasts."""
    settings, clock = start.config.current, SystemClock()
    _tune()
    _prepare(settings)
    state = settings.state_dir
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stack.enter_context(beating(state / "heartbeats" / settings.worker_id))
        traces = await enter(telemetry.started(start.service))
        box = state / "blackbox" / settings.worker_id
        deadly = last_loading(box)
        crashes = _crash_book(settings, box)
        suspects = Suspects(stack.enter_context(_blackbox(box)))
        ending = Ending(suspects, start.logs)
        guard = stack.enter_context(InlineGuard(ending.end))
        tracer = SpanTracer(traces) if traces.is_exporting else None
        turn_end = TurnEnd()
        bus = await enter(_on_the_bus(settings, clock, crashes)) if settings.bus.is_set else None
        batchers = Batchers(suspects=suspects, guard=guard, tracer=tracer, ending=ending, soon=turn_end.soon)
        core = _core(settings, clock, batchers, bus)
        core.reconciler.hold_back(deadly)
        stack.callback(core.board.withdraw)
        certificates = await enter(certificate_watch(settings).watching(clock))
        source = core.metrics.source(certificates, *process_metrics(start, traces))
        await enter(MetricsServer(source).opened(state / "metrics" / f"{settings.worker_id}.sock", settings.scrape))
        overrides = OverrideFeed(state / "overrides", core.reconciler, clock)
        await enter(running(overrides.follow(), name="overrides"))
        await overrides.caught_up()
        if bus is not None:
            await enter(bus.following(settings, core.reconciler.look_now))
            await enter(running(note_proved(crashes, core.replicas.statuses, clock), name="proved-versions"))
        await enter(running(give_back_unused(), name="memory"))
        await enter(running(core.reconciler.run(), name="reconciler"))
        servicer = ControlServicer(core.reconciler if bus is None else bus.desires, core.replicas, core.board)
        control_address = await enter(serving_control(servicer, state / "control" / f"{settings.worker_id}.sock"))
        identity = LinkIdentity(instance_id=core.board.identity.instance_id, credit_rows=settings.credit_rows)
        links = LinkServer(identity, core.replicas.batcher, clock.now, turn_end)
        await enter(links.serving(_link_address(settings), link_tls(settings)))
        core.board.open(link_address=_advertised(settings, links.address), control_address=control_address)
        stack.push_async_callback(_leave, core, links)
        await enter(running(start.config.follow(clock), name="config"))
        log.info("worker_open", worker=settings.worker_id, link=links.address, repository=str(settings.repository or "assigned"))
        yield Hooks(reload=lambda: _reload(start))


def _tune() -> None:
    """Set the interpreter up for batches beside a loop."""
    # What the imports made lives as long as the process: collections, of which each load needs some, must not walk it.
    gc.freeze()
    # A batch that is heavy on Python in its thread must not hold up the loop: worst pings fell from 13-16 ms to 6-9 ms.
    sys.setswitchinterval(0.0005)
    keep_large_blocks_apart()


def _crash_book(settings: WorkerSettings, box: Path) -> CrashBook:
    """Learn how the life before this one ended; where there is no bus, a supervisor does that."""
    book = CrashBook(settings.state_dir / "crashes" / f"{settings.worker_id}.json")
    if settings.bus.is_set:
        book.learn(box, time.time())
    return book


def _on_the_bus(settings: WorkerSettings, clock: Clock, crashes: CrashBook) -> AbstractAsyncContextManager[BusSide]:
    """Import what reaches the bus and the store only where there is a bus: a worker without it starts sooner."""
    from services.worker.bus_loop import on_the_bus  # noqa: PLC0415

    return on_the_bus(settings, clock, crashes)


async def _leave(core: Core, links: LinkServer) -> None:
    """Tell routers, finish what they sent, unload."""
    core.board.is_draining = True
    links.announce_drain()
    if not links.is_linked:  # as behind a serve's routers, which end first
        core.unloading.leave_unnoticed()
    await core.reconciler.leave()


def _core(settings: WorkerSettings, clock: Clock, batchers: Batchers, bus: BusSide | None) -> Core:
    replicas, budget = Replicas(), MemoryBudget(budget_bytes=settings.memory_budget_bytes)
    identity = WorkerStatus(
        worker_id=settings.worker_id,
        instance_id=f"{settings.worker_id}-{secrets.token_hex(8)}",
        link_address="",
        process_id=os.getpid(),
        memory_budget_bytes=settings.memory_budget_bytes,
        gpu_type=settings.gpu_type,
        labels=settings.labels,
    )
    publisher = FolderPublisher(settings.state_dir / "workers", WorkerStatus.to_bytes) if bus is None else bus.reports
    board = StatusBoard(identity=identity, publisher=publisher, replicas=replicas.statuses)
    metrics = WorkerMetrics(replicas, budget)
    desires = _in_the_repository(settings) if bus is None else bus.desires
    reconciler = Reconciler(
        desires, replicas, board, clock, Pace(poll_seconds=settings.repository_poll_seconds, settle_seconds=settings.settle_seconds / 2)
    )

    def closed(replica: Replica, batcher: Batcher) -> None:
        metrics.retired(replica, batcher.statistics)
        batchers.release(replica)
        budget.release(replica.replica_id)

    loading_ports = LoadingPorts(
        make_batcher=batchers.make,
        on_change=board.change,
        on_end=metrics.load_ended,
        ready_twin=replicas.ready_twin,
        fetch=found_here if bus is None else bus.fetch,
        leaving=reconciler.make_room,
    )
    times = LoadTimes(load_seconds=settings.load_timeout_seconds, try_seconds=settings.warm_up_timeout_seconds)
    device = Device(intra_op_threads=settings.intra_op_threads, device_id=settings.device_id)
    drain_times = DrainTimes(notice_seconds=settings.notice_seconds, drain_seconds=settings.drain_seconds)
    unloading = Unloading(clock, UnloadingPorts(on_change=board.change, on_closed=closed), drain_times)
    reconciler.connect(
        Loading(device, budget, batchers.suspects, loading_ports, times),
        unloading,
        Trials(settings.state_dir / "trials", settings.worker_id),
    )
    return Core(replicas=replicas, board=board, reconciler=reconciler, unloading=unloading, metrics=metrics)


def _in_the_repository(settings: WorkerSettings) -> Desires:
    if settings.repository is None:
        raise CannotStart("there is neither a model repository nor a bus")
    return Desires(settings.repository, settings.state_dir / "overrides-files", Settling(settle_seconds=settings.settle_seconds))


def _prepare(settings: WorkerSettings) -> None:
    if settings.repository is not None and not settings.repository.is_dir():
        raise CannotStart(f"the model repository {settings.repository} is no folder: create it, or name another one")
    for name in FOLDERS:
        (settings.state_dir / name).mkdir(parents=True, exist_ok=True, mode=0o700)


def _reload(start: Start[WorkerSettings]) -> None:
    start.config.reload()


@contextmanager
def _blackbox(path: Path) -> Generator[Blackbox]:
    with crash_file(path).open("wb") as crash:
        box = Blackbox.open(path)
        faulthandler.enable(crash)
        try:
            yield box
        finally:
            faulthandler.disable()
            box.close()


def _link_address(settings: WorkerSettings) -> str:
    if settings.link_host is not None:
        return f"tcp:{settings.link_host}:{settings.link_port}"
    return f"unix:{settings.state_dir / 'links' / f'{settings.worker_id}.sock'}"


def _advertised(settings: WorkerSettings, address: str) -> str:
    if settings.link_advertised_host is None:
        return address
    return f"tcp:{settings.link_advertised_host}:{address.rpartition(':')[2]}"
