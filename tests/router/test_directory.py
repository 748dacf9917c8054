import pytest

from penstock.contracts.errors import InvalidInput, ModelNotFound, NoReadyReplica, NotImplementedHere, VersionNotFound
from penstock.contracts.worker_status import ReplicaState
from services.router.directory import EXTENSIONS, Directory
from tests.router.control_stand import ControlStand, control_stand, replica


@pytest.fixture
def stand() -> ControlStand:
    return control_stand()


@pytest.fixture
def directory(stand: ControlStand) -> Directory:
    return stand.control.directory


def test_metadata_names_server_version_and_the_extensions_that_work(directory: Directory):
    metadata = directory.server_metadata()

    assert (metadata.name, metadata.version) == ("penstock", "9.9.9")
    assert tuple(metadata.extensions) == EXTENSIONS
    assert not {"sequence", "system_shared_memory"} & set(metadata.extensions)


def test_the_server_is_ready_once_a_worker_has_settled(stand: ControlStand, directory: Directory):
    assert not directory.server_ready()
    stand.report("worker-0", settled=False)
    assert not directory.server_ready()
    stand.report("worker-1", settled=True)

    assert directory.server_ready()


def test_a_model_that_failed_to_load_does_not_make_the_server_unready(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica(state=ReplicaState.FAILED, reason="corrupt")])

    assert directory.server_ready()


def test_only_draining_workers_make_the_server_unready(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica()], draining=True)

    assert not directory.server_ready()


def test_a_draining_router_is_not_ready_and_neither_are_its_models(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica()])
    assert directory.model_ready("digits")
    directory.begin_drain()

    assert directory.is_draining
    assert not directory.server_ready()
    assert not directory.model_ready("digits")


@pytest.mark.parametrize(
    ("model", "version", "expected"),
    [("digits", "", True), ("digits", "1", True), ("digits", "2", False), ("digits", "9", False), ("nothing", "", False)],
)
def test_a_model_is_ready_when_something_serves_the_name(
    stand: ControlStand, directory: Directory, model: str, version: str, expected: bool
):
    stand.report(replicas=[replica(), replica(version="2", state=ReplicaState.LOADING)])

    assert directory.model_ready(model, version) is expected


def test_a_name_that_no_model_can_have_is_refused(directory: Directory):
    with pytest.raises(InvalidInput):
        directory.model_ready("../x")


def test_metadata_lists_ready_versions_in_order_and_the_signature(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica(version="10"), replica(version="9"), replica(version="11", state=ReplicaState.FAILED)])
    metadata = directory.model_metadata("digits")

    assert list(metadata.versions) == ["9", "10"]
    assert metadata.platform == "onnxruntime_onnx"
    assert [(one.name, one.datatype, list(one.shape)) for one in metadata.inputs] == [("x", "FP32", [-1, 4])]
    assert [(one.name, one.datatype, list(one.shape)) for one in metadata.outputs] == [("y", "INT64", [-1])]


def test_metadata_of_one_version_names_only_that(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica(version="1"), replica(version="2")])

    assert list(directory.model_metadata("digits", "1").versions) == ["1"]


def test_the_configuration_is_what_the_worker_completed(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica()])
    config = directory.model_config("digits").config

    assert (config.name, config.max_batch_size) == ("digits", 8)


def test_a_misspelt_model_is_not_found_with_a_suggestion(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica()])

    with pytest.raises(ModelNotFound, match="did you mean 'digits'"):
        directory.model_metadata("digit")


def test_an_unknown_version_names_those_that_exist(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica(), replica(version="2")])

    with pytest.raises(VersionNotFound, match="1, 2"):
        directory.model_config("digits", "7")


def test_a_model_that_still_loads_is_not_ready_rather_than_unknown(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica(state=ReplicaState.LOADING)])

    with pytest.raises(NoReadyReplica):
        directory.model_metadata("digits")


def test_a_hidden_model_is_refused_like_one_that_does_not_exist(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica("secret"), replica("open")])

    def may_see(model: str) -> bool:
        return model != "secret"

    with pytest.raises(ModelNotFound) as hidden:
        directory.model_metadata("secret", may_see=may_see)
    assert "did you mean" not in hidden.value.message
    assert not directory.model_ready("secret", may_see=may_see)
    assert directory.models(may_see=may_see) == ["open"]
    assert [entry.name for entry in directory.index(may_see=may_see).models] == ["open"]


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([ReplicaState.READY], "READY"),
        ([ReplicaState.LOADING], "LOADING"),
        ([ReplicaState.WARMING], "LOADING"),
        ([ReplicaState.DRAINING], "UNLOADING"),
        ([ReplicaState.UNLOADED], "UNAVAILABLE"),
        ([ReplicaState.FAILED], "UNAVAILABLE"),
        ([ReplicaState.FAILED, ReplicaState.READY], "READY"),
        ([ReplicaState.DRAINING, ReplicaState.LOADING], "LOADING"),
        ([ReplicaState.UNLOADED, ReplicaState.DRAINING], "UNLOADING"),
    ],
)
def test_the_index_tells_the_best_state_over_all_workers(
    stand: ControlStand, directory: Directory, states: list[ReplicaState], expected: str
):
    for number, state in enumerate(states):
        stand.report(f"worker-{number}", [replica(state=state)])

    [entry] = directory.index().models
    assert (entry.name, entry.version, entry.state) == ("digits", "1", expected)


def test_every_state_of_a_replica_has_a_name_in_the_index(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica(version=str(state.value), state=state) for state in ReplicaState])

    assert len(directory.index().models) == len(ReplicaState)


def test_the_index_says_why_a_version_is_unavailable_and_who_could_not_load_one_that_serves(stand: ControlStand, directory: Directory):
    stand.report("worker-0", [replica(state=ReplicaState.READY), replica(version="2", state=ReplicaState.FAILED, reason="no file")])
    stand.report(
        "worker-1", [replica(state=ReplicaState.FAILED, reason="out of memory"), replica(version="3", state=ReplicaState.UNLOADED)]
    )
    reasons = {entry.version: entry.reason for entry in directory.index().models}

    assert reasons == {"1": "worker-1: out of memory", "2": "no file", "3": "unloaded"}


def test_the_index_of_ready_ones_leaves_out_the_rest(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica(), replica(version="2", state=ReplicaState.LOADING)])

    assert [entry.version for entry in directory.index(ready_only=True).models] == ["1"]


def test_the_index_orders_models_by_name_and_versions_by_precedence(stand: ControlStand, directory: Directory):
    stand.report(replicas=[replica("b"), replica("a", "10"), replica("a", "9")])

    assert [(entry.name, entry.version) for entry in directory.index().models] == [("a", "9"), ("a", "10"), ("b", "1")]


def test_an_index_of_a_named_repository_is_refused(directory: Directory):
    with pytest.raises(NotImplementedHere):
        directory.index(repository_name="other")
