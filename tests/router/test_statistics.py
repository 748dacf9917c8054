import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from penstock.contracts.errors import ModelNotFound, VersionNotFound
from penstock.oip.v2 import inference_pb2 as pb
from penstock.v1 import worker_pb2
from penstock.v1.worker_pb2_grpc import WorkerControlServicer, add_WorkerControlServicer_to_server
from services.router.cache_statistics import Cached
from services.router.statistics import ControlClient, add
from tests.router.control_stand import ControlStand, control_stand, replica


def steps(count: int, nanoseconds: int) -> worker_pb2.StepStatistics:
    return worker_pb2.StepStatistics(count=count, nanoseconds=nanoseconds)


def statistics(model: str = "digits", version: str = "1", *, factor: int = 1) -> worker_pb2.ReplicaStatistics:
    return worker_pb2.ReplicaStatistics(
        model=model,
        version=version,
        last_inference_milliseconds=1000 + factor,
        inference_count=10 * factor,
        execution_count=4 * factor,
        success=steps(9 * factor, 900 * factor),
        fail=steps(1 * factor, 50 * factor),
        queue=steps(9 * factor, 200 * factor),
        compute_input=steps(4 * factor, 10 * factor),
        compute_infer=steps(4 * factor, 300 * factor),
        compute_output=steps(4 * factor, 20 * factor),
        batches=[
            worker_pb2.BatchStatistics(
                batch_size=size, compute_input=steps(factor, 1), compute_infer=steps(factor, 2), compute_output=steps(factor, 3)
            )
            for size in (2 * factor, 4)
        ],
        memory_bytes=100 * factor,
    )


@pytest.fixture
def stand() -> ControlStand:
    stand = control_stand()
    for worker in ("worker-0", "worker-1"):
        stand.report(worker, [replica(), replica(version="2"), replica("fraud")])
    return stand


def answer(stand: ControlStand, worker_id: str, *replicas: worker_pb2.ReplicaStatistics) -> None:
    stand.workers.answers[f"unix:/nowhere/{worker_id}.control"] = list(replicas)


async def test_the_statistics_of_all_workers_are_summed(stand: ControlStand):
    answer(stand, "worker-0", statistics())
    answer(stand, "worker-1", statistics(factor=2))
    [total] = (await stand.control.statistics.collect("digits")).model_stats

    assert (total.inference_count, total.execution_count, total.last_inference) == (30, 12, 1002)
    assert (total.inference_stats.success.count, total.inference_stats.success.ns) == (27, 2700)
    assert (total.inference_stats.fail.count, total.inference_stats.queue.ns) == (3, 600)
    assert total.inference_stats.compute_infer.ns == 900
    assert [(one.batch_size, one.compute_infer.count) for one in total.batch_stats] == [(2, 1), (4, 5)]
    assert total.memory_usage[0].byte_size == 300


def test_batch_sizes_stay_in_ascending_order_whatever_order_they_come_in():
    total = pb.ModelStatistics()
    for size in (8, 2, 4, 2, 16):
        add(total, worker_pb2.ReplicaStatistics(batches=[worker_pb2.BatchStatistics(batch_size=size, compute_infer=steps(1, 1))]))

    assert [(one.batch_size, one.compute_infer.count) for one in total.batch_stats] == [(2, 2), (4, 1), (8, 1), (16, 1)]


async def test_answers_from_result_caches_are_successful_requests_too(stand: ControlStand):
    answer(stand, "worker-0", statistics(), statistics("fraud"))
    stand.caches.counts = {
        ("digits", "1"): Cached(hits=5, misses=2, hit_microseconds=40, miss_microseconds=6),
        ("gone", "1"): Cached(hits=1),
    }
    digits, fraud = (await stand.control.statistics.collect()).model_stats

    assert (digits.inference_stats.cache_hit.count, digits.inference_stats.cache_hit.ns) == (5, 40_000)
    assert (digits.inference_stats.cache_miss.count, digits.inference_stats.cache_miss.ns) == (2, 6_000)
    assert (digits.inference_stats.success.count, digits.inference_stats.success.ns) == (9 + 5, 900 + 40_000)
    assert (digits.inference_count, fraud.inference_stats.cache_hit.count) == (10, 0)


