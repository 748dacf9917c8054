"""What a router of the whole mesh does on the bus: follows routes and tenants, reports what it applied, and serves its operators meanwhile.

Without a bus (`bus.bootstrap_servers` empty) nothing of this exists, and routes are those that workers' models declare.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from penstock.contracts.errors import ServingError
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.router_status import RouterStatus
from penstock.contracts.tenant_records import TenantRecord
from penstock.contracts.topics import ROUTERS, ROUTES, TENANTS, Topic
from services.chassis.bus_refusal import check_bus
from services.chassis.clock import SystemClock
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.kafka_sending import KafkaPublisher, KafkaSender
from services.chassis.operator_keys import OperatorKeys
from services.chassis.process import CannotStart, running
from services.router.admin_servicer import AdminServicer, serving_admin
from services.router.config import RouterSettings
from services.router.observation_loop import ObservationLoop
from services.router.observing import Observing
from services.router.routes_in_force import RoutesInForce
from services.router.standstill import Standstill
from services.router.status_reports import StatusReports
from services.router.tenants import Tenants
from services.router.tenants_in_force import TenantsInForce


@dataclass(frozen=True, slots=True, kw_only=True)
class BusSide:
    """What runs while the router is on the bus."""

    routes: RoutesInForce
    feed: KafkaFeed[RouteRecord]
    tenants: TenantsInForce
    tenant_feed: KafkaFeed[TenantRecord]
    sender: KafkaSender
    reports: StatusReports
    standstill: Standstill


def routes_in_force(settings: RouterSettings, instance_id: str) -> RoutesInForce:
    """Return the routes of a router that is to follow them.

    Raises:
        CannotStart: the file of operators' keys is not valid.
    """
    try:
        keys = OperatorKeys.load(settings.break_glass_keys)
    except (OSError, ServingError) as error:
        raise CannotStart(f"{settings.break_glass_keys}: {error}") from None
    return RoutesInForce(keys, router_id=settings.router_id, instance_id=instance_id)


def topic_source(settings: RouterSettings, topic: Topic) -> TopicSource:
    """Return where a topic is read from and its last good state kept."""
    name = topic.name.removeprefix("penstock.")
    return TopicSource(
        topic=topic,
        bus=settings.bus,
        snapshot=settings.state_dir / "snapshots" / settings.router_id / f"{name}.snapshot",
        client_id=settings.router_id,
    )


@asynccontextmanager
async def on_the_bus(settings: RouterSettings, routes: RoutesInForce, tenants: Tenants, observing: Observing) -> AsyncGenerator[BusSide]:
    """Follow routes and tenants, report what was applied and what became of requests; entered when all that there is, is applied.

    Raises:
        BusRefused: Kafka and this router refuse each other, and there is no last good state to begin with.
    """
    await check_bus(settings.bus, topic_source(settings, ROUTES).snapshot)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        sender = KafkaSender(settings.bus, settings.router_id)
        await enter(running(sender.run(), name="bus-sender"))
        observations = ObservationLoop(observing, sender, routes.instance_id, window_seconds=settings.outcome_window_seconds)
        observations.on_use = routes.note_use
        await enter(running(observations.run(), name="observations"))
        feed = KafkaFeed(topic_source(settings, ROUTES), RouteRecord.from_bytes, routes.supersedes, is_admitted=routes.is_admitted)
        await enter(running(feed.follow(routes.apply), name="route-feed"))
        socket = settings.state_dir / "admin" / f"{settings.router_id}.sock"
        routes.admin_address = await enter(serving_admin(AdminServicer(routes, feed), socket))
        in_force = TenantsInForce(tenants, settings.state_dir / "snapshots" / settings.router_id / "closed")
        in_force.recall()
        tenant_feed = KafkaFeed(topic_source(settings, TENANTS), TenantRecord.from_bytes, TenantRecord.supersedes)
        await enter(running(tenant_feed.follow(in_force.apply), name="tenant-feed"))
        await asyncio.gather(feed.caught_up(), tenant_feed.caught_up())
        in_force.warn_if_open()
        publisher = KafkaPublisher(sender, ROUTERS, RouterStatus.to_bytes)
        reports = StatusReports(routes, publisher, settings.router_id, tenants.used_keys)
        await enter(running(reports.run(), name="status-reports"))
        standstill = Standstill((feed, tenant_feed), SystemClock())
        await enter(running(standstill.run(), name="standstill"))
        yield BusSide(
            routes=routes,
            feed=feed,
            tenants=in_force,
            tenant_feed=tenant_feed,
            sender=sender,
            reports=reports,
            standstill=standstill,
        )
