"""One worker in the drawing of a placement: what it is to hold, what is to leave it, and the room that is left."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from penstock.contracts.assignments import AssignedReplica, Holding
from services.controller.placement_values import HOLDINGS, Condition, Placement, Purpose, Wanted, WorkerView


@dataclass(slots=True)
class Site:
    """One worker in the drawing."""

    view: WorkerView
    held: dict[str, tuple[Wanted, Placement]] = field(default_factory=dict[str, tuple[Wanted, Placement]])
    leaving: dict[str, tuple[Wanted, Placement]] = field(default_factory=dict[str, tuple[Wanted, Placement]])
    failed: dict[str, tuple[Wanted, Placement]] = field(default_factory=dict[str, tuple[Wanted, Placement]])
    former: dict[str, AssignedReplica] = field(default_factory=dict[str, AssignedReplica])
    """What stays assigned as it was, although it is wanted otherwise by now."""
    twice: set[str] = field(default_factory=set[str])
    """What is there twice for a while: as it was, and as it is to be."""

    given: dict[str, AssignedReplica] = field(init=False)
    """What it is assigned now, by deployment."""

    def __post_init__(self) -> None:
        """Sort what it is assigned by deployment."""
        self.given = {replica.deployment_id: replica for replica in reversed(self.view.assigned)}

    @property
    def every(self) -> tuple[tuple[Wanted, Placement], ...]:
        """All that counts for its memory."""
        return (*self.held.values(), *self.failed.values(), *self.leaving.values())

    @property
    def room(self) -> int:
        """Bytes that are promised to nobody."""
        return self.view.budget_bytes - sum(
            wanted.memory_bytes * (2 if wanted.deployment_id in self.twice else 1) for wanted, _ in self.every
        )

    def condition(self, wanted: Wanted) -> Condition | None:
        """Return how the replica is that it was assigned."""
        return self.view.replicas.get((wanted.model, wanted.version))

    def serves(self, wanted: Wanted) -> bool:
        """Whether it has a ready replica, however it is configured."""
        return self.condition(wanted) is Condition.READY or (wanted.model, wanted.version) in self.view.former

    def may_hold(self, wanted: Wanted) -> bool:
        """Whether a replica could be placed there, memory aside."""
        name = wanted.deployment_id
        is_free = name not in self.held and name not in self.failed and name not in self.leaving
        failed = self.view.replicas.get((wanted.model, wanted.version)) is Condition.FAILED
        return is_free and not failed and not self.view.draining and wanted.gpu_type in ("", self.view.gpu_type)


def note_former(site: Site, wanted: Wanted) -> None:
    """Compare what a worker was assigned of a deployment with what is wanted now."""
    given = site.given[wanted.deployment_id]
    if (given.digest, given.config_json) != (wanted.digest, wanted.config_json):
        site.former[wanted.deployment_id] = given
    elif site.serves(wanted) and site.condition(wanted) is not Condition.READY:
        site.twice.add(wanted.deployment_id)


def evictions(site: Site, needed: int) -> list[Wanted] | None:
    """Return which idle deployments would have to leave for so many bytes; None when all of them were not enough."""
    evicted: list[Wanted] = []
    room = site.room
    idle = sorted(
        (each for each, _ in site.held.values() if each.purpose is Purpose.IDLE), key=lambda each: (each.used_time, each.deployment_id)
    )
    for each in idle:
        if room >= needed:
            break
        evicted.append(each)
        room += each.memory_bytes
    return evicted if room >= needed else None


def assigned(site: Site) -> tuple[AssignedReplica, ...]:
    """Return what the worker is told to hold, in order of loading."""
    replicas = [(each, HOLDINGS[each.purpose]) for each, _ in (*site.held.values(), *site.failed.values())]
    replicas += [(each, Holding.DRAINING) for each, _ in site.leaving.values()]
    ordered = sorted(replicas, key=lambda pair: (pair[1].value, pair[0].purpose, pair[0].deployment_id))
    return tuple(replace(site.former.get(each.deployment_id) or _as_wanted(each), holding=holding) for each, holding in ordered)


def _as_wanted(wanted: Wanted) -> AssignedReplica:
    return AssignedReplica(
        model=wanted.model,
        version=wanted.version,
        digest=wanted.digest,
        config_json=wanted.config_json,
        deployment_id=wanted.deployment_id,
    )
