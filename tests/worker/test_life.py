"""A worker follows its repository and overrides: new versions load before old ones go, and what fails leaves what serves."""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.contracts.names import ModelVersion
from penstock.contracts.worker_status import ReplicaState, WorkerStatus
from penstock.v1 import worker_pb2 as pb
from services.chassis.blackbox import Blackbox, Phase
from tests.worker import models
from tests.worker.folders import publish, put
from tests.worker.live_worker import live_worker, short_folder, states_of


@pytest.fixture
def root() -> Iterator[Path]:
    with short_folder() as path:
        yield path


@pytest.fixture
def repository(root: Path) -> Path:
    publish(root / "repository", "m", "1", models.row_sum())
    return root / "repository"


def serving(status: WorkerStatus, model: str = "m") -> list[str]:
    return [replica.version for replica in status.replicas if replica.model == model and replica.is_ready]


async def test_what_is_there_is_loaded_measured_and_reported(repository: Path, root: Path):
    put(repository / "m" / "config.pbtxt", 'name: "m" max_batch_size: 8 response_cache { enable: true }')

    async with live_worker(repository, root / "state") as worker:
        status = await worker.settled()

    (replica,) = status.replicas
    assert (replica.model, replica.version, replica.state, replica.reason) == ("m", "1", ReplicaState.READY, "")
    assert [point.rows for point in replica.costs] == [1, 2, 4, 8]
    assert replica.memory_bytes > 0
    assert (replica.provider, len(replica.digest), replica.response_cache) == ("CPUExecutionProvider", 64, True)
    assert [str(spec) for spec in replica.signature.inputs] == ["x FP32[-1,3]"]
    assert b"onnxruntime" in replica.model_config
    assert status.link_address == f"unix:{root}/state/links/w0.sock"


async def test_a_new_version_is_ready_in_the_same_status_in_which_the_old_one_drains(repository: Path, root: Path):
    async with live_worker(repository, root / "state", notice_seconds=0.3) as worker:
        await worker.settled()
        publish(repository, "m", "2", models.row_sum(4))

        status = await worker.until(lambda status: serving(status) == ["2"])
        await worker.until_states("m", v1="UNLOADED", v2="READY")

    assert states_of(status, "m") == {"1": "DRAINING", "2": "READY"}


