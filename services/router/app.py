"""The router: constructors in opening order; leaving closes in the mirror of it.

What invites traffic enters last and so leaves first: on SIGTERM the fronts drain while everything behind them still works.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import TypeVar

import structlog

from penstock.contracts.errors import NotImplementedHere
from services.chassis import telemetry
from services.chassis.allocator import give_back_unused, keep_freed_memory
from services.chassis.blackbox import read_casualties
from services.chassis.clock import Clock, SystemClock
from services.chassis.entry import Start
from services.chassis.heartbeat import beating
from services.chassis.metrics import registry
from services.chassis.metrics_server import MetricsServer, shown
from services.chassis.process import CannotStart, Hooks, running
from services.chassis.process_metrics import process_metrics
from services.chassis.telemetry import Telemetry
from services.chassis.tls_files import TlsFiles
from services.chassis.wrong_keys import WrongKeys
from services.mesh.dispatch import Dispatch
from services.mesh.route_table import RouteTable
from services.router.asking import AskingWorkers
from services.router.cache_statistics import RouterCaches
from services.router.choosing import Choosing
from services.router.config import RouterSettings
from services.router.control import Control
from services.router.controller_link import Addresses, ControllerLink
from services.router.directory import Directory
from services.router.fallback import FallbackChain, Surroundings
from services.router.front import Front
from services.router.front_metrics import FrontMetrics
from services.router.graph_runs import GraphRuns, graphs_of
from services.router.grpc_front import grpc_options, open_grpc
from services.router.http_front import HttpOptions, open_http
from services.router.http_head import HttpLimits
from services.router.inference import Inference
from services.router.late_bus_loop import bus_side, metrics_of_bus, routes_by_bus, workers_of
from services.router.link_tls import certificate_watch, controller_tls, link_tls
from services.router.metrics import router_metrics
from services.router.observing import Observing
from services.router.outcomes import RouterMetrics
from services.router.override_feed import FolderOverrides
from services.router.presence import Presence
from services.router.pump import pumping
from services.router.redis_loop import shared_by_redis
from services.router.repository import Repository
from services.router.result_cache import ResultCache
from services.router.routes_in_force import RoutesInForce
from services.router.runtime_settings import LogSettings, TraceSettings
from services.router.shadowing import Shadowing
from services.router.shared_answers import SharedAnswers
from services.router.statistics import ControlClient, Statistics
from services.router.tenants import Tenants
from services.router.tenants_file import TenantsFile
from services.router.trace_control import SamplingControl
from services.router.tracing import RequestTracer
from services.router.understanding import Understanding

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What stands between the fronts and the workers."""

    table: RouteTable
    dispatch: Dispatch
    inference: Inference
    shared: SharedAnswers
    tenants: Tenants
    metrics: RouterMetrics
    controllers: ControllerLink
    choosing: Choosing
    routes: RoutesInForce | None
    observing: Observing
    graphs: GraphRuns


