"""A catalogue that was restored from an older copy goes past what its own future has published."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from penstock.contracts.assignments import Assignment
from penstock.contracts.route_records import RouteRecord, supersedes
from penstock.contracts.routes import WHOLE, single
from penstock.contracts.tenant_records import TenantRecord
from penstock.contracts.topics import ASSIGNMENTS, ROUTES, TENANTS, Topic
from penstock.contracts.worker_status import WorkerStatus
from services.controller.catching_up import Marks, highest
from services.controller.ledger_values import OutboxRow
from services.controller.placement import PlacementRounds
from services.controller.tenancy import Tenancy, TenantUpdate
from tests.controller.stand import ANN, Stand

LOST_EPOCH = 9
LOST_ROUTE = RouteRecord(
    route=replace(single("fraud", "7", revision=40), writer_epoch=LOST_EPOCH, sequence=500, change_id="lost", changed_time=1.0)
)
LOST_TENANT = TenantRecord(tenant="acme", revision=30, writer_epoch=LOST_EPOCH, sequence=501)
LOST_ASSIGNMENT = Assignment(worker_id="w1", revision=60, writer_epoch=LOST_EPOCH, sequence=502)


class Topics:
    """What the lost part of the catalogue had published."""

    def __init__(self) -> None:
        self.topics = {
            ROUTES.name: {"fraud": LOST_ROUTE.to_bytes()},
            TENANTS.name: {"acme": LOST_TENANT.to_bytes()},
            ASSIGNMENTS.name: {"w1": LOST_ASSIGNMENT.to_bytes()},
        }

    async def held(self, topic: Topic) -> Mapping[str, bytes]:
        return self.topics[topic.name]


@pytest.fixture
async def restored(stand: Stand) -> Stand:
    """Return a catalogue that knows two versions, and has gone past the bus."""
    await stand.active("fraud", "1", "2")
    await stand.republishing(Topics()).republish(ANN)
    return stand


def of(rows: tuple[OutboxRow, ...], topic: Topic) -> bytes:
    """Return the newest message of a topic."""
    value = [row for row in rows if row.topic == topic.name][-1].value
    assert value is not None
    return value


async def test_the_next_change_of_each_kind_takes_the_place_of_what_was_lost(restored: Stand):
    restored.fleet.known = (WorkerStatus(worker_id="w1", instance_id="w1", link_address=""),)
    await restored.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await Tenancy(restored.changes, pepper=b"p").set_tenant("acme", TenantUpdate(settings={}), ANN)
    await PlacementRounds(restored.changes, restored.fleet).round()
    rows = await restored.outbox()

    route = RouteRecord.from_bytes(of(rows, ROUTES))
    assert supersedes(route, LOST_ROUTE)
    assert not supersedes(LOST_ROUTE, route)
    assert TenantRecord.from_bytes(of(rows, TENANTS)).supersedes(LOST_TENANT)
    assert Assignment.from_bytes(of(rows, ASSIGNMENTS)).supersedes(LOST_ASSIGNMENT)


async def test_no_router_confirms_a_change_by_a_number_that_it_had_before(restored: Stand):
    await restored.traffic.set_weights("fraud", {"1": WHOLE}, ANN)

    assert (await restored.published_route()).sequence > 502
    async with restored.catalogue.writing() as unit:
        await unit.outbox.mark(10_000, unit.time)
        await unit.outbox.prune(unit.time + 1)
    assert (await restored.traffic.set_weights("fraud", {"2": WHOLE}, ANN)).change is not None
    assert (await restored.published_route()).sequence > 503


async def test_it_is_done_once_and_said_in_the_audit(restored: Stand):
    epoch, records = restored.lease.epoch, await restored.audit()
    await restored.republishing(Topics()).republish(ANN)

    assert epoch == LOST_EPOCH + 1 == restored.lease.epoch
    assert [record.action for record in records].count("catalogue.catch_up") == 1
    assert await restored.audit() == records


async def test_all_that_the_catalogue_holds_is_told_again_and_wins_with_the_revisions_that_it_has(stand: Stand):
    await stand.active("fraud", "1", "2")
    stand.fleet.known = (WorkerStatus(worker_id="w1", instance_id="w1", link_address=""),)
    await stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await Tenancy(stand.changes, pepper=b"p").set_tenant("acme", TenantUpdate(settings={}), ANN)
    await PlacementRounds(stand.changes, stand.fleet).round()
    before = await stand.outbox()
    await stand.republishing(Topics()).republish(ANN)
    rows = await stand.outbox()

    again = RouteRecord.from_bytes(of(rows, ROUTES))
    assert supersedes(again, LOST_ROUTE)
    assert again.route is not None
    assert again.route == replace(await stand.route("fraud"), writer_epoch=LOST_EPOCH + 1, sequence=again.route.sequence)
    assert TenantRecord.from_bytes(of(rows, TENANTS)).supersedes(LOST_TENANT)
    given = Assignment.from_bytes(of(rows, ASSIGNMENTS))
    assert given.supersedes(LOST_ASSIGNMENT)
    assert given.replicas == Assignment.from_bytes(of(before, ASSIGNMENTS)).replicas
    assert min(row.sequence for row in rows[len(before) :]) > 502


async def test_a_dry_run_takes_no_number(stand: Stand):
    before = stand.lease
    await stand.republishing(Topics()).republish(replace(ANN, dry_run=True))

    assert stand.lease == before
    async with stand.catalogue.reading() as unit:
        assert await unit.outbox.newest() == 0


def test_what_nobody_can_read_has_no_numbers():
    held = {ROUTES.name: {"a": b"\xff\xff", "b": RouteRecord(route=None).to_bytes(), "fraud": LOST_ROUTE.to_bytes()}}

    assert highest(held) == Marks(epoch=LOST_EPOCH, sequence=500)
    assert highest({}) == Marks(epoch=0, sequence=0)
