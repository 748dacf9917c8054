from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contracts.assignments import AssignedReplica, Holding
from services.controller.placement_plan import DRAIN_SECONDS, plan_placement
from services.controller.placement_values import Action, Condition, Plan, Purpose, Wanted, WorkerView

NOW = 1_000.0


def wanted(name: str, **changes: object) -> Wanted:
    return replace(Wanted(deployment_id=name, model=name, version="1", memory_bytes=10), **changes)  # type: ignore[arg-type]


def worker(name: str, budget: int = 30, **changes: object) -> WorkerView:
    return replace(WorkerView(worker_id=name, budget_bytes=budget), **changes)  # type: ignore[arg-type]


def planned(deployments: Sequence[Wanted], workers: Sequence[WorkerView]) -> Plan:
    return plan_placement(deployments, workers, now=NOW)


def followed(plan: Plan, workers: Sequence[WorkerView], condition: Condition = Condition.READY) -> list[WorkerView]:
    """Return the workers after they have done what a plan says."""
    return [
        replace(
            view,
            assigned=plan.assigned[view.worker_id],
            replicas={
                (one.model, one.version): view.replicas.get((one.model, one.version), condition) for one in plan.assigned[view.worker_id]
            },
        )
        for view in workers
    ]


def held(plan: Plan, holding: Holding | None = None) -> dict[str, list[str]]:
    return {worker_id: [one.model for one in replicas if holding in (None, one.holding)] for worker_id, replicas in plan.assigned.items()}


def actions(plan: Plan) -> Counter[Action]:
    return Counter(placement.action for placement in plan.placements)


def test_replicas_go_to_the_workers_with_the_most_room():
    plan = planned([wanted("a", replicas=2), wanted("b")], [worker("w1", 20), worker("w2", 30), worker("w3", 25)])

    assert held(plan) == {"w1": ["b"], "w2": ["a"], "w3": ["a"]}
    assert all(placement.reason for placement in plan.placements)


def test_workers_without_a_limit_share_by_number():
    plan = planned([wanted(name) for name in "abcd"], [worker("w1", 1 << 62), worker("w2", 1 << 62)])

    assert {name: len(models) for name, models in held(plan).items()} == {"w1": 2, "w2": 2}


def test_what_stands_stays_although_it_could_stand_better():
    workers = followed(planned([wanted("a"), wanted("b")], [worker("w1", 30)]), [worker("w1", 30)])
    plan = planned([wanted("a"), wanted("b")], [*workers, worker("w2", 1_000)])

    assert held(plan) == {"w1": ["a", "b"], "w2": []}
    assert actions(plan) == {Action.KEEP: 2}


def test_a_deployment_that_fits_nowhere_is_unschedulable_with_its_reason():
    plan = planned([wanted("a", memory_bytes=31), wanted("b")], [worker("w1", 30)])

    [nowhere] = [placement for placement in plan.placements if placement.action is Action.UNSCHEDULABLE]
    assert (nowhere.deployment_id, nowhere.worker_id) == ("a", "")
    assert "most room" in nowhere.reason
    assert held(plan) == {"w1": ["b"]}


def test_more_replicas_than_workers_are_unschedulable():
    plan = planned([wanted("a", replicas=3)], [worker("w1"), worker("w2")])

    assert actions(plan) == {Action.LOAD: 2, Action.UNSCHEDULABLE: 1}


def test_an_accelerator_is_asked_for_by_name():
    plan = planned([wanted("a", gpu_type="l4"), wanted("b", gpu_type="h100")], [worker("w1"), worker("w2", gpu_type="l4")])

    assert held(plan) == {"w1": [], "w2": ["a"]}
    assert actions(plan)[Action.UNSCHEDULABLE] == 1


def test_the_version_of_before_is_held_on_standby():
    plan = planned([wanted("a"), wanted("b", purpose=Purpose.RESERVE)], [worker("w1")])

    assert held(plan, Holding.STANDBY) == {"w1": ["b"]}


def test_idle_deployments_leave_for_serving_ones_the_longest_unused_first():
    before = [wanted("old", purpose=Purpose.IDLE, used_time=1.0), wanted("new", purpose=Purpose.IDLE, used_time=2.0), wanted("s")]
    workers = followed(planned(before, [worker("w1")]), [worker("w1")])
    plan = planned([*before, wanted("coming")], workers)

    assert sorted(held(plan)["w1"]) == ["coming", "new", "s"]
    assert [placement.deployment_id for placement in plan.placements if placement.action is Action.UNLOAD] == ["old"]


