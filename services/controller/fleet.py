"""What workers can hold, from what they report. Pure: statuses in, figures out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from penstock.contracts.worker_status import ReplicaStatus, WorkerStatus
from services.controller.deployment_values import DeploymentSpec, Resources
from services.controller.model_values import Version


def unschedulable(spec: DeploymentSpec, version: Version, workers: Sequence[WorkerStatus]) -> str:
    """Return why no worker could hold a replica even if it were empty; empty when one could, or when none was heard of."""
    if not workers:
        return ""
    if spec.gpu_type:
        return f"no worker has a GPU of type {spec.gpu_type!r}"
    need = memory_need(spec.resources, version, workers)
    largest = max((budget_of(worker) for worker in workers), default=0)
    if need > largest:
        return f"a replica needs {need} bytes, the largest worker may use {largest}"
    return ""


def memory_need(resources: Resources, version: Version, workers: Iterable[WorkerStatus]) -> int:
    """Return the bytes reckoned for a replica: what was asked for, else the most that any worker measured, else what registration did."""
    if resources.memory_bytes:
        return resources.memory_bytes
    measured = [replica.memory_bytes for replica in replicas_of(workers, version.model, version.version)]
    return max(measured, default=0) or version.memory_bytes


def replicas_of(workers: Iterable[WorkerStatus], model: str, version: str) -> list[ReplicaStatus]:
    """Return every replica of a version."""
    return [replica for worker in workers for replica in worker.replicas if (replica.model, replica.version) == (model, version)]


def budget_of(worker: WorkerStatus) -> int:
    """Return the bytes that a worker's models may use; a worker without a limit has more than anybody asks for."""
    return worker.memory_budget_bytes or UNLIMITED


UNLIMITED = 1 << 62
"""Budget of a worker that has none."""
