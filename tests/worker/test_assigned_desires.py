"""What an assignment asks for, model by model."""

from __future__ import annotations

from random import Random

import pytest

from penstock.contracts.assignments import AssignedReplica, Assignment, Holding
from penstock.contracts.errors import Conflict, LoadFailed, Unavailable
from penstock.contracts.worker_status import ReplicaState
from services.worker.assigned_desires import AssignedDesires
from services.worker.attempts import Attempts, RetryTimes
from services.worker.desired_state import Observation
from services.worker.overrides import Override
from services.worker.reconciliation import Desire, Held, plan

READY, FAILED = ReplicaState.READY, ReplicaState.FAILED


def assigned(version: str, holding: Holding = Holding.ACTIVE, **rest: str) -> AssignedReplica:
    return AssignedReplica(**{"model": "m", "version": version, "digest": version * 64, "holding": holding} | rest)


def desires_of(*replicas: AssignedReplica, revision: int = 1) -> AssignedDesires:
    desires = AssignedDesires("w", Attempts(RetryTimes(), Random(7)))
    desires.take(Assignment(worker_id="w", revision=revision, replicas=replicas))
    return desires


async def seen(desires: AssignedDesires, now: float = 0.0, **overrides: Override) -> Observation:
    return await desires.seen(overrides, now=now, now_time=0.0)


def holding(desire: Desire, **states: ReplicaState) -> list[Held]:
    return [
        Held(replica_id=number, offer=desire.offers[version.removeprefix("v")], state=state)
        for number, (version, state) in enumerate(states.items(), start=1)
    ]


async def test_active_and_standby_versions_are_loaded_in_the_order_of_the_assignment():
    desire = (await seen(desires_of(assigned("2"), assigned("1", Holding.STANDBY)))).desires["m"]

    assert [offer.artefact.version for offer in plan(desire, []).load] == ["2", "1"]


async def test_models_come_in_the_order_of_the_assignment():
    observation = await seen(desires_of(assigned("1", model="z"), assigned("1", model="a"), assigned("2", model="z")))

    assert list(observation.desires) == ["z", "a"]


async def test_a_draining_version_stays_while_it_is_ready_and_is_not_loaded():
    before = (await seen(desires_of(assigned("1")))).desires["m"]
    desires = desires_of(assigned("1", Holding.DRAINING), assigned("2"))
    desire = (await seen(desires)).desires["m"]
    held = [*holding(before, v1=READY), Held(replica_id=2, offer=desire.offers["2"], state=READY)]

    assert [offer.artefact.version for offer in plan(desire, []).load] == ["2"]
    assert plan(desire, held).is_empty


async def test_what_is_not_named_goes_when_what_is_named_is_ready_and_not_while_it_may_still_come():
    before = (await seen(desires_of(assigned("1")))).desires["m"]
    desire = (await seen(desires_of(assigned("2")))).desires["m"]
    old = holding(before, v1=READY)
    new = desire.offers["2"]

    assert plan(desire, old).retire == ()
    assert plan(desire, [*old, Held(replica_id=2, offer=new, state=FAILED, is_passing=True)]).is_empty
    assert plan(desire, [*old, Held(replica_id=2, offer=new, state=FAILED)]).retire == (1,)
    assert plan(desire, [*old, Held(replica_id=2, offer=new, state=READY)]).retire == (1,)


async def test_what_is_not_named_goes_first_where_there_is_no_room_for_what_is_named():
    before = (await seen(desires_of(assigned("1"), assigned("2")))).desires["m"]
    desire = (await seen(desires_of(assigned("2", Holding.DRAINING), assigned("3")))).desires["m"]
    waiting = Held(replica_id=3, offer=desire.offers["3"], state=ReplicaState.LOADING, lacks_memory=True)

    assert plan(desire, [*holding(before, v1=READY, v2=READY), waiting]).retire == (1,)


