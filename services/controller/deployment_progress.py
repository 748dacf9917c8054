"""Reads from workers how far deployments have come. Pure: a plan and statuses in, steps out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from penstock.contracts.worker_status import ReplicaState, WorkerStatus
from services.controller.deployment_values import Deployment, DeploymentStatus
from services.controller.fleet import replicas_of
from services.controller.placement_values import Action, Plan

GONE = (ReplicaState.UNLOADED, ReplicaState.FAILED)


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
        elif deployment.status is DeploymentStatus.DRAINING and _is_gone(deployment, plan, workers):
            step = Step(deployment=deployment, status=DeploymentStatus.RETIRED, reason=deployment.reason)
        if step is not None and _says_something(step):
            yield step


def _deploying(deployment: Deployment, plan: Plan, workers: Sequence[WorkerStatus]) -> Step:
    replicas = replicas_of(workers, deployment.model, deployment.version)
    ready = sum(replica.is_ready for replica in replicas)
    failures = [replica.reason for replica in replicas if replica.state is ReplicaState.FAILED]
    homeless = [placement.reason for placement in plan.of(deployment.id) if placement.action is Action.UNSCHEDULABLE]
    status, reason = DeploymentStatus.DEPLOYING, ""
    if ready >= deployment.replicas:
        status = DeploymentStatus.ACTIVE
    elif failures and homeless:
        status, reason = DeploymentStatus.FAILED, failures[0] or "the worker gave no reason"
    elif homeless:
        reason = f"UNSCHEDULABLE: {homeless[0]}"
    return Step(deployment=deployment, status=status, reason=reason, is_placed=bool(workers) and not homeless, is_healthy=ready > 0)


def _is_gone(deployment: Deployment, plan: Plan, workers: Sequence[WorkerStatus]) -> bool:
    if any(replica.deployment_id == deployment.id for replicas in plan.assigned.values() for replica in replicas):
        return False
    left = replicas_of(workers, deployment.model, deployment.version)
    return all(replica.state in GONE for replica in left)


def _says_something(step: Step) -> bool:
    held = step.deployment
    newly_placed = step.is_placed and held.placed_time is None
    return step.status is not held.status or step.reason != held.reason or newly_placed
