"""The controller: constructors in opening order; leaving closes in the mirror of it.

What invites calls enters last and so leaves first; the lease is given back when nothing writes any more.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import TypeVar

import structlog

from penstock.contracts.errors import ServingError
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.router_status import RouterStatus
from penstock.contracts.topics import ROUTERS, ROUTES, WORKERS
from penstock.contracts.worker_status import WorkerStatus
from services.chassis import telemetry
from services.chassis.atomic_file import write_atomically
from services.chassis.bus_refusal import check_bus
from services.chassis.certificates import CertificateWatch
from services.chassis.clock import Clock, SystemClock
from services.chassis.entry import Start
from services.chassis.heartbeat import beating
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.metrics import registry
from services.chassis.metrics_server import MetricsServer, shown
from services.chassis.operator_keys import OperatorKeys
from services.chassis.process import CannotStart, Hooks, running
from services.chassis.process_metrics import process_metrics
from services.chassis.wrong_key_metrics import wrong_key_metrics
from services.chassis.wrong_keys import WrongKeys
from services.controller import interpreter
from services.controller.applying import Applying
from services.controller.break_glass import BreakGlass
from services.controller.break_glass_loop import BreakGlassLoop
from services.controller.catching_up import CatchingUp
from services.controller.changes import Changes
from services.controller.config import ControllerSettings
from services.controller.deployments import Deployments
from services.controller.deployments_servicer import DeploymentsServicer
from services.controller.grpc_front import serving_grpc
from services.controller.key_use_loop import KeyUseLoop
from services.controller.known_callers import KnownCallers
from services.controller.lease import LeaseKeeping
from services.controller.lease_loop import LeaseLoop
from services.controller.ledger_servicer import LedgerServicer
from services.controller.models_servicer import ModelsServicer, Uploads
from services.controller.operations_servicer import Servicers, operations
from services.controller.outbox_bus import KafkaBus
from services.controller.placement import PlacementRounds
from services.controller.placement_loop import PlacementLoop
from services.controller.platform_servicer import PlatformServicer
from services.controller.platform_settings import PlatformSettings
from services.controller.registering import Registering, registering
from services.controller.registry import Registry
from services.controller.relay_loop import RelayLoop
from services.controller.republish_loop import FIRST_LOOK_SECONDS, RepublishLoop
from services.controller.republishing import Republishing
from services.controller.rest_front import rest_app, serving_rest
from services.controller.rights import Operation
from services.controller.rollback import Rollback
from services.controller.routers import Routers
from services.controller.sql_catalogue import SqlCatalogue
from services.controller.sql_engine import open_engine
from services.controller.sql_migrations import migrate
from services.controller.tenancy import Tenancy
from services.controller.tenants_servicer import TenantsServicer
from services.controller.topic_looks import KafkaTopicLooks
from services.controller.traffic import Traffic
from services.controller.traffic_servicer import TrafficServicer
from services.controller.verification import Unpaced, Verification
from services.controller.verification_servicer import VerificationServicer
from services.controller.verifying import verifying
from services.controller.workers import Workers

RENEWALS = 4
"""Renewals of the lease in its life: it survives three that fail."""

T = TypeVar("T")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """Who reports."""

    routers: Routers
    workers: Workers
    caught_up: Callable[[], Awaitable[None]]
    """Returns when every worker that the bus knows of has been told, and those that live have spoken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deciding:
    """What decides."""

    changes: Changes
    rounds: PlacementRounds
    republishing: Republishing
    is_writer: Callable[[], bool]


