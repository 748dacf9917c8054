"""What a topic has lost is published again, as it was; what it holds is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from penstock.contracts.assignments import Assignment
from penstock.contracts.errors import Unavailable
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import WHOLE
from penstock.contracts.topics import ASSIGNMENTS, ROUTES, TENANTS, Topic
from penstock.contracts.worker_status import WorkerStatus
from services.chassis.process import running
from services.controller.changes import Outcome
from services.controller.ledger_values import OutboxRow
from services.controller.placement import PlacementRounds
from services.controller.republish_loop import LOOK_SECONDS, SOON_SECONDS, TICK_SECONDS, RepublishLoop
from services.controller.tenancy import Tenancy, TenantUpdate
from tests.chassis.manual_clock import ManualClock
from tests.controller.stand import ANN, Stand


class Bus:
    """Topics as a relay leaves them: the newest value of every key."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.topics: dict[str, dict[str, bytes]] = {topic.name: {} for topic in (ROUTES, ASSIGNMENTS, TENANTS)}

    async def held(self, topic: Topic) -> Mapping[str, bytes]:
        return self.topics[topic.name]

    async def relay(self) -> tuple[OutboxRow, ...]:
        """Publish what waits, and return it."""
        rows = await self.stand.outbox()
        for row in rows:
            self.topics[row.topic][row.key] = row.value or b""
        if rows:
            async with self.stand.catalogue.writing() as unit:
                await unit.outbox.mark(rows[-1].sequence, unit.time)
        return rows


@pytest.fixture
async def bus(stand: Stand) -> Bus:
    """Return the topics of a mesh with two routes, a tenant, and a worker that holds something."""
    await stand.active("fraud", "1", "2")
    await stand.active("churn", "1")
    stand.fleet.known = (WorkerStatus(worker_id="w1", instance_id="w1", link_address=""),)
    await PlacementRounds(stand.changes, stand.fleet).round()
    await Tenancy(stand.changes, pepper=b"p").set_tenant("acme", TenantUpdate(settings={}), ANN)
    for model in ("fraud", "churn"):
        await stand.traffic.set_weights(model, {"1": WHOLE}, ANN)
    bus = Bus(stand)
    await bus.relay()
    return bus


async def test_topics_that_lack_nothing_get_nothing_and_nothing_is_recorded(stand: Stand, bus: Bus):
    audit = await stand.audit()

    assert (await stand.republishing(bus).republish(ANN)).value == ()
    assert await stand.outbox() == ()
    assert await stand.audit() == audit


async def test_lost_topics_are_filled_with_the_very_records_that_were_in_force(stand: Stand, bus: Bus):
    before = {name: dict(held) for name, held in bus.topics.items()}
    for held in bus.topics.values():
        held.clear()
    outcome = await stand.republishing(bus).republish(ANN)
    await bus.relay()

    assert outcome.value == (
        "penstock.tenants.v1/acme",
        "penstock.routes.v1/churn",
        "penstock.routes.v1/fraud",
        "penstock.assignments.v1/w1",
    )
    for name, decode in ((ROUTES.name, RouteRecord.from_bytes), (ASSIGNMENTS.name, Assignment.from_bytes)):
        assert {key: decode(raw) for key, raw in bus.topics[name].items()} == {key: decode(raw) for key, raw in before[name].items()}
    assert bus.topics[TENANTS.name].keys() == before[TENANTS.name].keys()
    assert (await stand.audit())[-1].action == "mesh.republish"
    assert (await stand.republishing(bus).republish(ANN)).value == ()


async def test_a_topic_whose_end_was_cut_off_gets_what_is_newer_and_nothing_else(stand: Stand, bus: Bus):
    old = bus.topics[ROUTES.name]["fraud"]
    await stand.traffic.set_weights("fraud", {"1": 5_000, "2": 5_000}, ANN)
    await bus.relay()
    bus.topics[ROUTES.name]["fraud"] = old

    assert (await stand.republishing(bus).republish(ANN)).value == ("penstock.routes.v1/fraud",)


async def test_what_waits_for_the_relay_is_not_missing(stand: Stand, bus: Bus):
    await stand.traffic.set_weights("fraud", {"1": 5_000, "2": 5_000}, ANN)

    assert (await stand.republishing(bus).republish(ANN)).value == ()


async def test_bytes_that_nobody_can_read_are_replaced(stand: Stand, bus: Bus):
    bus.topics[ROUTES.name]["churn"] = b"\xff\xff"

    assert (await stand.republishing(bus).republish(ANN)).value == ("penstock.routes.v1/churn",)


class Looking:
    """Looks that end as a test wants it."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.at: list[float] = []
        self.failure: Exception | None = None
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def republish(self, _: object) -> Outcome[tuple[str, ...]]:
        self.at.append(self.clock.now())
        await self.may_end.wait()
        if self.failure is not None:
            raise self.failure
        return Outcome(value=())


async def ticked(clock: ManualClock, seconds: float = TICK_SECONDS) -> None:
    await clock.asleep()
    clock.advance(seconds)
    await clock.asleep()


async def test_the_loop_looks_when_it_becomes_the_writer_and_now_and_then_after_that():
    epochs, clock = [0], ManualClock()
    looking = Looking(clock)
    async with running(RepublishLoop(looking, clock, epoch=lambda: epochs[0]).follow(), name="loop"):
        for epoch, expected in ((0, 0), (7, 1), (7, 1), (0, 1), (8, 2)):
            await clock.asleep()
            epochs[0] = epoch
            await ticked(clock)
            assert len(looking.at) == expected
        await ticked(clock, LOOK_SECONDS)

    assert len(looking.at) == 3


async def test_nothing_is_written_before_the_first_look_has_ended():
    clock = ManualClock()
    looking, epochs = Looking(clock), [7]
    looking.may_end.clear()
    loop = RepublishLoop(looking, clock, epoch=lambda: epochs[0])
    async with running(loop.follow(), name="loop"):
        while not looking.at:
            await asyncio.sleep(0)
        assert loop.epoch == 0
        epochs[0] = 12  # it went past others
        looking.may_end.set()
        await loop.looked()
        assert loop.epoch == 12
        epochs[0] = 0
        assert loop.epoch == 0


async def test_a_bus_that_is_away_is_looked_at_again_soon_and_writing_goes_on():
    clock = ManualClock()
    looking = Looking(clock)
    looking.failure = Unavailable("the bus is away")
    loop = RepublishLoop(looking, clock, epoch=lambda: 7)
    async with running(loop.follow(), name="loop"):
        await loop.looked()
        assert loop.epoch == 7
        await ticked(clock, SOON_SECONDS)

    assert len(looking.at) == 2