async def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving_and_says_why(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        await worker.settled()
        publish(repository, "m", "2", b"\x08\x08garbage")

        replicas = await worker.until_states("m", v1="READY", v2="FAILED")
        assert "not a readable ONNX file" in replicas["2"].reason
        publish(repository, "m", "3", models.row_sum())
        await worker.until_states("m", v1="UNLOADED", v2="FAILED", v3="READY")


async def test_a_failed_version_is_tried_again_when_its_files_change(repository: Path, root: Path):
    publish(repository, "m", "2", models.poisonable(), golden__json=json.dumps({"inputs": {"index": [[3]]}, "outputs": {"y": [[4]]}}))
    async with live_worker(repository, root / "state") as worker:
        replicas = await worker.until_states("m", v1="READY", v2="FAILED")
        assert "worst at [0, 0]: 3 instead of 4" in replicas["2"].reason

        put(repository / "m" / "2" / "golden.json", json.dumps({"inputs": {"index": [[3]]}, "outputs": {"y": [[3]]}}))

        await worker.until_states("m", v1="UNLOADED", v2="READY")


async def test_replaced_files_become_a_new_replica_of_the_same_version(repository: Path, root: Path):
    async with live_worker(repository, root / "state", notice_seconds=0.3) as worker:
        (old,) = (await worker.settled()).replicas

        put(repository / "m" / "1" / "model.onnx", models.row_sum(5))

        status = await worker.until(lambda status: [r.digest for r in status.replicas if r.is_ready] not in ([old.digest], []))
        await worker.until(lambda status: len(status.replicas) == 1)

    by_id = {replica.replica_id: replica.state.name for replica in status.replicas}
    # Between its successor's readiness and its own drain a status may show both as ready.
    assert by_id in ({old.replica_id: state, old.replica_id + 1: "READY"} for state in ("DRAINING", "READY"))


async def test_touched_files_change_nothing(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        before = await worker.settled()

        put(repository / "m" / "1" / "model.onnx", models.row_sum())
        publish(repository, "other", "1", models.dense())
        await worker.until(lambda status: serving(status, "other") == ["1"])
        status = await worker.until(lambda status: all(one.state is ReplicaState.READY for one in status.replicas))

    assert {replica.replica_id for replica in status.replicas} >= {before.replicas[0].replica_id}
    assert serving(status) == ["1"]


async def test_a_removed_version_drains_and_is_forgotten(repository: Path, root: Path):
    publish(repository, "other", "1", models.dense())
    async with live_worker(repository, root / "state", notice_seconds=0.3) as worker:
        await worker.settled()

        shutil.rmtree(repository / "m")

        await worker.until(lambda status: states_of(status, "m") == {"1": "DRAINING"})
        await worker.until(lambda status: states_of(status, "m") == {} and serving(status, "other") == ["1"])


async def test_a_repository_that_disappears_leaves_everything_serving(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        await worker.settled()
        shutil.move(repository, root / "elsewhere")
        answer = await worker.stub.ListReplicas(pb.ListReplicasRequest())
        shutil.move(root / "elsewhere", repository)
        publish(repository, "m", "2", models.row_sum())

        await worker.until_states("m", v1="UNLOADED", v2="READY")

    assert [replica.state for replica in answer.status.replicas] == [pb.REPLICA_STATE_READY]


async def test_the_version_policy_of_the_configuration_is_followed_when_it_changes(repository: Path, root: Path):
    publish(repository, "m", "2", models.row_sum())
    publish(repository, "m", "v3.1", models.row_sum())
    async with live_worker(repository, root / "state") as worker:
        await worker.settled()
        put(repository / "m" / "model.toml", 'version_policy = { specific = { versions = ["1", "v3.1"] } }')
        await worker.until(lambda status: sorted(serving(status)) == ["1", "v3.1"])

        put(repository / "m" / "model.toml", "version_policy = { all = {} }")

        await worker.until(lambda status: sorted(serving(status)) == ["1", "2", "v3.1"])


async def test_an_invalid_configuration_leaves_what_serves_and_says_why(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        await worker.settled()
        put(repository / "m" / "config.pbtxt", "max_batch_sise: 8")

        status = await worker.until(lambda status: len(status.replicas) == 2 and status.replicas[1].state is ReplicaState.FAILED)

    assert serving(status) == ["1"]
    assert "max_batch_sise" in status.replicas[1].reason


async def test_an_override_unloads_and_its_revision_is_reported_as_applied(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        await worker.settled()
        worker.publish_override(pb.ModelOverride(model="m", revision=7, unloaded=True))

        status = await worker.until(lambda status: status.applied_overrides.get("m") == 7)
        await worker.until(lambda status: [one.state.name for one in status.replicas] == ["UNLOADED"])
        worker.publish_override(pb.ModelOverride(model="m", revision=8))
        await worker.until(lambda status: status.applied_overrides.get("m") == 8 and serving(status) == ["1"])

    assert serving(status) == []


async def test_a_version_that_was_given_up_is_not_loaded_and_the_one_before_serves(repository: Path, root: Path):
    publish(repository, "m", "2", models.row_sum())
    state = root / "state"
    async with live_worker(repository, state) as worker:
        await worker.until_states("m", v2="READY")
        worker.publish_override(pb.ModelOverride(model="m", revision=1, failed_versions={"2": "crashed 5 workers within 60 s"}))

        status = await worker.until(lambda status: serving(status) == ["1"])
        await worker.until(lambda status: status.applied_overrides.get("m") == 1)

    assert [replica.reason for replica in status.replicas if replica.state is ReplicaState.FAILED] == ["crashed 5 workers within 60 s"]


async def test_files_and_configuration_of_an_override_replace_the_folders(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        await worker.settled()
        worker.publish_override(
            pb.ModelOverride(model="m", revision=1, config_json='{"max_batch_size": 2}', files={"9/model.onnx": models.row_sum(4)})
        )

        status = await worker.until(lambda status: serving(status) == ["9"])

    assert next(one.signature.max_batch_size for one in status.replicas if one.version == "9") == 2


async def test_a_load_beyond_the_memory_budget_is_refused_with_numbers(repository: Path, root: Path):
    publish(repository, "large", "1", models.dense(1600, 1600))
    async with live_worker(repository, root / "state", memory_budget_bytes=16 << 20) as worker:
        status = await worker.settled()

    refused = next(replica for replica in status.replicas if replica.model == "large")
    assert refused.state is ReplicaState.FAILED
    assert re.match(r"large@1 is expected to need 16\.7 MiB of memory; .* MiB of the budget of 16\.0 MiB are in use", refused.reason)
    assert serving(status) == ["1"]


async def test_a_worker_that_leaves_withdraws_its_status_and_drains_first(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        await worker.settled()
        seen: list[WorkerStatus] = []
        watched = worker.stub.WatchReplicas(pb.WatchReplicasRequest())
        async for answer in watched:
            seen.append(WorkerStatus.from_proto(answer.status))
            break

    assert serving(seen[0]) == ["1"]
    assert worker.status is None
    assert not list((root / "state" / "links").iterdir())
    assert not list((root / "state" / "metrics").iterdir())


ENDLESS = """
[[model_warmup]]
name = "endless"
batch_size = 1
inputs.x = { data_type = "FP32", dims = [1], zero_data = true }
"""


async def test_a_warm_up_without_end_fails_its_version_in_time_and_the_others_are_loaded(repository: Path, root: Path):
    publish(repository, "endless", "1", models.looping(), model__toml=ENDLESS)
    async with live_worker(repository, root / "state", warm_up_timeout_seconds=0.2) as worker:
        status = await worker.settled()

    assert {(one.model, one.state.name) for one in status.replicas} == {("endless", "FAILED"), ("m", "READY")}
    assert next(one.reason for one in status.replicas if one.model == "endless").startswith("warm-up and golden examples did not finish")


async def test_a_load_is_given_up_for_newer_files_and_what_it_ran_is_stopped(repository: Path, root: Path):
    publish(repository, "m", "2", models.looping(), model__toml=ENDLESS)
    async with live_worker(repository, root / "state") as worker:
        await worker.until(lambda status: states_of(status, "m").get("2") == "WARMING")

        put(repository / "m" / "2" / "model.onnx", models.row_sum())
        (repository / "m" / "2" / "model.toml").unlink()

        await worker.until(lambda status: serving(status) == ["2"])
        threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("try-")]
    assert threads == []


async def test_a_worker_that_is_told_to_end_does_not_wait_for_what_loads(repository: Path, root: Path):
    publish(repository, "m", "2", models.looping(), model__toml=ENDLESS)
    async with live_worker(repository, root / "state") as worker:
        await worker.until(lambda status: states_of(status, "m").get("2") == "WARMING")
        started_at = time.monotonic()

    assert time.monotonic() - started_at < 20
    assert worker.status is None


async def test_a_measurement_that_fails_leaves_a_version_ready_and_unmeasured(root: Path):
    publish(root / "repository", "m", "1", models.poisonable(limit=0))
    async with live_worker(root / "repository", root / "state") as worker:
        (replica,) = (await worker.settled()).replicas

    assert (replica.state, replica.costs) == (ReplicaState.READY, ())


async def test_a_version_that_killed_the_last_worker_while_it_loaded_comes_last_and_the_one_before_serves_meanwhile(
    root: Path, repository: Path
):
    publish(repository, "m", "2", models.row_sum())
    (root / "state" / "blackbox").mkdir(parents=True)
    box = Blackbox.open(root / "state" / "blackbox" / "w0")
    box.slot(0).enter(Phase.LOADING, box.register(ModelVersion(model="m", version="2")))
    async with live_worker(repository, root / "state") as worker:
        replicas = await worker.until_states("m", v1="UNLOADED", v2="READY")

    assert replicas["1"].reason == "unloaded"  # and not abandoned: it has served
    assert replicas["1"].replica_id < replicas["2"].replica_id