async def test_the_same_version_with_other_settings_is_swapped():
    before = (await seen(desires_of(assigned("1")))).desires["m"]
    desire = (await seen(desires_of(assigned("1", config_json='{"max_batch_size": 4}')))).desires["m"]
    old = holding(before, v1=READY)

    assert [offer.settings_json for offer in plan(desire, old).load] == ['{"max_batch_size": 4}']
    assert plan(desire, [*old, Held(replica_id=2, offer=desire.offers["1"], state=READY)]).retire == (1,)


async def test_another_deployment_of_what_is_ready_changes_nothing_and_of_what_failed_tries_again():
    desires = desires_of(assigned("1", deployment_id="a"))
    first = (await seen(desires)).desires["m"]
    desires.take(Assignment(worker_id="w", revision=2, replicas=(assigned("1", deployment_id="b"),)))
    second = (await seen(desires)).desires["m"]

    assert plan(second, holding(first, v1=READY)).is_empty
    assert len(plan(second, holding(first, v1=FAILED)).load) == 1


async def test_where_a_version_is_named_twice_the_active_one_counts():
    twice = (assigned("1", Holding.STANDBY, config_json="{}"), assigned("1", Holding.ACTIVE), assigned("1", Holding.DRAINING))

    desire = (await seen(desires_of(*twice))).desires["m"]

    assert desire.offers["1"].settings_json == ""
    assert desire.unsettled == frozenset()


async def test_a_newer_revision_alone_does_not_try_again_what_was_refused():
    desires = desires_of(assigned("1"))
    first = (await seen(desires)).desires["m"]
    assert not desires.will_retry(first.offers["1"], LoadFailed("no"), now=0.0)

    desires.take(Assignment(worker_id="w", revision=2, replicas=(assigned("1"), assigned("2"))))
    second = (await seen(desires)).desires["m"]

    assert [offer.artefact.version for offer in plan(second, holding(first, v1=FAILED)).load] == ["2"]


async def test_what_could_not_be_fetched_is_offered_again_after_a_while():
    desires = desires_of(assigned("1"))
    first = (await seen(desires)).desires["m"]
    assert desires.will_retry(first.offers["1"], Unavailable("away"), now=0.0)
    failed = holding(first, v1=FAILED)

    assert plan((await seen(desires, now=0.1)).desires["m"], failed).load == ()
    assert len(plan((await seen(desires, now=2.0)).desires["m"], failed).load) == 1


async def test_versions_that_crashed_their_workers_are_given_up_and_other_overrides_mean_nothing():
    override = Override(model="m", revision=4, is_unloaded=True, failed_versions={"1": "crashed 3 workers"})

    observation = await seen(desires_of(assigned("1"), assigned("2", Holding.STANDBY)), m=override)

    steps = plan(observation.desires["m"], [])
    assert [offer.artefact.version for offer in steps.load] == ["2"]
    assert [reason for _, reason in steps.give_up] == ["crashed 3 workers"]
    assert observation.revisions == {}


async def test_everything_assigned_stays_on_the_disk_and_the_revision_is_reported():
    desires = desires_of(assigned("1"), assigned("2", Holding.STANDBY), assigned("3", Holding.DRAINING), revision=8)

    assert desires.digests == {version * 64 for version in "123"}
    assert (await seen(desires)).assignment_revision == 8


async def test_before_anything_is_heard_nothing_is_known_and_without_an_assignment_nothing_is_wanted():
    desires = AssignedDesires("w", Attempts(RetryTimes(), Random(7)))
    before = await seen(desires)
    desires.know()

    assert before.is_waiting
    assert not (await seen(desires)).is_waiting
    desires.take(None)
    assert (await seen(desires)).desires == {}


def test_loads_and_unloads_past_the_controller_are_refused():
    with pytest.raises(Conflict, match="assigned by the controller"):
        desires_of().wish(Override(model="m", is_unloaded=True))
