"""A changed configuration goes through the fleet worker by worker, and takes nothing away before something else is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.assignments import AssignedReplica, Holding
from services.controller.placement_plan import plan_placement
from services.controller.placement_values import Action, Condition, Plan, Wanted, WorkerView

NAME = ("m", "1")
OLD, NEW = '{"batching":{"max_size":1}}', '{"batching":{"max_size":2}}'


def wanted(config: str = NEW, replicas: int = 2, **changes: object) -> Wanted:
    held = Wanted(deployment_id="d", model="m", version="1", digest="f" * 64, config_json=config, replicas=replicas, memory_bytes=10)
    return replace(held, **changes)  # type: ignore[arg-type]


def holding(name: str, config: str = OLD, budget: int = 30, condition: Condition | None = Condition.READY, *, serves: bool = False):
    """Return a worker that was assigned a configuration, in what condition it is, and whether a former one serves there."""
    assigned = AssignedReplica(model="m", version="1", digest="f" * 64, config_json=config, deployment_id="d")
    return WorkerView(
        worker_id=name,
        budget_bytes=budget,
        replicas={} if condition is None else {NAME: condition},
        former=frozenset({NAME} if serves else ()),
        assigned=(assigned,),
    )


def empty(name: str, budget: int = 30) -> WorkerView:
    return WorkerView(worker_id=name, budget_bytes=budget)


def planned(wish: Wanted, *workers: WorkerView) -> Plan:
    return plan_placement([wish], workers, now=1_000.0)


def configs(plan: Plan) -> dict[str, list[str]]:
    return {name: [one.config_json for one in replicas] for name, replicas in plan.assigned.items()}


def test_one_worker_changes_first_and_the_others_stay_as_they_are():
    plan = planned(wanted(replicas=3), holding("a"), holding("b"), holding("c"))

    assert configs(plan) == {"a": [NEW], "b": [OLD], "c": [OLD]}


@pytest.mark.parametrize("condition", [None, Condition.COMING])
def test_the_next_one_waits_until_the_one_before_is_ready(condition: Condition | None):
    changing = holding("a", NEW, condition=condition, serves=True)

    assert configs(planned(wanted(), changing, holding("b"))) == {"a": [NEW], "b": [OLD]}
    assert configs(planned(wanted(), holding("a", NEW), holding("b"))) == {"a": [NEW], "b": [NEW]}


def test_a_change_that_failed_on_the_first_worker_goes_no_further_and_takes_nothing_away():
    failed = holding("a", NEW, condition=Condition.FAILED, serves=True)
    plan = planned(wanted(), failed, holding("b"))

    assert configs(plan) == {"a": [NEW], "b": [OLD]}
    assert {one.holding for replicas in plan.assigned.values() for one in replicas} == {Holding.ACTIVE}


def test_another_worker_shows_whether_the_change_fails_everywhere():
    failed = holding("a", NEW, condition=Condition.FAILED, serves=True)

    assert configs(planned(wanted(), failed, holding("b"), empty("c"))) == {"a": [NEW], "b": [OLD], "c": [NEW]}
    assert configs(planned(wanted(), failed, holding("b"), holding("c", NEW))) == {"a": [NEW], "b": [NEW], "c": [NEW]}


def test_who_could_not_change_goes_when_enough_others_have_changed():
    failed = holding("a", NEW, condition=Condition.FAILED, serves=True)
    plan = planned(wanted(), failed, holding("b", NEW), holding("c", NEW))

    assert configs(plan) == {"a": [], "b": [NEW], "c": [NEW]}


def test_going_back_to_what_serves_begins_where_the_change_had_failed():
    failed = holding("b", NEW, condition=Condition.FAILED, serves=True)

    assert configs(planned(wanted(OLD), holding("a", OLD), failed)) == {"a": [OLD], "b": [OLD]}


def test_what_does_not_serve_yet_changes_at_once():
    plan = planned(wanted(), holding("a", condition=Condition.COMING), holding("b", condition=Condition.FAILED))

    assert configs(plan) == {"a": [NEW], "b": [NEW]}


def test_without_room_for_both_another_worker_takes_the_place_before_the_first_one_leaves():
    full, other = holding("a", budget=15), empty("b", budget=15)
    plan = planned(wanted(replicas=1), full, other)
    assert configs(plan) == {"a": [OLD], "b": [NEW]}
    assert [one.holding for one in plan.assigned["a"]] == [Holding.DRAINING]

    leaving = replace(full, assigned=plan.assigned["a"])
    assert configs(planned(wanted(replicas=1), leaving, holding("b", NEW, 15, Condition.COMING))) == {"a": [OLD], "b": [NEW]}
    assert configs(planned(wanted(replicas=1), leaving, holding("b", NEW, 15))) == {"a": [], "b": [NEW]}


def test_without_room_anywhere_the_change_waits_and_says_so():
    plan = planned(wanted(), holding("a", budget=15), holding("b", budget=15))

    assert configs(plan) == {"a": [OLD], "b": [OLD]}
    [waiting] = [one for one in plan.placements if one.action is Action.UNSCHEDULABLE]
    assert "its configuration has changed" in waiting.reason


def test_while_both_are_there_the_room_of_both_is_taken():
    changing = holding("a", NEW, budget=25, condition=Condition.COMING, serves=True)
    late = Wanted(deployment_id="late", model="late", version="1", memory_bytes=10)
    plan = plan_placement([wanted(replicas=1), late], [changing], now=1_000.0)

    assert [one.deployment_id for one in plan.assigned["a"]] == ["d"]


class Fleet:
    """Workers that load beside what serves, one step after the other, and die."""

    def __init__(self, count: int, budget: int) -> None:
        self.serving: dict[str, str] = {f"w{number}": "" for number in range(count)}
        self.assigned: dict[str, tuple[AssignedReplica, ...]] = dict.fromkeys(self.serving, ())
        self.budget = budget

    def views(self) -> list[WorkerView]:
        return [self.view(name) for name in self.serving]

    def view(self, name: str) -> WorkerView:
        given = next((one.config_json for one in self.assigned[name]), None)
        is_as_given = bool(self.serving[name]) and given in (None, self.serving[name])
        return WorkerView(
            worker_id=name,
            budget_bytes=self.budget,
            replicas={NAME: Condition.READY} if is_as_given else {},
            former=frozenset({NAME}) if self.serving[name] and not is_as_given else frozenset(),
            assigned=self.assigned[name],
        )

    def told(self, plan: Plan) -> None:
        self.assigned = dict(plan.assigned)
        for name, replicas in self.assigned.items():
            if not replicas:
                self.serving[name] = ""

    def load(self, name: str) -> None:
        self.serving[name] = next(
            (one.config_json for one in self.assigned[name] if one.holding is not Holding.DRAINING), self.serving[name]
        )

    def die(self, name: str) -> None:
        self.serving[name] = ""

    def count(self, config: str = "") -> int:
        return sum(held == config if config else bool(held) for held in self.serving.values())


@settings(max_examples=30)
@given(
    replicas=st.integers(1, 4), spare=st.integers(0, 2), budget=st.sampled_from([15, 30]), order=st.lists(st.integers(0, 5), max_size=20)
)
def test_in_whatever_order_workers_load_as_many_serve_as_are_wanted_and_all_change_in_the_end(
    replicas: int, spare: int, budget: int, order: Sequence[int]
):
    fleet = Fleet(replicas + spare, budget)
    rolled(fleet, wanted(OLD, replicas), [])
    assert fleet.count(OLD) == replicas

    served = rolled(fleet, wanted(NEW, replicas), order)

    assert min(served) >= replicas
    assert fleet.count(NEW) == (replicas if budget == 30 or spare else 0)


@settings(max_examples=30)
@given(replicas=st.integers(2, 4), victim=st.integers(0, 3), after=st.integers(0, 6))
def test_a_worker_that_dies_on_the_way_costs_one_replica_at_most(replicas: int, victim: int, after: int):
    fleet = Fleet(replicas, 30)
    rolled(fleet, wanted(OLD, replicas), [])
    served = rolled(fleet, wanted(NEW, replicas), [], death=(after, f"w{victim % replicas}"))

    assert min(served) >= replicas - 1
    assert fleet.count(NEW) == replicas


def rolled(fleet: Fleet, wish: Wanted, order: Sequence[int], death: tuple[int, str] | None = None) -> list[int]:
    """Plan and let workers load by turns until nothing changes; return how many served after every step."""
    names = list(fleet.serving)
    served: list[int] = []
    for turn, number in enumerate([*order, *range(len(names) * (len(names) + 4))]):
        fleet.told(planned(wish, *fleet.views()))
        served.append(fleet.count())
        if death is not None and turn == death[0]:
            fleet.die(death[1])
        fleet.load(names[number % len(names)])
        served.append(fleet.count())
    return served