async def test_without_a_name_every_model_and_version_is_told_in_order(stand: ControlStand):
    answer(stand, "worker-0", statistics("fraud"), statistics(version="2"), statistics())
    answer(stand, "worker-1")

    found = (await stand.control.statistics.collect()).model_stats
    assert [(one.name, one.version) for one in found] == [("digits", "1"), ("digits", "2"), ("fraud", "1")]


async def test_a_version_is_told_alone(stand: ControlStand):
    answer(stand, "worker-0", statistics(), statistics(version="2"))

    assert [one.version for one in (await stand.control.statistics.collect("digits", "2")).model_stats] == ["2"]


async def test_a_worker_that_does_not_answer_is_left_out_and_counted(stand: ControlStand):
    answer(stand, "worker-0", statistics())

    [total] = (await stand.control.statistics.collect("digits")).model_stats
    assert total.inference_count == 10
    assert stand.control.statistics.unanswered == 1


async def test_connections_to_workers_that_are_gone_are_given_up(stand: ControlStand):
    stand.gone("worker-1")
    await stand.control.statistics.collect()

    assert stand.workers.kept == {"unix:/nowhere/worker-0.control"}


async def test_unknown_names_are_not_found(stand: ControlStand):
    answer(stand, "worker-0", statistics())

    with pytest.raises(ModelNotFound):
        await stand.control.statistics.collect("nothing")
    with pytest.raises(VersionNotFound):
        await stand.control.statistics.collect("digits", "7")


async def test_a_tenant_sees_its_models_only(stand: ControlStand):
    answer(stand, "worker-0", statistics(), statistics("fraud"))

    def may_see(model: str) -> bool:
        return model == "fraud"

    assert [one.name for one in (await stand.control.statistics.collect(may_see=may_see)).model_stats] == ["fraud"]
    with pytest.raises(ModelNotFound):
        await stand.control.statistics.collect("digits", may_see=may_see)


class StatisticsServicer(WorkerControlServicer):
    """A worker's control service that answers, or is stuck."""

    is_stuck = False

    async def GetStatistics(self, request: worker_pb2.GetStatisticsRequest, context: Any) -> worker_pb2.GetStatisticsResponse:
        if self.is_stuck:
            await asyncio.Event().wait()
        return worker_pb2.GetStatisticsResponse(replicas=[statistics(request.model)])


@pytest.fixture
async def worker(short_dir: Path) -> AsyncIterator[tuple[StatisticsServicer, str]]:
    servicer, address = StatisticsServicer(), f"unix:{short_dir / 'control.sock'}"
    server = grpc.aio.server()
    add_WorkerControlServicer_to_server(servicer, server)
    server.add_insecure_port(address)
    await server.start()
    yield servicer, address
    await server.stop(0)


async def test_the_client_asks_a_workers_control_service(worker: tuple[StatisticsServicer, str]):
    client = ControlClient()
    try:
        assert list(await client.replicas(worker[1], "digits")) == [statistics()]
    finally:
        await client.close()


async def test_the_client_gives_up_on_a_worker_that_is_stuck_or_gone(worker: tuple[StatisticsServicer, str], short_dir: Path):
    worker[0].is_stuck = True
    client = ControlClient(answer_seconds=0.05)
    try:
        with pytest.raises(OSError, match="DEADLINE_EXCEEDED"):
            await client.replicas(worker[1], "digits")
        with pytest.raises(OSError, match=r"UNAVAILABLE|DEADLINE_EXCEEDED"):
            await client.replicas(f"unix:{short_dir / 'nobody.sock'}", "digits")
    finally:
        await client.close()
