"""The life of a replica has exactly the steps of its table."""

from __future__ import annotations

import itertools

import pytest

from penstock.contracts.errors import InvalidTransition
from penstock.contracts.worker_status import ReplicaState
from services.worker.replica_state import COMING, FINAL, TRANSITIONS, ReplicaEvent, ReplicaLife

STORY = (ReplicaEvent.LOADED, ReplicaEvent.WARMED, ReplicaEvent.RETIRED, ReplicaEvent.EMPTIED)


def test_a_replica_that_nothing_happens_to_lives_from_loading_to_unloaded():
    life = ReplicaLife(changed_time=0.0)
    seen = [life.state]

    for at, event in enumerate(STORY, start=1):
        life = life.after(event, now=float(at))
        seen.append(life.state)

    assert [state.name for state in seen] == ["LOADING", "WARMING", "READY", "DRAINING", "UNLOADED"]
    assert life.changed_time == 4.0


@pytest.mark.parametrize(("state", "event"), [pair for pair in itertools.product(ReplicaState, ReplicaEvent) if pair not in TRANSITIONS])
def test_a_step_that_is_not_in_the_table_is_refused(state: ReplicaState, event: ReplicaEvent):
    with pytest.raises(InvalidTransition, match=state.name.lower()):
        ReplicaLife(state=state, changed_time=0.0).after(event, now=1.0)


def test_no_event_leaves_an_end():
    assert {state for state, _ in TRANSITIONS}.isdisjoint(FINAL)


def test_every_state_on_the_way_to_ready_can_fail_and_keeps_the_reason():
    for state in COMING:
        life = ReplicaLife(state=state, changed_time=0.0).after(ReplicaEvent.FAILED, now=2.0, reason="the warm-up failed")

        assert (life.state, life.reason) == (ReplicaState.FAILED, "the warm-up failed")


def test_a_reason_does_not_outlive_its_step():
    life = ReplicaLife(state=ReplicaState.LOADING, changed_time=0.0, reason="waiting for a slot")

    assert life.after(ReplicaEvent.LOADED, now=1.0).reason == ""
