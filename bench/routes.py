"""What routes cost: reading a thousand of them from a real Kafka at a start, and one choice.

    python -m bench.routes --bootstrap-servers 127.0.0.1:9092

Figures: `routes.replay_1000_seconds` (a new reader, from nothing to every route compiled and in force; the goal is below 3), and
`routes.choice_nanoseconds` (one choice of a split by key, in a loop of its own; a route without a choice costs nothing, it is recognised
with the model's name), and `routes.lookup_<models>_nanoseconds` (the way from a model's name to its deployment; `routes.lookup_growth` is
the ratio of 1,000 models to 10).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import timeit
import uuid

from bench.figures import Figures
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Backend, Route, single
from penstock.contracts.topics import Topic
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.chassis.bus_settings import BusSettings
from services.chassis.kafka import Delivery
from services.chassis.kafka_feed import KafkaFeed, TopicSource
from services.chassis.kafka_sending import KafkaPublisher, KafkaSender
from services.chassis.operator_keys import OperatorKeys
from services.chassis.process import running
from services.mesh.plan import Plan
from services.mesh.route_table import RouteTable
from services.router.routes_in_force import RoutesInForce
from services.stack.topic_catalogue import make_topics

ROUTES = 1000
FEW_ROUTES = 10
CHOICES = 200_000
LOOKUPS = 100_000
LOOKUP_TURNS = 25
"""How often few and many take turns, whatever the rounds: one pass lasts 0.1 s, and of three turns the middle was anything from 1.1 to 1.7
on a machine where 25 turns said 1.13, 1.13 and 1.16 (2026-11-23, 2 x AMD EPYC)."""


async def replay(bus: BusSettings, figures: Figures, rounds: int) -> None:
    """Measure how long a router takes to have all routes of a topic in force."""
    topic = Topic(name=f"bench.routes-{uuid.uuid4().hex[:8]}.v1", message="penstock.v1.RouteRecord", key="model")
    await make_topics(bus.bootstrap_servers, [topic])
    sender = KafkaSender(bus, "bench", delivery=Delivery.DESIRED)
    publisher = KafkaPublisher(sender, topic, RouteRecord.to_bytes)
    for number in range(ROUTES):
        publisher.publish(f"model-{number}", RouteRecord(route=single(f"model-{number}", "1", revision=1)))
    async with running(sender.run()):
        async with asyncio.timeout(60):
            while sender.counters.sent < ROUTES:  # noqa: ASYNC110 - a bench may look twice
                await asyncio.sleep(0.01)
    for _ in range(rounds):
        routes = RoutesInForce(OperatorKeys({}), router_id="bench", instance_id="bench")
        feed = KafkaFeed(TopicSource(topic=topic, bus=bus), RouteRecord.from_bytes, routes.supersedes)
        began_at = time.perf_counter()
        async with running(feed.follow(routes.apply)):
            await feed.caught_up()
            figures.add("routes.replay_1000_seconds", time.perf_counter() - began_at, "s")
        if len(routes.plans) != ROUTES:
            raise AssertionError(f"{len(routes.plans)} routes are in force, not {ROUTES}")


def choice(figures: Figures, rounds: int) -> None:
    """Measure one choice by key."""
    shares = (Backend(version="1", weight_basis_points=9900), Backend(version="2", weight_basis_points=100))
    plan = Plan(Route(model="m", backends=shares))
    for _ in range(rounds):
        seconds = timeit.timeit(lambda: plan.choose("tenant", b"some-user-0017"), number=CHOICES)
        figures.add("routes.choice_nanoseconds", seconds / CHOICES * 1e9, "ns")


def lookups(figures: Figures) -> None:
    """Measure how a call finds its deployment, among few models and among many: all of them in turn."""
    few, many = _table(FEW_ROUTES), _table(ROUTES)
    for _ in range(LOOKUP_TURNS):
        less, more = _lookup(few, FEW_ROUTES), _lookup(many, ROUTES)
        figures.add(f"routes.lookup_{FEW_ROUTES}_nanoseconds", less, "ns")
        figures.add(f"routes.lookup_{ROUTES}_nanoseconds", more, "ns")
        figures.add("routes.lookup_growth", more / less, "ratio")


def _table(models: int) -> RouteTable:
    """Return what a router knows of so many models, each of which one worker holds."""
    names = [f"model-{number}" for number in range(models)]
    table = RouteTable({name: Plan(single(name, "1", revision=1)) for name in names})
    replicas = tuple(
        ReplicaStatus(replica_id=number, model=name, version="1", state=ReplicaState.READY) for number, name in enumerate(names)
    )
    table.apply("w", WorkerStatus(worker_id="w", instance_id="1", link_address="", revision=1, replicas=replicas))
    return table


def _lookup(table: RouteTable, models: int) -> float:
    """Return the nanoseconds of this thread that one lookup takes; the names are made anew, as those that a call brings."""
    names = [f"model-{number % models}" for number in range(LOOKUPS)]
    began_at = time.thread_time()
    for name in names:
        table.resolve(name, "", b"some-user-0017", "tenant")
    return (time.thread_time() - began_at) / LOOKUPS * 1e9


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.routes", description=__doc__)
    parser.add_argument("--bootstrap-servers", required=True, help="a Kafka that may be written to")
    parser.add_argument("--rounds", type=int, default=5, help="medians are reported")
    options = parser.parse_args()
    figures = Figures()
    asyncio.run(replay(BusSettings(bootstrap_servers=options.bootstrap_servers), figures, options.rounds))
    choice(figures, options.rounds)
    lookups(figures)
    for name, figure in figures.by_name.items():
        sys.stdout.write(f"{name}: {figure.median:.4g} {figure.unit}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
