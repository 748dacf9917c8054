"""What workers can hold, from what they report. Pure: statuses in, figures out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from penstock.contracts.worker_status import ReplicaStatus, WorkerStatus
from services.controller.deployment_values import Deployment, DeploymentSpec
from services.controller.model_values import Version


def unschedulable(spec: DeploymentSpec, version: Version, workers: Sequence[WorkerStatus]) -> str:
    """Return why no worker could hold a replica even if it were empty; empty when one could, or when none was heard of."""
    if not workers:
        return ""
    if spec.gpu_type and all(gpu_type_of(worker) != spec.gpu_type for worker in workers):
        return f"no worker has a GPU of type {spec.gpu_type!r}"
    need = memory_need(spec, version.memory_bytes, replicas_of(workers, spec.model, spec.version))
    largest = max(budget_of(worker) for worker in workers if spec.gpu_type in ("", gpu_type_of(worker)))
    if need > largest:
        return f"a replica needs {need} bytes, the largest worker may use {largest}"
    return ""


def memory_need(asked: Deployment | DeploymentSpec, registered_bytes: int, replicas: Iterable[ReplicaStatus]) -> int:
    """Return the bytes reckoned for a replica: what was asked for, else the most that a worker measured, else what registration did."""
    if asked.resources.memory_bytes:
        return asked.resources.memory_bytes
    return max((replica.memory_bytes for replica in replicas), default=0) or registered_bytes


def replicas_of(workers: Iterable[WorkerStatus], model: str, version: str) -> list[ReplicaStatus]:
    """Return every replica of a version."""
    return [replica for worker in workers for replica in worker.replicas if (replica.model, replica.version) == (model, version)]


def replicas_by_version(workers: Iterable[WorkerStatus]) -> Mapping[tuple[str, str], Sequence[ReplicaStatus]]:
    """Return the replicas of every version, by model and version: for whoever asks for all of them."""
    found: dict[tuple[str, str], list[ReplicaStatus]] = {}
    for worker in workers:
        for replica in worker.replicas:
            found.setdefault((replica.model, replica.version), []).append(replica)
    return found


def budget_of(worker: WorkerStatus) -> int:
    """Return the bytes that a worker's models may use; a worker without a limit has more than anybody asks for."""
    return worker.memory_budget_bytes or UNLIMITED


def gpu_type_of(worker: WorkerStatus) -> str:
    """Return the kind of accelerator that a worker has; empty for none."""
    return worker.gpu_type


UNLIMITED = 1 << 62
"""Budget of a worker that has none."""
