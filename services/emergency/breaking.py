"""Breaks the glass: reads the route in force, signs the next revision, publishes it, and waits for the routers' word."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from aiokafka.errors import KafkaError

from penstock.contracts.errors import Unavailable
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.router_status import RouterStatus
from penstock.contracts.routes import Route
from penstock.contracts.topics import ROUTERS, ROUTES
from services.chassis.bus_refusal import BRIEF_KNOCK_SECONDS, refusal_of
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import Delivery, dismiss, producer, quieten
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.operator_keys import OperatorKey
from services.chassis.process import running
from services.emergency.next_route import check_answering, doubts, given_back, given_to, newest
from services.emergency.router_link import connected

CLIENT = "penstock-break-glass"
READ_SECONDS = 10.0
SEND_SECONDS = 10.0
ALIVE_SECONDS = 5.0
"""A router that has said nothing for so long is not waited for."""
LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What an operator asks for."""

    model: str
    version: str
    """Who gets everything; empty for the shares of before."""
    wait_seconds: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """What came of it: seconds from the signature until each router had it in force, None for one that has not said so."""

    route: Route
    confirmations: Mapping[str, float | None]
    doubts: tuple[str, ...] = ()
    """Why the route may answer less than expected."""


async def past_controller(asked: Asked, key: OperatorKey, bus: BusSettings) -> Broken:
    """Publish straight to the routes topic.

    Raises:
        NotFound: the topic has no route of the model.
        Conflict: no version is named, and the route says of no shares before its own; all that would share the traffic are killed.
        Unavailable: the bus does not answer, or refuses this command.
    """
    quieten()
    await _refuse(bus, BRIEF_KNOCK_SECONDS)
    routes = KafkaFeed(TopicSource(topic=ROUTES, bus=bus, client_id=CLIENT), RouteRecord.from_bytes)
    routers = KafkaFeed(TopicSource(topic=ROUTERS, bus=bus, client_id=CLIENT), RouterStatus.from_bytes)
    async with running(routes.follow(_ignored), name="routes"), running(routers.follow(_ignored), name="routers"):
        try:
            async with asyncio.timeout(READ_SECONDS):
                await asyncio.gather(routes.caught_up(), routers.caught_up())
        except TimeoutError:
            await _refuse(bus, READ_SECONDS)
            message = f"Kafka at {bus.bootstrap_servers} does not answer: go to the routers themselves with --router"
            raise Unavailable(message, reason="BUS_AWAY") from None
        held, route = _next(routes.snapshot().values(), asked)
        started = time.monotonic()
        await _published(bus, asked.model, key.signed(route))
        confirmations = await _confirmed(routers, route, started, asked.wait_seconds)
        return Broken(route=route, confirmations=confirmations, doubts=doubts(held, route))


async def _refuse(bus: BusSettings, limit_seconds: float) -> None:
    if refusal := await refusal_of(bus, limit_seconds):
        raise Unavailable(str(refusal), reason="BUS_REFUSED")


async def past_bus(asked: Asked, key: OperatorKey, targets: Sequence[str]) -> Broken:
    """Hand the record to the routers' admin services; one that does not answer is told, and the others have it all the same.

    Raises:
        NotFound: no router has a route of the model.
        Conflict: no version is named, and the route says of no shares before its own; all that would share the traffic are killed.
        Unavailable: none of the routers answers.
    """
    async with AsyncExitStack() as stack:
        links = [await stack.enter_async_context(connected(target)) for target in targets]
        found = await asyncio.gather(*(link.records(asked.model) for link in links), return_exceptions=True)
        there = [(link, one) for link, one in zip(links, found, strict=True) if not isinstance(one, BaseException)]
        if not there:
            raise next(one for one in found if isinstance(one, BaseException))
        held, route = _next([record for _, (_, records) in there for record in records], asked)
        record, started = key.signed(route), time.monotonic()
        confirmations: dict[str, float | None] = {link.target: None for link in links}
        refusals: list[Unavailable] = []
        for link, _ in there:
            try:
                is_applied = await link.apply(record)
                confirmations[link.target] = time.monotonic() - started if is_applied else None
            except Unavailable as error:
                refusals.append(error)
        if len(refusals) == len(there):
            raise refusals[0]
        return Broken(route=route, confirmations=confirmations, doubts=doubts(held, route))


def _ignored(_key: str, _value: object) -> None:
    """Wait for no news: the snapshot is read."""


def _next(records: Iterable[RouteRecord], asked: Asked) -> tuple[Route, Route]:
    """Return the route in force and the one to be signed."""
    held = newest(records, asked.model)
    change_id, now = uuid.uuid4().hex, time.time()
    made = partial(given_to, version=asked.version) if asked.version else given_back
    route = made(held, change_id=change_id, now=now)
    check_answering(route)
    return held, route


async def _published(bus: BusSettings, model: str, record: RouteRecord) -> None:
    client = producer(bus, CLIENT, Delivery.DESIRED)
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await client.start()
            await client.send_and_wait(ROUTES.name, record.to_bytes(), key=model.encode())
    except (KafkaError, OSError, TimeoutError) as error:
        raise Unavailable(
            f"Kafka did not take the record ({type(error).__name__}): whether it did, the routers say", reason="BUS_AWAY"
        ) from error
    finally:
        await dismiss(client)


async def _confirmed(
    routers: KafkaFeed[RouterStatus], route: Route, started: float, wait_seconds: float
) -> Mapping[str, float | None]:  # fmt: skip
    done: dict[str, float | None] = {}
    while True:
        alive = [one for one in routers.snapshot().values() if route.changed_time - one.observed_time < ALIVE_SECONDS and not one.draining]
        for one in alive:
            if one.router_id not in done and one.has_applied(0, route.change_id):
                done[one.router_id] = time.monotonic() - started
        waiting = [one.router_id for one in alive if one.router_id not in done]
        if (alive and not waiting) or time.monotonic() - started >= wait_seconds:
            return done | dict.fromkeys(waiting)
        await asyncio.sleep(LOOK_SECONDS)
