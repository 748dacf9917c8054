"""Whether a model exists is not denied while workers that may have it are only starting."""

from __future__ import annotations

import pytest

from penstock.contracts.errors import InvalidInput, ModelNotFound, NoReadyReplica
from penstock.contracts.worker_status import WorkerStatus
from tests.mesh.conftest import replica, status, table_of


@pytest.mark.parametrize("went", [None, status("a", instance="a-again", settled=False)], ids=["ended", "started again"])
def test_a_model_of_a_worker_that_is_started_again_is_not_unknown_meanwhile(went: WorkerStatus | None):
    table = table_of(status("a", replica()))
    table.apply("a", went)

    with pytest.raises(NoReadyReplica):
        table.resolve("echo")
    with pytest.raises(ModelNotFound):
        table.resolve("other")
    table.apply("a", status("a", replica(model="other"), instance="a-again", revision=2, settled=False))
    with pytest.raises(NoReadyReplica):  # it loads one after the other, and one that is being copied later than the rest
        table.resolve("echo")
    table.apply("a", status("a", replica(model="other"), instance="a-again", revision=3))
    with pytest.raises(ModelNotFound):
        table.resolve("echo")


def test_a_worker_that_dies_again_before_it_has_said_everything_is_still_missed_for_all_that_it_had():
    table = table_of(status("a", replica(), replica(model="late", replica_id=2)))
    table.apply("a", status("a", instance="a-again", settled=False))
    table.apply("a", status("a", replica(), instance="a-again", revision=2, settled=False))
    table.apply("a", None)

    with pytest.raises(NoReadyReplica):
        table.resolve("late")


def test_a_model_that_a_running_worker_gave_up_is_unknown():
    table = table_of(status("a", replica()))
    table.apply("a", status("a", revision=2))

    with pytest.raises(ModelNotFound):
        table.resolve("echo")


def test_while_all_workers_are_only_starting_nobody_is_told_that_a_model_does_not_exist():
    table = table_of(status("a", settled=False), status("b", settled=False))

    with pytest.raises(NoReadyReplica) as refused:
        table.resolve("echo")
    assert refused.value.reason == "MODEL_LOADING"
    with pytest.raises(InvalidInput):
        table.resolve("../echo")

    table.apply("a", status("a", revision=2))
    table.apply("a", status("a", revision=3, settled=False))  # loads something else
    with pytest.raises(ModelNotFound):
        table.resolve("echo")
