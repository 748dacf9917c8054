from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.contracts.assignments import Assignment, Holding
from penstock.contracts.errors import Unavailable
from penstock.contracts.routes import WHOLE, KillSwitch
from penstock.contracts.topics import ASSIGNMENTS
from penstock.contracts.worker_status import ReplicaState, WorkerStatus
from services.controller.changes import Changes
from services.controller.deployment_values import DeploymentStatus, Scaling
from services.controller.placement import SHARE_WAITS, PlacementRounds
from services.controller.placement_loop import ROUND_SECONDS
from services.controller.placement_picture import ASKED_SECONDS
from services.controller.placement_values import Action
from services.controller.tenant_values import Setting
from services.controller.traffic import RouteUpdate
from services.controller.write_freeze import WRITES_FROZEN
from services.mesh.asked_versions import COMING_SECONDS
from services.router.status_reports import REPORT_SECONDS
from tests.controller.placing import SPEC, World, deploy
from tests.controller.stand import ANN, Stand


@pytest.fixture
async def world(stand: Stand) -> World:
    await stand.registered("fraud", "1", "2", "3")
    return World(stand, "w1", "w2")


async def test_a_deployment_is_placed_loaded_and_active_and_the_first_one_gets_all_the_traffic(world: World):
    await world.stand.deployments.create(replace(SPEC, replicas=2), ANN)
    await world.rounds.round()
    placed = await world.stand.deployment("fraud", "1")
    assert (placed.status, placed.placed_time is not None) == (DeploymentStatus.DEPLOYING, True)
    assert await world.holdings(Holding.ACTIVE) == {"w1": ["fraud@1"], "w2": ["fraud@1"]}

    await world.obey(ReplicaState.LOADING)
    await world.rounds.round()
    assert (await world.stand.deployment("fraud", "1")).status is DeploymentStatus.DEPLOYING
    await world.obey()
    await world.rounds.round()

    active = await world.stand.deployment("fraud", "1")
    assert active.status is DeploymentStatus.ACTIVE
    assert active.ready_time is not None
    assert await world.stand.shares("fraud") == {"1": WHOLE}
    async with world.stand.catalogue.reading() as unit:
        version = await unit.versions.get("fraud", "1")
    assert version is not None
    assert version.healthy_time is not None


async def test_every_assignment_is_a_message_with_its_revision_and_epoch(world: World):
    await deploy(world, "1")
    rows = [row for row in await world.stand.outbox() if row.topic == ASSIGNMENTS.name]
    [message] = [Assignment.from_bytes(row.value or b"") for row in rows]

    assert message == (await world.assigned())["w1"]
    assert (message.revision, message.writer_epoch, message.sequence) == (1, world.stand.lease.epoch, rows[0].sequence)
    async with world.stand.catalogue.reading() as unit:
        [held] = await unit.assignments.history("w1", 10)
    assert held.reasons == (held.reasons[0],)
    assert "most room" in held.reasons[0]


async def test_a_round_with_nothing_to_do_writes_nothing(world: World):
    await deploy(world, "1")
    audit, outbox = await world.stand.audit(), await world.stand.outbox()
    await world.rounds.round()

    assert (await world.stand.audit(), await world.stand.outbox()) == (audit, outbox)


async def test_a_later_version_gets_the_share_that_was_asked_for_when_it_is_ready(world: World):
    await deploy(world, "1")
    await deploy(world, "2", traffic_basis_points=100)
    await deploy(world, "3")

    assert await world.stand.shares("fraud") == {"1": 9_900, "2": 100}


async def test_while_writes_are_frozen_a_version_that_gets_ready_takes_nobodys_share(world: World):
    stand = world.stand
    await deploy(world, "1")
    await stand.deployments.create(replace(SPEC, version="2", traffic_basis_points=100), ANN)
    await _freeze_writes(world, is_on=True)
    await world.rounds.round()
    await world.obey()
    await world.rounds.round()
    waiting, records = await stand.deployment("fraud", "2"), await stand.audit()
    await world.rounds.round()

    assert (waiting.status, waiting.reason) == (DeploymentStatus.DEPLOYING, SHARE_WAITS)
    assert (await stand.shares("fraud"), await stand.audit()) == ({"1": WHOLE}, records)
    await _freeze_writes(world, is_on=False)
    await world.rounds.round()
    assert (await stand.deployment("fraud", "2")).status is DeploymentStatus.ACTIVE
    assert await stand.shares("fraud") == {"1": 9_900, "2": 100}


