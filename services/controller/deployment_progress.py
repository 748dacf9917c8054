"""Reads from workers how far deployments have come. Pure: a plan and statuses in, steps out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.controller.deployment_values import Deployment, DeploymentStatus
from services.controller.fleet import replicas_of
from services.controller.placement_values import Action, Plan

GONE = (ReplicaState.UNLOADED, ReplicaState.FAILED)
DEADLY_WORKERS = 2
"""Workers that a version has to have killed again and again before no other one is asked to try it; one alone may be at fault itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is to be written down of one deployment."""

    deployment: Deployment
    status: DeploymentStatus
    reason: str = ""
    is_placed: bool = False
    """Every replica has a worker."""
    is_healthy: bool = False
    """A replica of its version is ready."""


def next_steps(deployments: Sequence[Deployment], plan: Plan, workers: Sequence[WorkerStatus]) -> tuple[Step, ...]:
    """Return the steps that deployments take; those for which nothing changes are left out."""
    return tuple(_steps(deployments, plan, workers))


def _steps(deployments: Sequence[Deployment], plan: Plan, workers: Sequence[WorkerStatus]) -> Iterator[Step]:
    for deployment in deployments:
        step = None
        if deployment.status is DeploymentStatus.DEPLOYING:
            step = _deploying(deployment, plan, workers)
        elif deployment.status is DeploymentStatus.ACTIVE:
            step = _active(deployment, workers)
        elif deployment.status is DeploymentStatus.DRAINING and _is_gone(deployment, plan, workers):
            step = Step(deployment=deployment, status=DeploymentStatus.RETIRED, reason=deployment.reason)
        if step is not None and _says_something(step):
            yield step


def _deploying(deployment: Deployment, plan: Plan, workers: Sequence[WorkerStatus]) -> Step:
    replicas = replicas_of(workers, deployment.model, deployment.version)
    serving = sum(replica.is_ready for replica in replicas)
    ready = sum(replica.is_ready and replica.digest == deployment.loaded_digest for replica in replicas)
    failed = [replica for replica in replicas if replica.state is ReplicaState.FAILED and replica.digest == deployment.loaded_digest]
    why = next((replica.reason for replica in failed if replica.reason), "the worker gave no reason")
    homeless = [placement.reason for placement in plan.of(deployment.id) if placement.action is Action.UNSCHEDULABLE]
    status, reason = DeploymentStatus.DEPLOYING, ""
    if ready >= deployment.replicas:
        status = DeploymentStatus.ACTIVE
    elif failed and serving and deployment.may_answer:
        # What serves is not taken away because what is to follow it does not come up.
        reason = f"it goes on with what is ready, for it failed on {len(failed)} of the workers: {why}"
    elif failed and (homeless or _is_deadly(failed)):
        status, reason = DeploymentStatus.FAILED, why
    elif homeless:
        reason = f"UNSCHEDULABLE: {homeless[0]}"
    return Step(deployment=deployment, status=status, reason=reason, is_placed=bool(workers) and not homeless, is_healthy=ready > 0)


def _active(deployment: Deployment, workers: Sequence[WorkerStatus]) -> Step | None:
    replicas = replicas_of(workers, deployment.model, deployment.version)
    if any(replica.is_ready for replica in replicas) or not _is_deadly(replicas):
        return None
    why = next(replica.reason for replica in replicas if replica.given_up)
    return Step(deployment=deployment, status=DeploymentStatus.FAILED, reason=why, is_placed=deployment.placed_time is not None)


def _is_deadly(replicas: Sequence[ReplicaStatus]) -> bool:
    return sum(replica.given_up for replica in replicas) >= DEADLY_WORKERS


def _is_gone(deployment: Deployment, plan: Plan, workers: Sequence[WorkerStatus]) -> bool:
    if any(replica.deployment_id == deployment.id for replicas in plan.assigned.values() for replica in replicas):
        return False
    left = replicas_of(workers, deployment.model, deployment.version)
    return all(replica.state in GONE for replica in left)


def _says_something(step: Step) -> bool:
    held = step.deployment
    newly_placed = step.is_placed and held.placed_time is None
    return step.status is not held.status or step.reason != held.reason or newly_placed
