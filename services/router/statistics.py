"""Statistics of models: every worker is asked, and every router for its result cache and its graphs; the answers are summed.

A worker that does not answer in time is left out and counted in `unanswered`: statistics are for people and autoscalers, and a part of
the truth at once is worth more to both than none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import grpc
import grpc.aio
import structlog

from penstock.contracts.declared_graphs import declared_graph
from penstock.contracts.errors import ModelNotFound, VersionNotFound
from penstock.contracts.names import version_order
from penstock.contracts.worker_status import WorkerStatus
from penstock.oip.v2 import inference_pb2 as pb
from penstock.v1 import worker_pb2
from penstock.v1.worker_pb2_grpc import WorkerControlStub
from services.router.cache_statistics import CacheCounts, Cached
from services.router.directory import Directory, MaySee, everything

ANSWER_SECONDS = 1.0
"""Longest wait for one worker."""

log = structlog.get_logger(__name__)


class WorkerStatistics(Protocol):
    """Asks one worker."""

    async def replicas(self, address: str, model: str) -> Iterable[worker_pb2.ReplicaStatistics]:
        """Return the statistics of a model's versions, of all models for an empty name.

        Raises:
            OSError: the worker does not answer.
        """
        ...

    async def forget_all_but(self, addresses: Iterable[str]) -> None:
        """Close the connections to workers that are gone."""
        ...


class ControlClient:
    """Asks workers' control services, over one connection each that stays open."""

    def __init__(self, *, answer_seconds: float = ANSWER_SECONDS) -> None:
        """Store the deadline of one answer."""
        self._answer_seconds = answer_seconds
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def replicas(self, address: str, model: str) -> Iterable[worker_pb2.ReplicaStatistics]:
        """Return the statistics of a worker; raises OSError when it does not answer."""
        channel = self._channels.get(address)
        if channel is None:
            channel = self._channels[address] = grpc.aio.insecure_channel(address)
        try:
            answer = await WorkerControlStub(channel).GetStatistics(
                worker_pb2.GetStatisticsRequest(model=model), timeout=self._answer_seconds
            )
        except grpc.aio.AioRpcError as error:
            message = f"{error.code().name}: {error.details()}"
            raise ConnectionError(message) from error
        return answer.replicas

    async def forget_all_but(self, addresses: Iterable[str]) -> None:
        """Close the connections to workers that are gone."""
        for address in set(self._channels) - set(addresses):
            await self._channels.pop(address).close()

    async def close(self) -> None:
        """Close every connection."""
        await self.forget_all_but(())


class Statistics:
    """Sums the statistics of all workers and result caches."""

    def __init__(
        self,
        directory: Directory,
        statuses: Callable[[], Mapping[str, WorkerStatus]],
        workers: WorkerStatistics,
        caches: CacheCounts,
    ) -> None:
        """Keep the collaborators; `statuses` gives the newest status of every live worker."""
        self.unanswered = 0
        """Workers that did not answer, since the start."""
        self._directory = directory
        self._statuses = statuses
        self._workers = workers
        self._caches = caches

    async def collect(self, model: str = "", version: str = "", *, may_see: MaySee = everything) -> pb.ModelStatisticsResponse:
        """Return the statistics of a version, of a model, or of everything.

        Raises:
            ModelNotFound, VersionNotFound: nothing of this name.
        """
        if model and not self._directory.knows(model, may_see=may_see):
            self._directory.deployment(model, version, may_see=may_see)
            raise ModelNotFound(f"model {model[:64]!r} is not known here (penstock models list)", field="model_name")
        summed: dict[tuple[str, str], pb.ModelStatistics] = {}
        replicas, caches = await asyncio.gather(self._ask_all(model), self._caches.by_version())
        for replica in replicas:
            if may_see(replica.model) and version in ("", replica.version):
                add(summed.setdefault((replica.model, replica.version), _empty(replica)), replica)
        if version and not summed:
            self._directory.deployment(model, version, may_see=may_see)
            raise VersionNotFound(f"model {model!r} has no statistics of version {version[:64]!r}", field="model_version")
        for name in self._graphs(model, version):
            if may_see(name[0]):
                summed[name] = _of_graph(name, caches.get(name, Cached()))
        for name in summed.keys() & caches.keys():
            _add_cached(summed[name].inference_stats, caches[name])
        ordered = sorted(summed, key=lambda name: (name[0], version_order(name[1])))
        return pb.ModelStatisticsResponse(model_stats=[summed[name] for name in ordered])

    def _graphs(self, model: str, version: str) -> set[tuple[str, str]]:
        """Return the versions that are graphs: workers hold them, and execute none."""
        replicas = [replica for status in self._statuses().values() for replica in status.replicas if replica.is_ready]
        named = [one for one in replicas if model in ("", one.model) and version in ("", one.version)]
        return {(one.model, one.version) for one in named if declared_graph(one.model_config) is not None}

    async def _ask_all(self, model: str) -> list[worker_pb2.ReplicaStatistics]:
        addresses = {status.control_address for status in self._statuses().values() if status.control_address}
        await self._workers.forget_all_but(addresses)
        answers = await asyncio.gather(*(self._ask(address, model) for address in sorted(addresses)))
        return [replica for answer in answers for replica in answer]

    async def _ask(self, address: str, model: str) -> Iterable[worker_pb2.ReplicaStatistics]:
        try:
            return await self._workers.replicas(address, model)
        except OSError as error:
            self.unanswered += 1
            log.warning("worker_statistics_missing", address=address, reason=str(error))
            return ()