async def test_a_models_first_version_answers_when_it_is_ready_while_writes_are_frozen(world: World):
    await world.stand.deployments.create(SPEC, ANN)
    await _freeze_writes(world, is_on=True)
    await world.rounds.round()
    await world.obey()
    await world.rounds.round()

    assert await world.stand.shares("fraud") == {"1": WHOLE}


async def test_a_route_that_begins_again_is_frozen_and_killed_as_the_ended_one_was(world: World):
    stand, switches = world.stand, (KillSwitch(version="1"), KillSwitch(version="2"))
    await deploy(world, "1")
    await stand.traffic.update("fraud", RouteUpdate(frozen=True, kill_switches=switches), ANN)
    await stand.deployments.delete((await stand.deployment("fraud", "1")).id, ANN, force=True)
    await deploy(world, "2")

    route = await stand.route("fraud")
    assert (dict(await stand.shares("fraud")), route.frozen, route.kill_switches) == ({"2": WHOLE}, True, switches)


async def test_a_version_that_no_worker_can_load_fails_with_the_workers_reason(world: World):
    await world.stand.deployments.create(SPEC, ANN)
    for _ in range(3):
        await world.rounds.round()
        await world.obey(ReplicaState.FAILED, "the graph has a cycle")
    await world.rounds.round()

    held = await world.stand.deployment("fraud", "1")
    assert (held.status, held.reason) == (DeploymentStatus.FAILED, "the graph has a cycle")
    await world.rounds.round()
    assert await world.holdings(Holding.ACTIVE) == {"w1": [], "w2": []}


async def test_a_failed_deployment_is_tried_again_when_it_is_scaled(world: World):
    await world.stand.deployments.create(SPEC, ANN)
    for _ in range(4):
        await world.rounds.round()
        await world.obey(ReplicaState.FAILED, "no")
    held = await world.stand.deployment("fraud", "1")
    await world.stand.deployments.scale(held.id, Scaling(replicas=1), ANN)
    for _ in range(2):
        await world.rounds.round()
        await world.obey()
    await world.rounds.round()

    assert (await world.stand.deployment("fraud", "1")).status is DeploymentStatus.ACTIVE


async def test_a_failed_deployment_that_is_tried_again_does_not_take_back_what_somebody_gave_to_others(world: World):
    await deploy(world, "1")
    await deploy(world, "2", traffic_basis_points=1_000)
    await world.stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    held = await world.stand.deployment("fraud", "2")
    async with world.stand.catalogue.writing() as unit:
        await unit.deployments.replace(replace(held, status=DeploymentStatus.FAILED, ready_time=None))
    await world.stand.deployments.scale(held.id, Scaling(), ANN)
    await world.rounds.round()

    assert (await world.stand.deployment("fraud", "2")).status is DeploymentStatus.ACTIVE
    assert await world.stand.shares("fraud") == {"1": WHOLE}


async def test_what_fits_nowhere_says_so_and_is_placed_when_a_worker_comes(world: World):
    world.stand.fleet.known = ()
    await world.stand.deployments.create(replace(SPEC, replicas=2), ANN)
    world.stand.fleet.known = (WorkerStatus(worker_id="w1", instance_id="w1", link_address=""),)
    await world.rounds.round()
    waiting = await world.stand.deployment("fraud", "1")
    assert waiting.reason.startswith("UNSCHEDULABLE")

    world.stand.fleet.known += (WorkerStatus(worker_id="w2", instance_id="w2", link_address=""),)
    await world.rounds.round()
    await world.obey()
    await world.rounds.round()
    active = await world.stand.deployment("fraud", "1")
    assert (active.status, active.reason) == (DeploymentStatus.ACTIVE, "")


async def test_the_version_of_before_stays_warm_and_a_rollback_needs_no_load(world: World):
    await deploy(world, "1")
    await deploy(world, "2")
    await world.stand.traffic.set_weights("fraud", {"2": WHOLE}, ANN)
    await world.rounds.round()
    everything = [name for holding in Holding for names in (await world.holdings(holding)).values() for name in names]
    standby = [name for names in (await world.holdings(Holding.STANDBY)).values() for name in names]

    assert sorted(everything) == ["fraud@1", "fraud@2"]
    assert standby == ["fraud@1"]
    await world.stand.roll_back("fraud")
    assert await world.stand.shares("fraud") == {"1": WHOLE}


