"""A deployment that changes while it serves, and one that kills its workers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from penstock.contracts.assignments import Holding
from penstock.contracts.routes import WHOLE
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus
from services.controller.deployment_values import DeploymentStatus, Scaling
from tests.controller.placing import World, deploy
from tests.controller.stand import ANN, Stand

CHANGED = Scaling(config={"max_batch_size": 2})


@pytest.fixture
async def world(stand: Stand) -> World:
    await stand.registered("fraud", "1", "2", "3")
    return World(stand, "w1", "w2")


async def test_a_changed_configuration_is_rolled_worker_by_worker_and_active_means_that_it_is_loaded(world: World):
    await deploy(world, "1", replicas=2)
    await world.stand.deployments.scale((await world.stand.deployment("fraud", "1")).id, CHANGED, ANN)
    rolling = []
    for _ in range(2):
        await world.rounds.round()
        rolling.append([bool(one.config_json) for held in (await world.assigned()).values() for one in held.replicas])
        assert (await world.stand.deployment("fraud", "1")).status is DeploymentStatus.DEPLOYING
        await world.obey()
    await world.rounds.round()

    assert rolling == [[True, False], [True, True]]
    assert (await world.stand.deployment("fraud", "1")).status is DeploymentStatus.ACTIVE
    assert await world.stand.shares("fraud") == {"1": WHOLE}


async def test_traffic_may_be_given_to_a_version_whose_configuration_is_changing(world: World):
    await deploy(world, "1")
    await deploy(world, "2", traffic_basis_points=100)
    await world.stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await world.stand.deployments.scale((await world.stand.deployment("fraud", "2")).id, CHANGED, ANN)
    await world.stand.traffic.set_weights("fraud", {"1": 0, "2": WHOLE}, ANN)
    await world.stand.traffic.set_weights("fraud", {"1": WHOLE}, ANN)
    await world.rounds.round()
    await world.obey()
    await world.rounds.round()

    # It was given its first share when it became active first; a change of its configuration gives it none again.
    assert (await world.stand.deployment("fraud", "2")).status is DeploymentStatus.ACTIVE
    assert await world.stand.shares("fraud") == {"1": WHOLE}


async def test_a_configuration_that_does_not_load_leaves_what_serves_and_says_why(world: World):
    await deploy(world, "1", replicas=2)
    before = world.stand.fleet.known
    await world.stand.deployments.scale((await world.stand.deployment("fraud", "1")).id, CHANGED, ANN)
    await world.rounds.round()
    changed = next(one for one in (await world.assigned())["w1"].replicas)
    failed = ReplicaStatus(
        replica_id=9, model="fraud", version="1", state=ReplicaState.FAILED, digest=changed.loaded_digest, reason="no such provider"
    )
    world.stand.fleet.known = (replace(before[0], replicas=(*before[0].replicas, failed)), before[1])
    for _ in range(3):
        await world.rounds.round()

    held = await world.stand.deployment("fraud", "1")
    assert (held.status, held.reason.endswith("no such provider")) == (DeploymentStatus.DEPLOYING, True)
    assert await world.holdings(Holding.ACTIVE) == {"w1": ["fraud@1"], "w2": ["fraud@1"]}
    assert (await world.assigned())["w2"].replicas[0].config_json == ""


@pytest.mark.parametrize("workers", [1, 2])
async def test_an_active_version_that_kills_two_workers_again_and_again_fails_with_their_reason(world: World, workers: int):
    await deploy(world, "1", replicas=2)
    digest = (await world.assigned())["w1"].replicas[0].loaded_digest
    given_up = ReplicaStatus(
        replica_id=9, model="fraud", version="1", state=ReplicaState.FAILED, digest=digest, reason="3 workers crashed", given_up=True
    )
    world.stand.fleet.known = tuple(
        replace(one, replicas=(given_up,)) if number < workers else one for number, one in enumerate(world.stand.fleet.known)
    )
    await world.rounds.round()

    held = await world.stand.deployment("fraud", "1")
    expected = (DeploymentStatus.FAILED, "3 workers crashed") if workers == 2 else (DeploymentStatus.ACTIVE, "")
    assert (held.status, held.reason) == expected
