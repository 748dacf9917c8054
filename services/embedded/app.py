"""`penstock serve`: constructors in opening order; leaving closes in the mirror of it.

Routers are entered after workers and so are stopped first: they drain while everything behind them still works. Both start at the
same time; what the supervisor itself needs to load is loaded while they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from random import Random

from services.chassis.blackbox import read_blackbox
from services.chassis.child import Child, kept
from services.chassis.clock import Clock, SystemClock
from services.chassis.death import Exit
from services.chassis.entry import Start
from services.chassis.heartbeat import read_beat
from services.chassis.ports import Wanted, check_free, reserved
from services.chassis.process import CannotStart, Hooks, running
from services.chassis.restart_delays import RestartDelays, RestartPolicy
from services.embedded import run_folder
from services.embedded.addresses import Addresses
from services.embedded.children import child_spec, router_names, worker_names, write_settings
from services.embedded.crash_watch import CrashWatch
from services.embedded.hang_watch import HangWatch
from services.embedded.opening import opening, say
from services.embedded.override_feed import FolderFailedVersions
from services.embedded.run_folder import RunFolder
from services.embedded.settings import EmbeddedSettings
from services.embedded.start_guard import StartGuard
from services.embedded.supervisor import Serve, Supervisor

WORKER_STOP_SECONDS = 10.0
"""Longest wait for a worker to end; the routers are gone by then, so nothing is in flight."""

DRAIN_MARGIN_SECONDS = 2.0
"""What a router is given on top of its own time to drain before it is killed."""


@asynccontextmanager
async def serve(start: Start[EmbeddedSettings]) -> AsyncGenerator[Hooks]:
    """Serve while the block lasts."""
    settings, clock = start.config.current, SystemClock()
    check_repository(settings)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        folder = stack.enter_context(run_folder.opened(settings.state_dir, settings.runtime_dir))
        served = stack.enter_context(addresses(settings))
        say(opening(str(settings.repository), settings.workers, settings.routers))
        write_settings(settings, served, folder)
        guard = StartGuard()
        running_serve = _serve(settings, served, folder, guard, clock)
        await enter(kept(running_serve.workers, WORKER_STOP_SECONDS))
        await enter(kept(running_serve.routers, settings.drain_seconds + DRAIN_MARGIN_SECONDS))
        await enter(running(_hang_watch(running_serve).run(), name="hang-watch"))
        supervisor = Supervisor(start.config, running_serve)
        visible = await asyncio.to_thread(_load_presence)
        await enter(visible(running_serve, start))
        guard.is_starting = False
        await enter(running(start.config.follow(clock), name="config"))
        yield Hooks(reload=supervisor.reload, abandon=supervisor.abandon)


def check_repository(settings: EmbeddedSettings) -> None:
    """Raise CannotStart when the repository is no folder."""
    if not settings.repository.is_dir():
        raise CannotStart(f"{settings.repository} is no folder: name the folder that holds <model>/<version>/model.onnx")


@contextmanager
def addresses(settings: EmbeddedSettings) -> Generator[Addresses]:
    """Hold the ports until the block ends and give out where the serve answers."""
    if settings.metrics_port:
        check_free(settings.metrics_host, Wanted(option="--metrics-port", port=settings.metrics_port))
    wanted = (
        Wanted(option="--http-port", port=settings.http_port),
        Wanted(option="--grpc-port", port=settings.grpc_port),
    )
    with reserved(settings.host, wanted) as (http_port, grpc_port):
        yield Addresses(
            host=settings.host,
            metrics_host=settings.metrics_host,
            http_port=http_port,
            grpc_port=grpc_port,
            metrics_port=settings.metrics_port,
            is_tls=settings.router.get("tls_certificate") is not None,
        )


def _serve(settings: EmbeddedSettings, served: Addresses, folder: RunFolder, guard: StartGuard, clock: Clock) -> Serve:
    watch = CrashWatch(lambda name: read_blackbox(folder.blackbox(name)), FolderFailedVersions(folder.overrides), clock)

    async def worker_died(ended: Exit) -> None:
        guard.count(ended, is_explained=await watch.on_exit(ended))

    async def router_died(ended: Exit) -> None:
        folder.ready(ended.name).unlink(missing_ok=True)
        guard.count(ended, is_explained=False)

    def delays() -> RestartDelays:
        return RestartDelays(RestartPolicy(), Random())

    workers = [Child(child_spec("worker", name, folder), delays(), clock, on_exit=worker_died) for name in worker_names(settings)]
    routers = [Child(child_spec("router", name, folder), delays(), clock, on_exit=router_died) for name in router_names(settings)]
    return Serve(
        settings=settings, addresses=served, folder=folder, routers=tuple(routers), workers=tuple(workers), watch=watch, clock=clock
    )


def _hang_watch(serve: Serve) -> HangWatch:
    folder, limit = serve.folder, serve.settings.hang_seconds
    return HangWatch(serve.children, lambda name: read_beat(folder.heartbeat(name)), serve.clock, limit_seconds=limit)


def _load_presence() -> Callable[[Serve, Start[EmbeddedSettings]], AbstractAsyncContextManager[None]]:
    # Not at the top: numpy and prometheus_client take as long to load as the children need to start, and so are loaded meanwhile.
    from services.embedded.presence import visible  # noqa: PLC0415

    return visible
