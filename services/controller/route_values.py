"""What the catalogue keeps of routes and assignments: every revision, with who wrote it and why."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.contracts.assignments import Assignment
from penstock.contracts.routes import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteRevision:
    """One revision of a model's route; `route` is None where the model has no route any more."""

    model: str
    revision: int
    route: Route | None
    action: str
    """What wrote it, for example `route.weights` or `route.rollback`."""
    actor: str
    why: str = ""
    change_id: str = ""
    changed_time: float = 0.0
    writer_epoch: int = 0
    sequence: int = 0
    """Number of its row in the outbox."""
    break_glass: bool = False
    rolled_back_from: int = 0
    """Revision that a rollback replaced; 0 when it is no rollback."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssignmentRevision:
    """One revision of what a worker is to hold."""

    worker_id: str
    revision: int
    assignment: Assignment
    reasons: tuple[str, ...] = ()
    """Why each replica stands where it does, in the order of the assignment."""
    changed_time: float = 0.0
    sequence: int = 0