def test_what_was_asked_for_comes_in_the_place_of_the_longest_unused_and_leaves_for_what_serves():
    before = [wanted("old", purpose=Purpose.IDLE, used_time=1.0), wanted("new", purpose=Purpose.IDLE, used_time=2.0), wanted("s")]
    workers = followed(planned(before, [worker("w1")]), [worker("w1")])
    asked = wanted("asked", purpose=Purpose.ASKED, used_time=3.0)
    plan = planned([*before, asked], workers)

    assert held(plan, Holding.ACTIVE) == {"w1": ["s", "asked"]}
    assert held(plan, Holding.STANDBY) == {"w1": ["new"]}
    assert planned([*before, asked, replace(asked, deployment_id="late", model="late")], workers).of("late")[0].action is Action.LOAD
    assert planned([replace(one, purpose=Purpose.SERVE) for one in before] + [asked], workers).of("asked")[0].action is Action.UNSCHEDULABLE


def test_of_what_several_workers_could_unload_the_longest_unused_leaves():
    workers = [worker("w1"), worker("w2")]
    before = [wanted(name, purpose=Purpose.IDLE, used_time=time, memory_bytes=30) for name, time in (("new", 2.0), ("old", 1.0))]
    plan = planned([*before, wanted("asked", purpose=Purpose.ASKED, memory_bytes=30)], followed(planned(before, workers), workers))

    assert [placement.deployment_id for placement in plan.placements if placement.action is Action.UNLOAD] == ["old"]


def test_what_a_rollback_needs_never_leaves_for_something_new():
    before = [wanted("reserved", purpose=Purpose.RESERVE, memory_bytes=20)]
    workers = followed(planned(before, [worker("w1")]), [worker("w1")])
    plan = planned([*before, wanted("coming", memory_bytes=20)], workers)

    assert held(plan) == {"w1": ["reserved"]}
    assert actions(plan)[Action.UNSCHEDULABLE] == 1


def test_a_draining_worker_keeps_what_it_has_until_others_are_ready():
    deployments = [wanted("a", replicas=2)]
    first = [worker("w1"), worker("w2"), worker("w3")]
    running = followed(planned(deployments, first), first)
    draining = [replace(view, draining=view.worker_id == "w1") for view in running]

    surge = planned(deployments, draining)
    assert held(surge, Holding.ACTIVE) == {"w1": [], "w2": ["a"], "w3": ["a"]}
    assert held(surge, Holding.DRAINING)["w1"] == ["a"]
    loading = followed(surge, draining, Condition.COMING)
    assert held(planned(deployments, loading)) == held(surge)
    ready = [replace(view, replicas=dict.fromkeys(view.replicas, Condition.READY)) for view in loading]
    assert held(planned(deployments, ready)) == {"w1": [], "w2": ["a"], "w3": ["a"]}


def test_fewer_replicas_leave_at_once_when_the_others_are_ready():
    workers = [worker("w1"), worker("w2")]
    running = followed(planned([wanted("a", replicas=2)], workers), workers)

    assert held(planned([wanted("a")], running)) == {"w1": ["a"], "w2": []}


def test_a_replica_that_failed_stays_for_the_worker_to_try_and_another_stands_in():
    workers = [worker("w1"), worker("w2")]
    failed = followed(planned([wanted("a")], workers), workers, Condition.FAILED)
    plan = planned([wanted("a")], failed)

    assert held(plan) == {"w1": ["a"], "w2": ["a"]}
    recovered = [replace(view, replicas=dict.fromkeys(view.replicas, Condition.READY)) for view in followed(plan, failed)]
    assert sorted(map(len, held(planned([wanted("a")], recovered)).values())) == [0, 1]


def test_what_failed_everywhere_is_not_tried_a_second_time():
    workers = [worker("w1")]
    failed = followed(planned([wanted("a")], workers), workers, Condition.FAILED)
    plan = planned([wanted("a")], failed)

    assert actions(plan) == {Action.KEEP: 1, Action.UNSCHEDULABLE: 1}


@pytest.mark.parametrize(("age", "is_there"), [(0.0, True), (DRAIN_SECONDS, False)])
def test_a_deleted_deployment_drains_for_a_while_and_goes(age: float, is_there: bool):
    workers = followed(planned([wanted("a")], [worker("w1")]), [worker("w1")])
    plan = planned([wanted("a", purpose=Purpose.DRAIN, since_time=NOW - age)], workers)

    assert held(plan, Holding.DRAINING) == {"w1": ["a"] if is_there else []}
    assert actions(plan) == {Action.DRAIN if is_there else Action.UNLOAD: 1}