@asynccontextmanager
async def controller(start: Start[ControllerSettings]) -> AsyncGenerator[Hooks]:
    """Decide while the block lasts."""
    settings, clock = start.config.current, SystemClock()
    if not settings.bus.is_set:
        raise CannotStart("bus.bootstrap_servers is missing: a controller tells routers and workers over Kafka what is decided")
    settings.exposure.warn()
    await check_bus(settings.bus)
    interpreter.set_up()
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        stack.enter_context(beating(settings.state_dir / "heartbeats" / settings.controller_id))
        traces = await enter(telemetry.started(start.service))
        catalogue = await enter(_startable(_catalogue(settings)))
        lease = await enter(_lease(catalogue, settings, clock).holding())
        observed = await enter(_observed(settings, clock))
        deciding = await enter(_deciding(catalogue, lease, observed, settings, clock))
        await enter(_startable(_adopting(deciding, observed.routers, settings, clock)))
        intake = await enter(_startable(registering(settings, clock)))
        verified = await enter(verifying(deciding.changes, intake.touchstones, settings, clock, deciding.is_writer))
        served = _served(deciding, catalogue, observed, intake, settings)
        uses = KeyUseLoop(catalogue, clock, is_writer=deciding.is_writer)
        observed.routers.on_word(uses.hear)
        await enter(running(uses.follow(), name="key uses"))
        pepper, guesses = settings.key_pepper.encode(), WrongKeys(settings.wrong_keys_per_minute)
        callers = KnownCallers(catalogue, pepper=pepper, require_keys=settings.require_keys, on_use=uses.seen, wrong_keys=guesses)
        certificates = await enter(_certificates(settings).watching(clock))
        seen = (certificates, verified, *wrong_key_metrics(guesses), *process_metrics(start, traces))
        metrics = MetricsServer(shown(registry(*seen)))
        await enter(metrics.opened(settings.state_dir / "metrics" / f"{settings.controller_id}.sock", settings.scrape))
        grpc_port = await enter(_startable(serving_grpc(f"{settings.host}:{settings.grpc_port}", served, callers, settings.tls)))
        app = rest_app(served, callers, version("penstock"))
        http_port = await enter(_startable(serving_rest(app, settings.host, settings.http_port, settings.tls)))
        stack.enter_context(_ready(settings, {"grpc": grpc_port, "http": http_port}))
        await enter(running(start.config.follow(clock), name="config"))
        log.info("controller_ready", controller=settings.controller_id, grpc_port=grpc_port, http_port=http_port)
        yield Hooks(reload=start.config.reload)


@asynccontextmanager
async def _catalogue(settings: ControllerSettings) -> AsyncGenerator[SqlCatalogue]:
    engine = open_engine(settings.database_url, settings.database_password)
    try:
        await migrate(engine)
        yield SqlCatalogue(engine)
    finally:
        await engine.dispose()


def _lease(catalogue: SqlCatalogue, settings: ControllerSettings, clock: Clock) -> LeaseLoop:
    life = settings.lease_seconds
    holder = f"{settings.controller_id}-{secrets.token_hex(4)}"
    return LeaseLoop(LeaseKeeping(catalogue, holder=holder, life_seconds=life), clock, life_seconds=life, renew_seconds=life / RENEWALS)


@asynccontextmanager
async def _deciding(
    catalogue: SqlCatalogue, lease: LeaseLoop, observed: Observed, settings: ControllerSettings, clock: Clock
) -> AsyncGenerator[Deciding]:
    """Publish what is committed and place what is deployed, while this process is the writer."""

    def is_writer() -> bool:
        return lost.epoch > 0

    def committed() -> None:
        relay.wake()
        placement.wake()

    looks = KafkaTopicLooks(settings.bus, f"{settings.controller_id}-looks")
    renewing = Changes(catalogue, epoch=lambda: lease.epoch, committed=committed)
    republishing = Republishing(renewing, looks, CatchingUp(renewing, lease))
    lost = RepublishLoop(republishing, clock, epoch=lambda: lease.epoch)
    changes = Changes(catalogue, epoch=lambda: lost.epoch, committed=committed)
    rounds = PlacementRounds(changes, observed.workers, observed.routers.asked)
    placement = PlacementLoop(rounds, clock, is_writer=is_writer, caught_up=observed.caught_up)
    observed.workers.on_news(placement.wake)
    async with KafkaBus(settings.bus, f"{settings.controller_id}-relay").opened() as bus:
        relay = RelayLoop(catalogue, bus, clock, is_writer=is_writer)
        async with (
            running(relay.follow(), name="relay"),
            running(placement.follow(), name="placement"),
            running(lost.follow(), name="republishing"),
        ):
            await _may_write(lease, lost)
            yield Deciding(changes=changes, rounds=rounds, republishing=republishing, is_writer=is_writer)


