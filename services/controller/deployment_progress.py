"""Reads from workers how far deployments have come. Pure: a plan and statuses in, steps out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.controller.deployment_values import Deployment, DeploymentStatus
from services.controller.fleet import replicas_by_version
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
    reasons = {each.deployment_id: each.reason for each in reversed(plan.placements) if each.action is Action.UNSCHEDULABLE}
    seen = _Seen(
        has_workers=bool(workers),
        replicas=replicas_by_version(workers),
        homeless=reasons,
        assigned=frozenset(replica.deployment_id for replicas in plan.assigned.values() for replica in replicas),
    )
    steps = (_step(deployment, seen) for deployment in deployments)
    return tuple(step for step in steps if step is not None and _says_something(step))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """The plan and the workers' words, by what is asked of them: there may be thousands of deployments."""

    has_workers: bool
    replicas: Mapping[tuple[str, str], Sequence[ReplicaStatus]]
    """By model and version."""
    homeless: Mapping[str, str]
    """Why a replica fits nowhere, by deployment."""
    assigned: frozenset[str]
    """Deployments that some worker is to hold."""

    def of(self, deployment: Deployment) -> Sequence[ReplicaStatus]:
        """Return the replicas of a deployment's version."""
        return self.replicas.get((deployment.model, deployment.version), ())


def _step(deployment: Deployment, seen: _Seen) -> Step | None:
    if deployment.status is DeploymentStatus.DEPLOYING:
        return _deploying(deployment, seen)
    if deployment.status is DeploymentStatus.ACTIVE:
        return _active(deployment, seen.of(deployment))
    if deployment.status is DeploymentStatus.DRAINING and _is_gone(deployment, seen):
        return Step(deployment=deployment, status=DeploymentStatus.RETIRED, reason=deployment.reason)
    return None


def _deploying(deployment: Deployment, seen: _Seen) -> Step:
    replicas, homeless = seen.of(deployment), seen.homeless.get(deployment.id)
    serving = sum(replica.is_ready for replica in replicas)
    ready = sum(replica.is_ready and replica.digest == deployment.loaded_digest for replica in replicas)
    failed = [replica for replica in replicas if replica.state is ReplicaState.FAILED and replica.digest == deployment.loaded_digest]
    why = next((replica.reason for replica in failed if replica.reason), "the worker gave no reason")
    status, reason = DeploymentStatus.DEPLOYING, ""
    if ready >= deployment.replicas:
        status = DeploymentStatus.ACTIVE
    elif failed and serving and deployment.may_answer:
        # What serves is not taken away because what is to follow it does not come up.
        reason = f"it goes on with what is ready, for it failed on {len(failed)} of the workers: {why}"
    elif failed and (homeless is not None or _is_deadly(failed)):
        status, reason = DeploymentStatus.FAILED, why
    elif homeless is not None:
        reason = f"UNSCHEDULABLE: {homeless}"
    is_placed = seen.has_workers and homeless is None
    return Step(deployment=deployment, status=status, reason=reason, is_placed=is_placed, is_healthy=ready > 0)


def _active(deployment: Deployment, replicas: Sequence[ReplicaStatus]) -> Step | None:
    if any(replica.is_ready for replica in replicas) or not _is_deadly(replicas):
        return None
    why = next(replica.reason for replica in replicas if replica.given_up)
    return Step(deployment=deployment, status=DeploymentStatus.FAILED, reason=why, is_placed=deployment.placed_time is not None)


def _is_deadly(replicas: Sequence[ReplicaStatus]) -> bool:
    return sum(replica.given_up for replica in replicas) >= DEADLY_WORKERS


def _is_gone(deployment: Deployment, seen: _Seen) -> bool:
    return deployment.id not in seen.assigned and all(replica.state in GONE for replica in seen.of(deployment))


def _says_something(step: Step) -> bool:
    held = step.deployment
    newly_placed = step.is_placed and held.placed_time is None
    return step.status is not held.status or step.reason != held.reason or newly_placed
