"""An order to load or unload that another one has overtaken ends, and says so."""

import asyncio

import pytest

from penstock.contracts.errors import Conflict
from penstock.contracts.worker_status import ReplicaState
from services.router.load_order import LoadOrder
from services.router.repository import Repository
from tests.chassis.manual_clock import ManualClock
from tests.router.control_stand import ControlStand, control_stand, replica

FAR = 1e9


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def stand(clock: ManualClock) -> ControlStand:
    return control_stand(clock=clock, wall_seconds=lambda: 5.0)


@pytest.fixture
def repository(stand: ControlStand) -> Repository:
    return stand.control.repository


async def test_an_unload_that_a_load_has_overtaken_ends_at_once_and_says_so(
    stand: ControlStand, repository: Repository, clock: ManualClock
):
    stand.report(replicas=[replica()])
    unload = asyncio.ensure_future(repository.unload("digits", FAR))
    await clock.asleep()
    mine = stand.overrides.held["digits"].revision
    stand.report(replicas=[replica()], applied={"digits": mine + 1})
    clock.advance(1)

    with pytest.raises(Conflict, match="somebody else had model 'digits' loaded meanwhile"):
        await asyncio.wait_for(unload, 10)


async def test_an_unload_that_another_unload_has_overtaken_waits_for_the_end(
    stand: ControlStand, repository: Repository, clock: ManualClock
):
    stand.report(replicas=[replica()])
    unload = asyncio.ensure_future(repository.unload("digits", FAR))
    await clock.asleep()
    theirs = stand.overrides.held["digits"].revision + 1
    stand.report("worker-0", [replica(state=ReplicaState.DRAINING)], applied={"digits": theirs})
    stand.report("worker-1", [replica()])
    clock.advance(1)
    await clock.asleep()
    assert not unload.done()
    for worker_id in ("worker-0", "worker-1"):
        stand.report(worker_id, [replica(state=ReplicaState.UNLOADED)], applied={"digits": theirs})
    clock.advance(1)

    await unload


async def test_a_load_that_an_unload_has_overtaken_is_no_missing_model(stand: ControlStand, repository: Repository, clock: ManualClock):
    stand.report()
    load = asyncio.ensure_future(repository.load(LoadOrder(model="digits"), FAR))
    await clock.asleep()
    mine = stand.overrides.held["digits"].revision
    stand.report(replicas=[replica(state=ReplicaState.UNLOADED)], applied={"digits": mine + 1})
    clock.advance(1)

    with pytest.raises(Conflict, match="somebody else had model 'digits' unloaded meanwhile"):
        await load