async def _may_write(lease: LeaseLoop, lost: RepublishLoop) -> None:
    """Return when this process may write, if it is the writer: its faces open after that."""
    await lease.asked()
    if lease.epoch:
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * FIRST_LOOK_SECONDS):
                await lost.looked()


@asynccontextmanager
async def _adopting(deciding: Deciding, routers: Routers, settings: ControllerSettings, clock: Clock) -> AsyncGenerator[None]:
    """Take in what operators publish past the controller; without their keys nobody may."""
    if settings.break_glass_keys is None:
        yield
        return
    keys = OperatorKeys.load(settings.break_glass_keys)
    adoption = BreakGlass(deciding.changes, keys)
    loop = BreakGlassLoop(adoption, clock, is_writer=deciding.is_writer)
    routers.on_word(loop.hear)
    source = TopicSource(topic=ROUTES, bus=settings.bus, client_id=f"{settings.controller_id}-routes")
    routes = KafkaFeed(source, RouteRecord.from_bytes, is_admitted=keys.is_admitted)
    async with running(routes.follow(loop.take), name="routes"), running(loop.follow(), name="break glass"):
        yield


@asynccontextmanager
async def _observed(settings: ControllerSettings, clock: Clock) -> AsyncGenerator[Observed]:
    own = f"{settings.controller_id}-observed"
    routers = KafkaFeed(TopicSource(topic=ROUTERS, bus=settings.bus, client_id=own), RouterStatus.from_bytes)
    workers = KafkaFeed(TopicSource(topic=WORKERS, bus=settings.bus, client_id=own), WorkerStatus.from_bytes)
    known = Workers(clock.now)

    async def caught_up() -> None:
        await workers.caught_up()
        await known.settled(clock)

    observed = Observed(routers=Routers(clock.now), workers=known, caught_up=caught_up)
    async with (
        running(routers.follow(observed.routers.follow), name="routers"),
        running(workers.follow(observed.workers.follow), name="workers"),
    ):
        yield observed


def _served(
    deciding: Deciding, catalogue: SqlCatalogue, observed: Observed, intake: Registering, settings: ControllerSettings
) -> Mapping[str, Operation]:
    changes, workers, routers = deciding.changes, observed.workers, observed.routers
    return operations(
        Servicers(
            uploads=Uploads(intake.uploads, intake.threads),
            models=ModelsServicer(Registry(changes), intake.registration, catalogue, workers),
            verification=VerificationServicer(Verification(changes, intake.touchstones, Unpaced()), catalogue),
            deployments=DeploymentsServicer(Deployments(changes, workers), catalogue, workers, deciding.rounds),
            traffic=TrafficServicer(Traffic(changes), Rollback(changes), routers),
            tenants=TenantsServicer(_tenancy(changes, settings), catalogue),
            ledger=LedgerServicer(catalogue, routers, workers, SystemClock().now),
            platform=PlatformServicer(Applying(changes, workers), PlatformSettings(changes), deciding.republishing),
        )
    )


def _tenancy(changes: Changes, settings: ControllerSettings) -> Tenancy:
    return Tenancy(changes, pepper=settings.key_pepper.encode(), environment=settings.key_environment)


@asynccontextmanager
async def _startable(opening: AbstractAsyncContextManager[T]) -> AsyncGenerator[T]:
    """Open a part; what keeps it from opening is said to a person, not traced."""
    async with AsyncExitStack() as stack:
        try:
            part = await stack.enter_async_context(opening)
        except CannotStart:
            raise  # it says itself what to do
        except OSError as error:
            raise CannotStart(f"{error.strerror or error}: choose another address, or stop who holds it") from error
        except ServingError as error:
            raise CannotStart(error.message) from error
        yield part


def _certificates(settings: ControllerSettings) -> CertificateWatch:
    faces = {"faces": settings.tls_certificate, "callers": settings.tls_client_authorities}
    return CertificateWatch({**faces, "bus": settings.bus.certificate, "brokers": settings.bus.authorities})


@contextmanager
def _ready(settings: ControllerSettings, ports: dict[str, int]) -> Generator[None]:
    """Tell the supervisor that the faces are open, and where."""
    path = settings.state_dir / "ready" / settings.controller_id
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, json.dumps({"pid": os.getpid(), **ports}).encode())
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
