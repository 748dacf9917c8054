"""The way onto the bus, which imports what reaches it only where there is one: a router of an embedded mesh starts sooner without it."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from penstock.contracts.topics import WORKERS
from penstock.contracts.worker_status import WorkerStatus
from services.chassis.clock import Clock
from services.chassis.feeds import Feed, FolderFeed
from services.chassis.metrics import Collected
from services.router.choosing import Choosing
from services.router.config import RouterSettings
from services.router.fallback import FallbackChain
from services.router.observation_metrics import observation_metrics
from services.router.observing import Observing
from services.router.routes_in_force import RoutesInForce
from services.router.tenant_metrics import tenant_metrics
from services.router.tenants import Tenants

if TYPE_CHECKING:
    from services.router.bus_loop import BusSide


def bus_side(
    settings: RouterSettings, routes: RoutesInForce, tenants: Tenants, observing: Observing
) -> AbstractAsyncContextManager[BusSide]:
    """Return what runs while the router is on the bus."""
    from services.router.bus_loop import on_the_bus  # noqa: PLC0415

    return on_the_bus(settings, routes, tenants, observing)


def routes_by_bus(settings: RouterSettings, instance_id: str) -> RoutesInForce:
    """Return the routes of a router that is to follow them.

    Raises:
        CannotStart: the file of operators' keys is not valid.
    """
    from services.router.bus_loop import routes_in_force  # noqa: PLC0415

    return routes_in_force(settings, instance_id)


def workers_of(settings: RouterSettings, clock: Clock) -> Feed[WorkerStatus]:
    """Return where workers' statuses come from: the bus if they are followed there, else the state folder."""
    if not (settings.bus_workers and settings.bus.is_set):
        return FolderFeed(settings.state_dir / "workers", WorkerStatus.from_bytes, clock)
    from services.chassis.kafka_feed import KafkaFeed  # noqa: PLC0415
    from services.router.bus_loop import topic_source  # noqa: PLC0415

    return KafkaFeed(topic_source(settings, WORKERS), WorkerStatus.from_bytes, WorkerStatus.supersedes)


def metrics_of_bus(bus: BusSide, choosing: Choosing, observing: Observing, fallback: FallbackChain | None) -> tuple[Collected, ...]:
    """Return the collectors of what the bus brings."""
    from services.router.bus_metrics import FallbackMetrics, bus_metrics  # noqa: PLC0415

    routes = bus_metrics(bus.routes, bus.feed.counters, bus.sender.counters, choosing, bus.standstill)
    helped = () if fallback is None else (FallbackMetrics(fallback),)
    return (*helped, *routes, *tenant_metrics(bus.tenants, bus.tenant_feed.counters), *observation_metrics(observing))