def test_what_nobody_wants_is_unloaded():
    stranger = AssignedReplica(model="x", version="1", digest="", deployment_id="x")
    plan = planned([], [worker("w1", assigned=(stranger,))])

    assert held(plan) == {"w1": []}
    assert actions(plan) == {Action.UNLOAD: 1}


PURPOSES = st.sampled_from(Purpose)


@st.composite
def fleets(draw: st.DrawFn) -> tuple[list[Wanted], list[WorkerView]]:
    """Draw deployments, and workers that hold some of them within their budgets, in any condition."""
    deployments = [
        wanted(
            f"d{number}",
            purpose=draw(PURPOSES),
            replicas=draw(st.integers(1, 3)),
            memory_bytes=draw(st.integers(0, 12)),
            used_time=float(draw(st.integers(0, 3))),
            since_time=draw(st.sampled_from([0.0, NOW])),
        )
        for number in range(draw(st.integers(0, 6)))
    ]
    workers = []
    for number in range(draw(st.integers(0, 4))):
        budget = draw(st.integers(0, 30))
        assigned, replicas, used = [], {}, 0
        for each in deployments:
            if draw(st.booleans()) and used + each.memory_bytes <= budget:
                used += each.memory_bytes
                assigned.append(AssignedReplica(model=each.model, version="1", digest="", deployment_id=each.deployment_id))
                condition = draw(st.none() | st.sampled_from(Condition))
                replicas |= {(each.model, "1"): condition} if condition else {}
        workers.append(worker(f"w{number}", budget, draining=draw(st.booleans()), assigned=tuple(assigned), replicas=replicas))
    return deployments, workers


@given(fleets())
def test_the_budget_is_never_exceeded(fleet: tuple[list[Wanted], list[WorkerView]]):
    deployments, workers = fleet
    need = {each.deployment_id: each.memory_bytes for each in deployments}
    plan = planned(deployments, workers)

    for view in workers:
        assert sum(need[one.deployment_id] for one in plan.assigned[view.worker_id]) <= view.budget_bytes


@given(fleets(), st.integers())
def test_the_plan_does_not_depend_on_the_order_of_what_it_is_given(fleet: tuple[list[Wanted], list[WorkerView]], seed: int):
    deployments, workers = fleet
    source = random.Random(seed)

    assert planned(deployments, workers) == planned(source.sample(deployments, len(deployments)), source.sample(workers, len(workers)))


@given(fleets())
def test_nothing_moves_once_the_plan_is_followed(fleet: tuple[list[Wanted], list[WorkerView]]):
    deployments, workers = fleet
    for _ in range(4):
        workers = followed(planned(deployments, workers), workers)
    settled = planned(deployments, workers)

    assert {view.worker_id: view.assigned for view in workers} == settled.assigned
    assert not {Action.LOAD} & set(actions(settled))


@given(fleets())
def test_a_serving_replica_leaves_only_for_a_cause(fleet: tuple[list[Wanted], list[WorkerView]]):
    deployments, workers = fleet
    plan = planned(deployments, workers)
    serving = {each.deployment_id: each for each in deployments if each.purpose in (Purpose.SERVE, Purpose.RESERVE)}

    for view in workers:
        kept = {one.deployment_id for one in plan.assigned[view.worker_id]}
        for one in view.assigned:
            ready = view.replicas.get((one.model, "1")) is Condition.READY
            if one.deployment_id in serving and ready and one.deployment_id not in kept:
                others = [
                    other
                    for other in workers
                    if other is not view
                    and other.replicas.get((one.model, "1")) is Condition.READY
                    and one.deployment_id in {replica.deployment_id for replica in plan.assigned[other.worker_id]}
                ]
                assert len(others) >= serving[one.deployment_id].replicas


@given(fleets())
def test_no_deployment_has_more_serving_replicas_than_wanted_or_two_on_a_worker(fleet: tuple[list[Wanted], list[WorkerView]]):
    deployments, workers = fleet
    plan = planned(deployments, workers)
    for each in deployments:
        places = [
            worker_id
            for worker_id, replicas in plan.assigned.items()
            for one in replicas
            if one.deployment_id == each.deployment_id and one.holding is not Holding.DRAINING
        ]
        failed = [view.worker_id for view in workers if view.replicas.get((each.model, "1")) is Condition.FAILED]

        assert len(set(places)) == len(places)
        assert len([place for place in places if place not in failed]) <= each.replicas
