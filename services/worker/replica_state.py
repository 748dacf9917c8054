"""The life of a replica as a table. Pure.

    LOADING ──LOADED──▶ WARMING ──WARMED──▶ READY ──RETIRED──▶ DRAINING ──EMPTIED──▶ UNLOADED
       │                   │                  │
       └──────FAILED───────┴──────FAILED──────┴──▶ FAILED

- LOADING reads and verifies files and builds the session; WARMING runs warm-up, golden examples and measurements. Neither is visible
  to routers as a target.
- READY is the only state that takes requests. A replica leaves it by RETIRED (another one took over, or nobody wants the version any
  more), or by FAILED when its execution was given up.
- A load that nobody wants any more is ABANDONED: there is nothing to finish, so it goes straight to UNLOADED.
- UNLOADED and FAILED are ends. A version that is tried again gets a new replica with a new id, so that a late answer of the old one can
  never be taken for one of the new.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from penstock.contracts.errors import InvalidTransition
from penstock.contracts.worker_status import ReplicaState


class ReplicaEvent(Enum):
    """What moves a replica on."""

    LOADED = "loaded"
    WARMED = "warmed"
    RETIRED = "retired"
    EMPTIED = "emptied"
    ABANDONED = "abandoned"
    FAILED = "failed"


TRANSITIONS: dict[tuple[ReplicaState, ReplicaEvent], ReplicaState] = {
    (ReplicaState.LOADING, ReplicaEvent.LOADED): ReplicaState.WARMING,
    (ReplicaState.LOADING, ReplicaEvent.ABANDONED): ReplicaState.UNLOADED,
    (ReplicaState.LOADING, ReplicaEvent.FAILED): ReplicaState.FAILED,
    (ReplicaState.WARMING, ReplicaEvent.WARMED): ReplicaState.READY,
    (ReplicaState.WARMING, ReplicaEvent.ABANDONED): ReplicaState.UNLOADED,
    (ReplicaState.WARMING, ReplicaEvent.FAILED): ReplicaState.FAILED,
    (ReplicaState.READY, ReplicaEvent.RETIRED): ReplicaState.DRAINING,
    (ReplicaState.READY, ReplicaEvent.FAILED): ReplicaState.FAILED,
    (ReplicaState.DRAINING, ReplicaEvent.EMPTIED): ReplicaState.UNLOADED,
}
"""Every legal step; what is not here is refused."""

FINAL = frozenset({ReplicaState.UNLOADED, ReplicaState.FAILED})
"""States that no event leaves."""

COMING = frozenset({ReplicaState.LOADING, ReplicaState.WARMING})
"""States on the way to READY."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLife:
    """Where a replica is in its life, since when, and why."""

    state: ReplicaState = ReplicaState.LOADING
    changed_time: float
    """Wall clock of the last step, in seconds since the Unix epoch."""
    reason: str = ""
    """Why it is not ready; empty while there is nothing to explain."""

    def after(self, event: ReplicaEvent, *, now: float, reason: str = "") -> ReplicaLife:
        """Return the life one step on.

        Raises:
            InvalidTransition: the table has no such step.
        """
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            raise InvalidTransition(f"a replica that is {self.state.name.lower()} cannot be {event.value}")
        return ReplicaLife(state=state, changed_time=now, reason=reason)