@asynccontextmanager
async def router(start: Start[RouterSettings]) -> AsyncGenerator[Hooks]:
    """Serve while the block lasts."""
    settings, clock = start.config.current, SystemClock()
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stack.enter_context(beating(settings.state_dir / "heartbeats" / settings.router_id))
        traces = await enter(telemetry.started(start.service))
        core = _core(settings, clock, traces)
        tenants_file = _who_may_call(core.tenants, settings)
        presence = Presence(settings.state_dir / "ready" / settings.router_id, core.table, core.dispatch)
        await enter(running(core.dispatch.run(), name="dispatch"))
        workers = workers_of(settings, clock)
        await enter(running(workers.follow(core.dispatch.follow), name="worker-feed"))
        bus = None if core.routes is None else await enter(bus_side(settings, core.routes, core.tenants, core.observing))
        await workers.caught_up()
        shared = await enter(shared_by_redis(settings, core.tenants, core.shared, clock))
        await enter(core.controllers)
        control = await enter(_control(start, core, clock, traces))
        certificates = await enter(certificate_watch(settings).watching(clock))
        collectors = (
            certificates,
            *core.metrics.collectors,
            front_metrics := FrontMetrics(),
            *router_metrics(core.inference, core.dispatch, core.shared),
            *process_metrics(start, traces),
            *([] if bus is None else metrics_of_bus(bus, core.choosing, core.observing, core.inference.fallback)),
            *shared,
        )
        own = settings.state_dir / "metrics" / f"{settings.router_id}.sock"
        await enter(MetricsServer(shown(registry(*collectors))).opened(own, settings.scrape))
        grpc = await enter(_listening(open_grpc(grpc_options(settings, _tls(settings)), control, clock), settings.grpc_port))
        front_metrics.follow(grpc.counted)
        http = await enter(_listening(open_http(_http_options(settings), control), settings.http_port))
        fronts = (*grpc.fronts, *http.fronts)
        await enter(core.graphs.open())
        stack.enter_context(pumping((*fronts, core.graphs.calls), core.inference, core.dispatch, bus.standstill if bus else None))
        stack.push_async_callback(_drain, control.directory, fronts, clock, settings.drain_seconds)
        if bus is not None:
            stack.callback(bus.reports.begin_drain)
        await enter(presence.shown({"http": http.port, "grpc": grpc.port}))
        _tune()
        await enter(_following(start, tenants_file, clock))
        log.info("router_ready", router=settings.router_id, http_port=http.port, grpc_port=grpc.port)
        yield Hooks(reload=lambda: (start.config.reload(), tenants_file.reload()))


def _who_may_call(tenants: Tenants, settings: RouterSettings) -> TenantsFile:
    """Read the tenants; what stands open is said."""
    settings.exposure.warn()
    file = TenantsFile(tenants, settings.tenants_file, is_on_bus=settings.bus.is_set)
    file.open()
    return file


@asynccontextmanager
async def _following(start: Start[RouterSettings], tenants: TenantsFile, clock: Clock) -> AsyncGenerator[None]:
    """Follow the files that may change, and keep freed memory for a while."""
    keep_freed_memory()
    async with (
        running(start.config.follow(clock), name="config"),
        running(tenants.follow(clock), name="tenants"),
        running(give_back_unused(), name="memory"),
    ):
        yield


def _core(settings: RouterSettings, clock: Clock, traces: Telemetry) -> Core:
    identity = f"{settings.router_id}-{secrets.token_hex(8)}"
    routes = routes_by_bus(settings, identity) if settings.bus.is_set else None
    table = RouteTable() if routes is None else RouteTable(routes.plans, routes.asked)
    metrics = RouterMetrics()
    tenants = _tenants(settings)
    dispatch = Dispatch(table, router_id=identity, clock=clock.now, random=Random(), tls=link_tls(settings))
    dispatch.learn_of_crashes(lambda worker_id: read_casualties(settings.state_dir / "blackbox" / worker_id))
    choosing = Choosing(table, Random())
    understanding = Understanding(table, metrics, choosing)
    dispatch.on_change(understanding.forget)
    if routes is not None:
        routes.on_change(understanding.follow_route)
    observing = Observing(identity)
    shared = SharedAnswers(ResultCache(limit_bytes=settings.result_cache_bytes, ttl_seconds=settings.result_cache_seconds), clock=clock.now)
    shared.observing = None if routes is None else observing
    dispatch.on_sweep(shared.sweep)
    tracer = RequestTracer(traces, clock=clock.now) if traces.is_exporting else None
    inference = Inference(
        understanding,
        dispatch,
        tenants,
        clock=clock.now,
        shared=shared,
        metrics=metrics,
        tracer=tracer,
        observing=None if routes is None else observing,
    )
    shared.ask_workers = AskingWorkers(inference, dispatch, clock.now, tracer)
    if routes is not None:
        _assist(inference, observing, Surroundings(table, understanding, dispatch, shared.cache, clock.now), routes)
    controllers = ControllerLink([Addresses(grpc=one.grpc, http=one.http) for one in settings.controllers], controller_tls(settings))
    return Core(
        table=table,
        dispatch=dispatch,
        inference=inference,
        shared=shared,
        tenants=tenants,
        metrics=metrics,
        controllers=controllers,
        choosing=choosing,
        routes=routes,
        observing=observing,
        graphs=graphs_of(dispatch, clock.now),
    )


