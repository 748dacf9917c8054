"""The plan for a model loads first, retires later, and never gives up what serves for something that failed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.contracts.model_config_scheduling import All, Latest, Specific, VersionPolicy
from penstock.contracts.worker_status import ReplicaState
from services.worker.artefacts import Artefact, FileMark
from services.worker.reconciliation import Desire, Held, Offer, Plan, is_settled, plan, wanted_versions

READY, LOADING, FAILED, DRAINING, UNLOADED = (
    ReplicaState.READY,
    ReplicaState.LOADING,
    ReplicaState.FAILED,
    ReplicaState.DRAINING,
    ReplicaState.UNLOADED,
)


def offer(version: str, content: int = 1, *, revision: int = 0) -> Offer:
    mark = FileMark(path=f"{version}/model.onnx", device=1, inode=content, size=1, modified_ns=0, changed_ns=0, links=1)
    return Offer(artefact=Artefact(model="m", version=version, model_folder=Path("/r/m"), files=(mark,)), revision=revision)


def desire(*offers: Offer, policy: VersionPolicy | None = None, **rest: object) -> Desire:
    return Desire(offers={one.artefact.version: one for one in offers}, policy=policy or Latest(), **rest)  # type: ignore[arg-type]


def held(*replicas: tuple[Offer, ReplicaState]) -> list[Held]:
    return [Held(replica_id=number, offer=one, state=state) for number, (one, state) in enumerate(replicas, start=1)]


def test_only_the_newest_version_is_loaded_by_default():
    assert plan(desire(offer("9"), offer("10")), []).load == (offer("10"),)


def test_all_and_specific_load_what_they_name():
    assert len(plan(desire(offer("1"), offer("2"), policy=All()), []).load) == 2
    assert plan(desire(offer("1"), offer("2"), policy=Specific(versions=("1", "7"))), []).load == (offer("1"),)


def test_nothing_is_planned_twice_while_a_load_is_under_way():
    assert plan(desire(offer("1")), held((offer("1"), LOADING))).is_empty


def test_the_old_version_stays_until_the_new_one_is_ready_and_goes_then():
    want = desire(offer("1"), offer("2"))

    before = plan(want, held((offer("1"), READY), (offer("2"), LOADING)))
    after = plan(want, held((offer("1"), READY), (offer("2"), READY)))

    assert (before.retire, after.retire) == ((), (1,))


def test_a_version_that_fails_leaves_the_old_one_serving():
    want = desire(offer("1"), offer("2"))

    state = held((offer("1"), READY), (offer("2"), FAILED))

    assert plan(want, state).is_empty
    assert is_settled(want, state)


def test_a_worker_that_starts_with_a_failing_version_loads_the_one_before():
    assert plan(desire(offer("1"), offer("2")), held((offer("2"), FAILED))).load == (offer("1"),)


def test_a_version_that_was_given_up_elsewhere_is_reported_and_the_one_before_is_loaded():
    want = desire(offer("1"), offer("2"), given_up={"2": "crashed 5 workers"})

    steps = plan(want, [])

    assert steps.load == (offer("1"),)
    assert steps.give_up == ((offer("2"), "crashed 5 workers"),)


def test_a_ready_version_that_is_given_up_goes_when_another_serves():
    want = desire(offer("1"), offer("2"), given_up={"2": "crashed 5 workers"})

    while_loading = plan(want, held((offer("2"), READY), (offer("2"), FAILED), (offer("1"), LOADING)))
    then = plan(want, held((offer("2"), READY), (offer("2"), FAILED), (offer("1"), READY)))

    assert (while_loading.retire, then.retire) == ((), (1,))


def test_changed_files_are_loaded_beside_the_old_ones_and_swapped():
    want = desire(offer("1", content=2))

    first = plan(want, held((offer("1"), READY)))
    swapped = plan(want, held((offer("1"), READY), (offer("1", content=2), READY)))

    assert (first.load, first.retire) == ((offer("1", content=2),), ())
    assert (swapped.load, swapped.retire) == ((), (1,))


def test_changed_files_that_fail_leave_the_old_content_serving_even_with_an_older_version_at_hand():
    want = desire(offer("0"), offer("1", content=2))

    assert plan(want, held((offer("1"), READY), (offer("1", content=2), FAILED))).is_empty


def test_an_older_version_goes_although_the_newer_one_serves_older_files_because_its_new_ones_failed():
    want = desire(offer("0"), offer("1", content=2))

    assert plan(want, held((offer("0"), READY), (offer("1"), READY), (offer("1", content=2), FAILED))).retire == (1,)


def test_a_failed_version_is_tried_again_for_other_files_or_a_newer_override_only():
    failed = held((offer("1"), FAILED))

    assert plan(desire(offer("1")), failed).load == ()
    assert plan(desire(offer("1", content=2)), failed).load == (offer("1", content=2),)
    assert plan(desire(offer("1", revision=7)), failed).load == (offer("1", revision=7),)


def test_a_newer_override_does_not_load_again_what_is_ready():
    assert plan(desire(offer("1", revision=7)), held((offer("1"), READY))).is_empty


def test_another_configuration_is_another_content():
    configured = replace(offer("1"), config_json="{}")

    assert plan(desire(configured), held((offer("1"), READY))).load == (configured,)


def test_a_removed_version_drains_when_nothing_else_is_coming():
    assert plan(desire(), held((offer("1"), READY))).retire == (1,)
    assert plan(desire(offer("2")), held((offer("1"), READY), (offer("2"), LOADING))).retire == ()
    assert plan(desire(offer("2")), held((offer("1"), READY), (offer("2"), FAILED))).retire == (1,)


def test_a_version_that_is_being_written_again_keeps_serving():
    want = Desire(unsettled=frozenset({"1"}))

    assert plan(want, held((offer("1"), READY))).is_empty


def test_a_load_whose_files_changed_is_abandoned_for_the_new_files():
    steps = plan(desire(offer("1", content=2)), held((offer("1"), LOADING)))

    assert (steps.abandon, steps.load) == ((1,), (offer("1", content=2),))


def test_specific_keeps_the_old_version_when_the_named_one_fails():
    want = desire(offer("1"), offer("2"), policy=Specific(versions=("2",)))

    assert plan(want, held((offer("1"), READY), (offer("2"), FAILED))).retire == ()
    assert plan(want, held((offer("1"), READY), (offer("2"), READY))).retire == (1,)


def test_an_unloaded_model_goes_at_once_and_is_reported():
    want = desire(offer("1"), offer("2"), offer("3"), policy=All(), is_unloaded=True)

    steps = plan(want, held((offer("1"), READY), (offer("2"), LOADING)))

    assert (steps.retire, steps.abandon, steps.load) == ((1,), (2,), ())
    assert steps.leave_unloaded == (offer("3"),)


def test_ended_replicas_are_forgotten_when_they_say_nothing_any_more():
    assert plan(desire(), held((offer("1"), FAILED))).forget == (1,)
    assert plan(desire(offer("1")), held((offer("1"), UNLOADED), (offer("1"), READY))).forget == (1,)
    assert plan(desire(offer("1")), held((offer("1"), READY), (offer("1", content=2), FAILED))).forget == (2,)
    assert plan(desire(offer("1", content=2)), held((offer("1"), READY), (offer("1", content=2), FAILED))).forget == ()
    assert plan(desire(offer("1"), offer("2")), held((offer("1"), UNLOADED), (offer("2"), READY))).forget == ()


def stepped(state: list[Held], steps: Plan, fails: frozenset[Offer], number: int) -> list[Held]:
    """Do what a plan says, and let every load that is under way end."""
    next_state = [
        replace(
            one,
            state=DRAINING
            if one.replica_id in steps.retire
            else UNLOADED
            if one.replica_id in steps.abandon or one.state is DRAINING
            else (FAILED if one.offer in fails else READY)
            if one.is_coming
            else one.state,
        )
        for one in state
        if one.replica_id not in steps.forget
    ]
    for index, one in enumerate(steps.load):
        next_state.append(Held(replica_id=number + index, offer=one, state=LOADING))
    for index, (one, _) in enumerate(steps.give_up):
        next_state.append(Held(replica_id=number + 100 + index, offer=one, state=FAILED))
    for index, one in enumerate(steps.leave_unloaded):
        next_state.append(Held(replica_id=number + 200 + index, offer=one, state=UNLOADED))
    return next_state


offers = st.builds(offer, st.sampled_from("1234"), st.integers(1, 2), revision=st.integers(0, 1))
desires = st.builds(
    lambda given, policy, unloaded, up: desire(*given, policy=policy, is_unloaded=unloaded, given_up=up),
    st.lists(offers, max_size=4),
    st.sampled_from([Latest(), Latest(count=2), All(), Specific(versions=("2", "3"))]),
    st.booleans(),
    st.dictionaries(st.sampled_from("1234"), st.just("given up"), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(desires, min_size=1, max_size=4), st.frozensets(offers, max_size=6))
def test_every_desire_settles_in_a_few_steps_and_service_is_never_interrupted(wishes: list[Desire], fails: frozenset[Offer]):
    state: list[Held] = []
    number = 1
    for wish in wishes:
        for _ in range(12):
            steps = plan(wish, state)
            was_served = any(one.is_ready for one in state)
            state = stepped(state, steps, fails, number)
            number += 1000
            can_be_served = wish.existing and not wish.is_unloaded and wanted_versions(wish, state)
            assert not (was_served and can_be_served) or any(one.is_ready for one in state)
        assert plan(wish, state).is_empty
        assert is_settled(wish, state)
        wanted = wanted_versions(wish, state)
        if not wish.is_unloaded:
            assert {one.version for one in state if one.is_ready} >= set(wanted)
