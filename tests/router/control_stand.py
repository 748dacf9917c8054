"""A router's control side over fakes: workers are records that tests write."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from penstock.oip.v2.model_config_pb2 import ModelConfig
from penstock.v1 import worker_pb2
from services.chassis.clock import Clock, SystemClock
from services.mesh.route_table import RouteTable
from services.router.cache_statistics import Cached, Version
from services.router.control import Control
from services.router.directory import Directory
from services.router.repository import Change, Repository
from services.router.runtime_settings import Level, LogSettings, TraceSettings
from services.router.statistics import Statistics
from services.router.tenants import Tenants

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, 4)),),
    outputs=(TensorSpec(name="y", datatype=DataType.INT64, shape=(-1,)),),
    max_batch_size=8,
)


def replica(
    model: str = "digits",
    version: str = "1",
    state: ReplicaState = ReplicaState.READY,
    *,
    reason: str = "",
    changed_time: float = 1e9,
) -> ReplicaStatus:
    config = ModelConfig(name=model, platform="onnxruntime_onnx", max_batch_size=8)
    return ReplicaStatus(
        replica_id=1,
        model=model,
        version=version,
        state=state,
        signature=SIGNATURE,
        digest=f"{model}-{version}",
        reason=reason,
        model_config=config.SerializeToString(),
        changed_time=changed_time,
    )


class FakeWorkers:
    """Implements `WorkerStatistics`: answers from a table; an address that is not in it does not answer."""

    def __init__(self) -> None:
        self.answers: dict[str, list[worker_pb2.ReplicaStatistics]] = {}
        self.kept: set[str] = set()

    async def replicas(self, address: str, model: str) -> Iterable[worker_pb2.ReplicaStatistics]:
        if address not in self.answers:
            message = f"{address} does not answer"
            raise ConnectionError(message)
        return [one for one in self.answers[address] if model in ("", one.model)]

    async def forget_all_but(self, addresses: Iterable[str]) -> None:
        self.kept = set(addresses)


class FakeCaches:
    """Implements `CacheCounts` by a table."""

    def __init__(self) -> None:
        self.counts: dict[Version, Cached] = {}

    async def by_version(self) -> Mapping[Version, Cached]:
        return self.counts


class FakeOverrides:
    """Implements `Overrides` in memory; `on_change` plays the workers."""

    def __init__(self) -> None:
        self.held: dict[str, worker_pb2.ModelOverride] = {}
        self.on_change: Callable[[str, worker_pb2.ModelOverride | None], None] = lambda _model, _override: None

    async def update(self, model: str, change: Change) -> worker_pb2.ModelOverride | None:
        await asyncio.sleep(0)
        changed = change(self.held.get(model))
        if changed is None:
            self.held.pop(model, None)
        else:
            self.held[model] = changed
        self.on_change(model, changed)
        return changed


class FakeLevels:
    """Implements `LogControl`."""

    def __init__(self) -> None:
        self.level: Level = "info"

    def set_level(self, level: Level) -> None:
        self.level = level


class FakeSampler:
    """Implements `TraceControl`."""

    def __init__(self) -> None:
        self.ratio = 0.0

    def set_ratio(self, ratio: float) -> None:
        self.ratio = ratio


@dataclass
class ControlStand:
    """A control side, and what stands behind it."""

    control: Control
    table: RouteTable
    workers: FakeWorkers = field(default_factory=FakeWorkers)
    overrides: FakeOverrides = field(default_factory=FakeOverrides)
    levels: FakeLevels = field(default_factory=FakeLevels)
    sampler: FakeSampler = field(default_factory=FakeSampler)
    caches: FakeCaches = field(default_factory=FakeCaches)
    revisions: dict[str, int] = field(default_factory=dict)

    def report(
        self,
        worker_id: str = "worker-0",
        replicas: Sequence[ReplicaStatus] = (),
        *,
        applied: Mapping[str, int] | None = None,
        settled: bool = True,
        draining: bool = False,
    ) -> None:
        """Let a worker report what it holds."""
        self.revisions[worker_id] = self.revisions.get(worker_id, 0) + 1
        status = WorkerStatus(
            worker_id=worker_id,
            instance_id=f"{worker_id}-instance",
            link_address=f"unix:/nowhere/{worker_id}",
            control_address=f"unix:/nowhere/{worker_id}.control",
            revision=self.revisions[worker_id],
            replicas=tuple(replicas),
            settled=settled,
            draining=draining,
            applied_overrides=dict(applied or {}),
        )
        self.table.apply(worker_id, status)

    def gone(self, worker_id: str) -> None:
        """Let a worker be gone."""
        self.table.apply(worker_id, None)


def control_stand(*, clock: Clock | None = None, wall_seconds: Callable[[], float] = lambda: 1000.0) -> ControlStand:
    """Build a control side without workers, open to everybody."""
    table = RouteTable()
    directory = Directory(table, server_version="9.9.9")
    workers, overrides, levels, sampler, caches = FakeWorkers(), FakeOverrides(), FakeLevels(), FakeSampler(), FakeCaches()
    control = Control(
        tenants=Tenants(),
        directory=directory,
        statistics=Statistics(directory, table.statuses, workers, caches),
        repository=Repository(overrides, table.statuses, clock or SystemClock(), wall_seconds=wall_seconds),
        log_settings=LogSettings(levels),
        trace_settings=TraceSettings(sampler),
    )
    return ControlStand(control=control, table=table, workers=workers, overrides=overrides, levels=levels, sampler=sampler, caches=caches)
