"""What a placement is decided from, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, IntEnum

from penstock.contracts.assignments import AssignedReplica, Holding


class Purpose(IntEnum):
    """What a deployment is held for; the smaller goes first where memory is short."""

    SERVE = 0
    """The route sends somebody to it, or it is on its way there."""
    RESERVE = 1
    """The shares of before name it: a rollback would need it."""
    ASKED = 2
    """No route names it, and somebody asked for it lately."""
    IDLE = 3
    """Nobody uses it: it goes when the memory is needed."""
    DRAIN = 4
    """It was deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One deployment as placement sees it."""

    deployment_id: str
    model: str
    version: str
    digest: str = ""
    config_json: str = ""
    purpose: Purpose = Purpose.SERVE
    replicas: int = 1
    memory_bytes: int = 0
    """Reckoned for one replica."""
    gpu_type: str = ""
    used_time: float = 0.0
    """When a route last named it or somebody asked for it, in seconds since the Unix epoch."""
    since_time: float = 0.0
    """Time of its last change of status, in seconds since the Unix epoch."""


class Condition(Enum):
    """How a replica of a worker is."""

    READY = "ready"
    COMING = "coming"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """One worker as placement sees it; replicas are by (model, version)."""

    worker_id: str
    budget_bytes: int
    gpu_type: str = ""
    draining: bool = False
    replicas: Mapping[tuple[str, str], Condition] = field(default_factory=dict[tuple[str, str], Condition])
    """Those with the files and the configuration that they were assigned."""
    former: frozenset[tuple[str, str]] = frozenset()
    """Those that serve with a former configuration."""
    assigned: tuple[AssignedReplica, ...] = ()
    """What it is to hold now."""


class Action(Enum):
    """What a plan does with a replica."""

    KEEP = "keep"
    LOAD = "load"
    STANDBY = "standby"
    DRAIN = "drain"
    UNLOAD = "unload"
    UNSCHEDULABLE = "unschedulable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where one replica stands, and why."""

    deployment_id: str
    model: str
    version: str
    worker_id: str
    """Empty when it fits nowhere."""
    action: Action
    reason: str
    memory_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What every live worker is to hold, and why; both in a fixed order."""

    assigned: Mapping[str, tuple[AssignedReplica, ...]] = field(default_factory=dict[str, tuple[AssignedReplica, ...]])
    placements: tuple[Placement, ...] = ()

    def of(self, deployment_id: str) -> tuple[Placement, ...]:
        """Return where one deployment stands."""
        return tuple(each for each in self.placements if each.deployment_id == deployment_id)


HOLDINGS: Mapping[Purpose, Holding] = {
    Purpose.SERVE: Holding.ACTIVE,
    Purpose.RESERVE: Holding.STANDBY,
    Purpose.ASKED: Holding.ACTIVE,
    Purpose.IDLE: Holding.STANDBY,
    Purpose.DRAIN: Holding.DRAINING,
}
"""What workers are told."""
