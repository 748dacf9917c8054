"""The worker's gRPC service loads, unloads, lists and watches, and refuses by the status table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import grpc.aio
import numpy as np
import pytest

from penstock.contracts.worker_status import WorkerStatus
from penstock.v1 import worker_pb2 as pb
from services.worker.control_servicer import translated
from tests.worker import models
from tests.worker.folders import publish
from tests.worker.link_client import connected
from tests.worker.live_worker import live_worker, short_folder, states_of


@pytest.fixture
def root() -> Iterator[Path]:
    with short_folder() as path:
        yield path


@pytest.fixture
def repository(root: Path) -> Path:
    publish(root / "repository", "m", "1", models.row_sum())
    return root / "repository"


async def test_an_unload_answers_when_the_model_is_gone_and_a_load_when_it_is_back(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        await worker.settled()

        await worker.stub.UnloadModel(pb.UnloadModelRequest(model="m"))
        unloaded = await worker.stub.ListReplicas(pb.ListReplicasRequest())
        loaded = await worker.stub.LoadModel(pb.LoadModelRequest(model="m"))

    assert states_of(WorkerStatus.from_proto(unloaded.status), "m") == {"1": "UNLOADED"}
    assert [replica.state for replica in loaded.replicas] == [pb.REPLICA_STATE_READY]


async def test_a_load_with_files_answers_with_the_version_and_its_reason_when_it_fails(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        await worker.settled()

        good = await worker.stub.LoadModel(pb.LoadModelRequest(model="new", files={"5/model.onnx": models.no_batch()}))
        bad = await worker.stub.LoadModel(pb.LoadModelRequest(model="new", files={"6/model.onnx": b"x"}))

    assert [(one.version, one.state) for one in good.replicas] == [("5", pb.REPLICA_STATE_READY)]
    failed = next(one for one in bad.replicas if one.version == "6")
    assert (failed.state, "not a readable ONNX file" in failed.reason) == (pb.REPLICA_STATE_FAILED, True)


async def test_a_failed_load_is_tried_again_when_it_is_asked_for(repository: Path, root: Path):
    publish(repository, "broken", "1", b"x")
    async with live_worker(repository, root / "state") as worker:
        first = next(one for one in (await worker.settled()).replicas if one.model == "broken")

        again = await worker.stub.LoadModel(pb.LoadModelRequest(model="broken"))

    assert [one.state for one in again.replicas] == [pb.REPLICA_STATE_FAILED]
    assert again.replicas[0].replica_id > first.replica_id


@pytest.mark.parametrize(
    ("request_", "code", "text"),
    [
        (pb.LoadModelRequest(model="unknown"), grpc.StatusCode.NOT_FOUND, "no version of model 'unknown'"),
        (pb.LoadModelRequest(model="../escape"), grpc.StatusCode.INVALID_ARGUMENT, "not valid"),
        (pb.LoadModelRequest(model="m", files={"../x": b""}), grpc.StatusCode.INVALID_ARGUMENT, "not a path inside"),
    ],
)
async def test_a_load_that_makes_no_sense_is_refused_by_the_table(
    repository: Path, root: Path, request_: pb.LoadModelRequest, code: grpc.StatusCode, text: str
):
    async with live_worker(repository, root / "state") as worker:
        await worker.settled()

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await worker.stub.LoadModel(request_)

    assert refused.value.code() is code
    assert text in str(refused.value.details())
    assert "penstock-reason" in dict(refused.value.trailing_metadata() or ())


async def test_an_unload_of_what_is_not_held_is_refused(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        await worker.settled()

        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await worker.stub.UnloadModel(pb.UnloadModelRequest(model="unknown"))

    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_watcher_sees_every_state_that_lasts(repository: Path, root: Path):
    async with live_worker(repository, root / "state", notice_seconds=0.3) as worker:
        await worker.settled()
        seen: list[dict[str, str]] = []
        publish(repository, "m", "2", models.row_sum())
        async for answer in worker.stub.WatchReplicas(pb.WatchReplicasRequest()):
            seen.append(states_of(WorkerStatus.from_proto(answer.status), "m"))
            if seen[-1] == {"1": "UNLOADED", "2": "READY"}:
                break

    assert seen[0] == {"1": "READY"}
    assert {"1": "READY", "2": "LOADING"} in seen
    assert {"1": "DRAINING", "2": "READY"} in seen


async def test_statistics_count_what_was_executed(repository: Path, root: Path):
    async with live_worker(repository, root / "state") as worker:
        status = await worker.settled()
        async with connected(status) as link:
            assert await link.ask(status.replicas[0].replica_id, np.ones((2, 3))) == [3.0, 3.0]

        answer = await worker.stub.GetStatistics(pb.GetStatisticsRequest(model="m"))
        nothing = await worker.stub.GetStatistics(pb.GetStatisticsRequest(model="other"))

    (statistics,) = answer.replicas
    assert (statistics.inference_count, statistics.execution_count, statistics.success.count) == (2, 1, 1)
    assert statistics.memory_bytes > 0
    assert not nothing.replicas


class _Refusing:
    @translated
    async def call(self, request: object, context: object) -> None:
        raise ZeroDivisionError("a stranger's secret")


class _Context:
    def __init__(self) -> None:
        self.sent: tuple[object, str] | None = None

    async def abort(self, code: object, details: str, trailers: object) -> None:
        self.sent = (code, details)
        raise grpc.aio.AbortError


async def test_a_strangers_text_never_leaves():
    context = _Context()

    with pytest.raises(grpc.aio.AbortError):
        await _Refusing().call(None, context)  # type: ignore[arg-type]

    assert context.sent is not None
    assert context.sent[0] is grpc.StatusCode.INTERNAL
    assert context.sent[1].startswith("internal error (request id ")
