"""Turns the catalogue and the workers' words into what placement decides from. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.contracts.routes import Route
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from services.controller.deployment_values import Deployment, DeploymentStatus
from services.controller.fleet import budget_of, gpu_type_of, memory_need, replicas_by_version
from services.controller.placement_values import Condition, Purpose, Wanted, WorkerView
from services.controller.route_values import AssignmentRevision, RouteRevision
from services.controller.traffic_plan import previous, route_versions, shares

ASKED_SECONDS = 45.0
"""How long a version that no route names keeps its room after the last request for it, against another one that is asked for.

Less than the minute for which routers tell whoever asks that the version is being loaded: where all the room is taken by what somebody
asked for, the first that nobody asks for any more leaves while the callers of another one still wait.
"""

CONDITIONS: Mapping[ReplicaState, Condition] = {
    ReplicaState.LOADING: Condition.COMING,
    ReplicaState.WARMING: Condition.COMING,
    ReplicaState.READY: Condition.READY,
    ReplicaState.FAILED: Condition.FAILED,
}
"""What draining and unloaded replicas are: nothing that can be counted on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """All that one round of placement looks at."""

    deployments: tuple[Deployment, ...]
    """Those that workers hold or are to hold."""
    memory: Mapping[str, int]
    """Bytes that registration measured, by deployment; 0 when it did not."""
    histories: Mapping[str, tuple[RouteRevision, ...]]
    """Revisions of the routes of their models, newest first."""
    assignments: Mapping[str, AssignmentRevision]
    """The newest of every worker."""
    workers: tuple[WorkerStatus, ...] = ()
    asked: Mapping[tuple[str, str], float] = field(default_factory=dict[tuple[str, str], float])
    """When a version was last asked for that no route names, by model and version, in seconds since the Unix epoch."""
    time: float = 0.0
    """Of the database, in seconds since the Unix epoch."""


def wanted_of(picture: Picture) -> tuple[Wanted, ...]:
    """Return every deployment with what it is held for."""
    replicas = replicas_by_version(picture.workers)
    return tuple(
        Wanted(
            deployment_id=each.id,
            model=each.model,
            version=each.version,
            digest=each.digest,
            config_json=each.config_json,
            purpose=_purpose(each, picture),
            replicas=each.replicas,
            memory_bytes=memory_need(each, picture.memory[each.id], replicas.get((each.model, each.version), ())),
            gpu_type=each.gpu_type,
            used_time=_used_time(each, picture),
            since_time=each.changed_time,
        )
        for each in picture.deployments
    )


def views_of(picture: Picture) -> tuple[WorkerView, ...]:
    """Return the workers as placement sees them."""
    return tuple(_view(worker, picture.assignments.get(worker.worker_id)) for worker in picture.workers)


def _view(worker: WorkerStatus, held: AssignmentRevision | None) -> WorkerView:
    assigned = held.assignment.replicas if held else ()
    digests = {(one.model, one.version): one.loaded_digest for one in assigned}
    return WorkerView(
        worker_id=worker.worker_id,
        budget_bytes=budget_of(worker),
        gpu_type=gpu_type_of(worker),
        draining=worker.draining,
        replicas={
            (replica.model, replica.version): CONDITIONS[replica.state]
            for replica in worker.replicas
            if replica.state in CONDITIONS and _is_as_assigned(replica, digests)
        },
        former=frozenset(
            (replica.model, replica.version) for replica in worker.replicas if replica.is_ready and not _is_as_assigned(replica, digests)
        ),
        assigned=assigned,
    )


def _is_as_assigned(replica: ReplicaStatus, digests: Mapping[tuple[str, str], str]) -> bool:
    return digests.get((replica.model, replica.version), replica.digest) == replica.digest


def _purpose(deployment: Deployment, picture: Picture) -> Purpose:
    purpose = _routed_purpose(deployment, picture.histories.get(deployment.model, ()))
    asked_time = picture.asked.get((deployment.model, deployment.version))
    if purpose is Purpose.IDLE and asked_time is not None and abs(picture.time - asked_time) < ASKED_SECONDS:
        return Purpose.ASKED
    return purpose


def _routed_purpose(deployment: Deployment, history: Sequence[RouteRevision]) -> Purpose:
    if deployment.status is DeploymentStatus.DRAINING:
        return Purpose.DRAIN
    if deployment.status is DeploymentStatus.DEPLOYING:
        return Purpose.SERVE
    current = _current(history)
    if current is None:
        return Purpose.IDLE
    if deployment.version in used_versions(current):
        return Purpose.SERVE
    before = previous(history[1:], current)
    if before is not None and before.route is not None and deployment.version in shares(before.route.backends):
        return Purpose.RESERVE
    return Purpose.IDLE


def _used_time(deployment: Deployment, picture: Picture) -> float:
    """Return when somebody last had a use for it."""
    asked_time = picture.asked.get((deployment.model, deployment.version), 0.0)
    return max(_routed_time(deployment, picture.histories.get(deployment.model, ())), asked_time)


def _routed_time(deployment: Deployment, history: Sequence[RouteRevision]) -> float:
    """Return when a route last named it: the time of the change that took it away, or of its own beginning."""
    newer = None
    for held in history:
        if held.route is not None and deployment.version in used_versions(held.route):
            return newer.changed_time if newer else held.changed_time
        newer = held
    return deployment.created_time


def used_versions(route: Route) -> frozenset[str]:
    """Return the versions that somebody may be sent to: a backend without a share is only kept in its place."""
    waiting = {backend.version for backend in route.backends if not backend.weight_basis_points}
    others = {step.version for step in route.fallback} | set(route.pins.values()) | ({route.shadow.version} if route.shadow else set())
    return route_versions(route) - (waiting - others)


def _current(history: Sequence[RouteRevision]) -> Route | None:
    return history[0].route if history else None