def add(total: pb.ModelStatistics, replica: worker_pb2.ReplicaStatistics) -> None:
    """Add one worker's statistics of a version to the sum."""
    total.last_inference = max(total.last_inference, replica.last_inference_milliseconds)
    total.inference_count += replica.inference_count
    total.execution_count += replica.execution_count
    sums = total.inference_stats
    _add_step(sums.success, replica.success)
    _add_step(sums.fail, replica.fail)
    _add_step(sums.queue, replica.queue)
    _add_step(sums.compute_input, replica.compute_input)
    _add_step(sums.compute_infer, replica.compute_infer)
    _add_step(sums.compute_output, replica.compute_output)
    for batch in replica.batches:
        _add_batch(total, batch)
    if replica.memory_bytes:
        if not total.memory_usage:
            total.memory_usage.add(type="CPU", id=0)
        total.memory_usage[0].byte_size += replica.memory_bytes


def _empty(replica: worker_pb2.ReplicaStatistics) -> pb.ModelStatistics:
    return pb.ModelStatistics(name=replica.model, version=replica.version, inference_stats=pb.InferStatistics())


def _of_graph(name: tuple[str, str], counts: Cached) -> pb.ModelStatistics:
    total = pb.ModelStatistics(name=name[0], version=name[1], inference_stats=pb.InferStatistics())
    total.inference_count, total.execution_count = counts.graph_rows, counts.graph_runs
    for step in (total.inference_stats.success, total.inference_stats.compute_infer):
        step.count, step.ns = counts.graph_runs, counts.graph_microseconds * 1000
    total.inference_stats.fail.count = counts.failures
    return total


def _add_batch(total: pb.ModelStatistics, batch: worker_pb2.BatchStatistics) -> None:
    """Add one batch size, in ascending order of sizes."""
    place = next((index for index, one in enumerate(total.batch_stats) if one.batch_size >= batch.batch_size), len(total.batch_stats))
    if place == len(total.batch_stats) or total.batch_stats[place].batch_size != batch.batch_size:
        total.batch_stats.insert(place, pb.InferBatchStatistics(batch_size=batch.batch_size))
    held = total.batch_stats[place]
    _add_step(held.compute_input, batch.compute_input)
    _add_step(held.compute_infer, batch.compute_infer)
    _add_step(held.compute_output, batch.compute_output)


def _add_cached(total: pb.InferStatistics, cached: Cached) -> None:
    """Add what result caches did; their answers are successful requests that no worker has seen."""
    for step in (total.cache_hit, total.success):
        step.count += cached.hits
        step.ns += cached.hit_microseconds * 1000
    total.cache_miss.count += cached.misses
    total.cache_miss.ns += cached.miss_microseconds * 1000


def _add_step(total: pb.StatisticDuration, step: worker_pb2.StepStatistics) -> None:
    total.count += step.count
    total.ns += step.nanoseconds