async def test_a_deleted_deployment_drains_is_unloaded_and_retired(world: World):
    await deploy(world, "1")
    await deploy(world, "2")
    held = await world.stand.deployment("fraud", "2")
    await world.stand.deployments.delete(held.id, ANN)
    await world.rounds.round()
    assert [name for names in (await world.holdings(Holding.DRAINING)).values() for name in names] == ["fraud@2"]

    async with world.stand.catalogue.writing() as unit:
        drained = await unit.deployments.get(held.id)
        assert drained is not None
        await unit.deployments.replace(replace(drained, changed_time=drained.changed_time - 60))
    await world.rounds.round()
    assert (await world.stand.deployment("fraud", "2")).status is DeploymentStatus.DRAINING
    await world.obey()
    await world.rounds.round()

    assert (await world.stand.deployment("fraud", "2")).status is DeploymentStatus.RETIRED
    assert [name for names in (await world.holdings(Holding.ACTIVE)).values() for name in names] == ["fraud@1"]


async def test_a_worker_that_is_gone_is_replaced_and_its_assignment_left_alone(world: World):
    await deploy(world, "1")
    [first] = [worker_id for worker_id, names in (await world.holdings(Holding.ACTIVE)).items() if names]
    before = (await world.assigned())[first]
    world.stand.fleet.known = tuple(
        status
        for status in (WorkerStatus(worker_id=name, instance_id=name, link_address="") for name in ("w1", "w2"))
        if status.worker_id != first
    )
    await world.rounds.round()

    assigned = await world.assigned()
    assert assigned[first] == before
    assert [len(assignment.replicas) for name, assignment in assigned.items() if name != first] == [1]


async def test_without_any_worker_nothing_is_taken_away(world: World):
    await deploy(world, "1")
    before = await world.assigned()
    world.stand.fleet.known = ()
    await world.rounds.round()

    assert await world.assigned() == before


async def test_a_plan_shows_what_would_be_done_and_does_nothing(world: World):
    await world.stand.deployments.create(SPEC, ANN)
    plan = await world.rounds.plan()

    assert [(placement.worker_id, placement.action) for placement in plan.placements] == [("w1", Action.LOAD)]
    assert await world.assigned() == {}


async def test_measured_memory_replaces_what_was_reckoned(world: World):
    await deploy(world, "1")
    [placement] = (await world.rounds.plan()).placements

    assert placement.memory_bytes == 7


async def test_a_version_that_no_route_names_is_held_for_whoever_asked_for_it_lately(world: World):
    for version in ("1", "2", "3"):
        await deploy(world, version)
    for version in ("2", "3"):
        await world.stand.traffic.set_weights("fraud", {version: WHOLE}, ANN)
    await world.rounds.round()
    unused = await world.holdings(Holding.STANDBY)
    async with world.stand.catalogue.reading() as unit:
        now = unit.time

    world.asked["fraud", "1"] = now - 2 * ASKED_SECONDS
    await world.rounds.round()
    assert await world.holdings(Holding.STANDBY) == unused
    world.asked["fraud", "1"] = now
    await world.rounds.round()
    assert "fraud@1" in {name for names in unused.values() for name in names}
    assert "fraud@1" in {name for names in (await world.holdings(Holding.ACTIVE)).values() for name in names}


def test_what_is_asked_for_no_more_gives_up_its_room_while_those_who_ask_for_another_version_still_wait():
    assert ASKED_SECONDS + ROUND_SECONDS + REPORT_SECONDS < COMING_SECONDS


async def test_a_controller_that_was_replaced_places_nothing(world: World):
    await world.stand.deployments.create(SPEC, ANN)
    replaced = Changes(world.stand.catalogue, epoch=lambda: world.stand.lease.epoch - 1, committed=lambda: None)

    with pytest.raises(Unavailable):
        await PlacementRounds(replaced, world.stand.fleet).round()

    assert await world.assigned() == {}


async def _freeze_writes(world: World, *, is_on: bool) -> None:
    async with world.stand.catalogue.writing() as unit:
        await unit.settings.put(Setting(name=WRITES_FROZEN, value=is_on))
