"""What a thousand models cost: a write of the controller, a router's start, and finding the route of one call.

Writes are weights and rollbacks, one after the other, while the relay publishes to a real Kafka what was written and placement looks at all
models after every change, in the same process, as in a controller. `catalogue.write_growth` compares writes alone, at 1,000 models and 10.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bench.arena import Arena
from bench.catalogue_filling import Fleet
from bench.catalogue_writes import Held, Writes, catalogue_of, measured
from bench.killable import RealServer
from bench.report import say
from bench.routes import choice, lookups, replay
from penstock.contracts.topics import TOPICS
from services.chassis.bus_settings import BusSettings
from services.chassis.clock import SystemClock
from services.chassis.process import running
from services.controller import interpreter
from services.controller.changes import Changes
from services.controller.outbox_bus import KafkaBus
from services.controller.placement import PlacementRounds
from services.controller.placement_loop import PlacementLoop
from services.controller.relay_loop import RelayLoop
from services.stack.kafka_broker import Kafka
from services.stack.topic_catalogue import make_topics

MODELS = 1_000
FEW_MODELS = 10
WRITES = 200
"""In one round."""


def catalogue(arena: Arena) -> None:
    """Measure all of it on one Kafka."""
    folder = arena.work / "catalogue"
    folder.mkdir()
    kafka = RealServer(Kafka(), folder)
    kafka.start()
    try:
        kafka.wait()
        asyncio.run(_parts(arena, folder, BusSettings(bootstrap_servers=kafka.address)))
    finally:
        kafka.close()
    choice(arena.figures, arena.rounds)
    lookups(arena.figures)


async def _parts(arena: Arena, folder: Path, bus: BusSettings) -> None:
    await replay(bus, arena.figures, arena.rounds)
    await make_topics(bus.bootstrap_servers, TOPICS)
    async with catalogue_of(_url(folder, FEW_MODELS), FEW_MODELS) as few, catalogue_of(_url(folder, MODELS), MODELS) as many:
        await _alone(arena, few, many)
        async with _deciding(many, bus) as changes:
            await _in_a_controller(arena, changes)


async def _alone(arena: Arena, few: Held, many: Held) -> None:
    """Compare what a write costs where nothing else is done, in turn."""
    small, large = Writes(_changes(few), FEW_MODELS), Writes(_changes(many), MODELS)
    for _ in range(arena.rounds):
        less, more = await measured(WRITES, 1, small.both), await measured(WRITES, 1, large.both)
        arena.figures.add("catalogue.write_cpu_ms", more.cpu_milliseconds, "ms")
        arena.figures.add("catalogue.write_growth", more.cpu_milliseconds / less.cpu_milliseconds, "ratio")


async def _in_a_controller(arena: Arena, changes: Changes) -> None:
    writes = Writes(changes, MODELS)
    for _ in range(arena.rounds):
        spent = await measured(WRITES, 1, writes.both)
        arena.figures.add("catalogue.write_p50_ms", spent.quantile(0.5), "ms")
        arena.figures.add("catalogue.write_p99_ms", spent.quantile(0.99), "ms")
    say(f"catalogue: {arena.rounds} times {WRITES} writes at {MODELS} models; load of the machine {os.getloadavg()[0]:.1f}")


@asynccontextmanager
async def _deciding(held: Held, bus: BusSettings) -> AsyncGenerator[Changes]:
    """Publish and place while the block lasts, as a controller does after every commit."""

    def committed() -> None:
        relay.wake()
        placement.wake()

    interpreter.set_up()
    changes, clock, fleet = _changes(held, committed), SystemClock(), Fleet(MODELS)
    await PlacementRounds(_changes(held), fleet).round()
    placement = PlacementLoop(PlacementRounds(changes, fleet), clock, is_writer=lambda: True)
    async with KafkaBus(bus, "bench-relay").opened() as outside:
        relay = RelayLoop(held.catalogue, outside, clock, is_writer=lambda: True)
        async with running(relay.follow(), name="relay"), running(placement.follow(), name="placement"):
            yield changes


def _changes(held: Held, committed: Callable[[], None] = lambda: None) -> Changes:
    return Changes(held.catalogue, epoch=lambda: held.epoch, committed=committed)


def _url(folder: Path, models: int) -> str:
    return f"sqlite+aiosqlite:///{folder}/of-{models}.db"