def _tenants(settings: RouterSettings) -> Tenants:
    guesses = WrongKeys(settings.wrong_keys_per_minute)
    pepper, environment = settings.key_pepper.encode(), settings.key_environment
    return Tenants(pepper=pepper, require_keys=settings.require_keys, wrong_keys=guesses, environment=environment)


def _assist(inference: Inference, observing: Observing, around: Surroundings, routes: RoutesInForce) -> None:
    inference.fallback = FallbackChain(around)
    inference.shadowing = observing.shadowing = shadowing = Shadowing(around.table, around.dispatch, around.clock)
    routes.on_change(lambda _model: shadowing.follow_routes(routes.plans.values()))


@asynccontextmanager
async def _control(start: Start[RouterSettings], core: Core, clock: Clock, traces: Telemetry) -> AsyncGenerator[Control]:
    settings, client = start.config.current, ControlClient()
    directory = Directory(core.table)
    repository = None if settings.bus.is_set else Repository(FolderOverrides(settings.state_dir / "overrides"), core.table.statuses, clock)
    try:
        yield Control(
            tenants=core.tenants,
            directory=directory,
            statistics=Statistics(
                directory, core.table.statuses, client, RouterCaches(core.metrics.triton, settings.router_id, settings.state_dir)
            ),
            repository=repository,
            log_settings=LogSettings(start.logs or _NoLogs(), settings.log_level),
            trace_settings=TraceSettings(SamplingControl(traces)),
            controllers=core.controllers,
        )
    finally:
        await client.close()


class _NoLogs:
    """Stands in where the log was set up by somebody else, whose it is to change."""

    def set_level(self, level: str) -> None:
        raise NotImplementedHere(f"the log level is not this router's to set to {level}", field="log_verbose_level")


@asynccontextmanager
async def _listening(opening: AbstractAsyncContextManager[T], port: int) -> AsyncGenerator[T]:
    """Open a face; a port that is taken or a certificate that cannot be read is said to a person, not traced."""
    async with AsyncExitStack() as stack:
        try:
            face = await stack.enter_async_context(opening)
        except CannotStart:
            raise
        except OSError as error:
            raise CannotStart(
                f"cannot listen on port {port}: {error.strerror or error}; choose another port or stop who holds it"
            ) from error
        yield face


async def _drain(directory: Directory, fronts: Sequence[Front], clock: Clock, seconds: float) -> None:
    """Say that nothing is ready, then finish what is in flight."""
    directory.begin_drain()
    log.info("router_draining")
    deadline = clock.now() + seconds
    await asyncio.gather(*(front.drain(deadline) for front in fronts))
    log.info("router_drained")


def _http_options(settings: RouterSettings) -> HttpOptions:
    return HttpOptions(
        host=settings.host,
        port=settings.http_port,
        reuse_port=settings.reuse_port,
        tls=_tls(settings),
        limits=HttpLimits(
            body_bytes=settings.message_limit_bytes,
            head_seconds=settings.http_head_timeout_seconds,
            body_seconds=settings.http_body_timeout_seconds,
        ),
        metrics_port=settings.metrics_port,
    )


def _tls(settings: RouterSettings) -> TlsFiles | None:
    if settings.tls_certificate is None or settings.tls_key is None:
        return None
    return TlsFiles(
        certificate_chain=settings.tls_certificate, private_key=settings.tls_key, client_authorities=settings.tls_client_authorities
    )


def _tune() -> None:
    """Set the interpreter up for a loop that must not stop."""
    # What the imports made lives as long as the process: walking it took a quarter of this process's time under overload, tens of
    # milliseconds at once.
    gc.freeze()
