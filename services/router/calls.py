"""The callers of a chunk: who waits for what, as columns beside the chunk's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.chassis.trace_context import SpanContext
from services.mesh.route_table import Deployment
from services.router.admission import Tenant
from services.router.choosing import Unit
from services.router.copy_pairs import Copy
from services.router.front import Affinity, Front, Wave
from services.router.targets import Target
from services.router.templates import Learnt


class Origin(NamedTuple):
    """What a caller sent."""

    payload: bytes
    affinity: Affinity | None


class Calls:
    """Context of a chunk in the router; position i of every column is request i of the chunk."""

    __slots__ = (
        "arrived_at",
        "cache_keys",
        "call_ids",
        "copies",
        "front",
        "id_fields",
        "learnt",
        "origins",
        "spans",
        "target",
        "tenants",
        "units",
    )

    def __init__(self, front: Front, target: Target, learnt: Learnt, arrived_at: float) -> None:
        """Start without callers."""
        self.front = front
        self.target = target
        self.learnt = learnt
        self.arrived_at = arrived_at
        self.call_ids: list[int] = []
        self.id_fields: list[bytes] = []
        self.tenants: list[Tenant] = []
        self.units: list[Unit] = []
        """Why each request got its version; empty where the route leaves no choice."""
        self.copies: dict[int, Copy] | None = None
        """What a shadow was sent of these requests, by position."""
        self.cache_keys: list[bytes] | None = None
        self.spans: dict[int, SpanContext] | None = None
        self.origins: list[Origin] | None = None
        """What callers of a graph sent; None for other versions, and where a graph stands in for one."""

    def enter(self, call_id: int, id_field: bytes, tenant: Tenant, unit: Unit | None) -> None:
        """Add a caller."""
        self.call_ids.append(call_id)
        self.id_fields.append(id_field)
        self.tenants.append(tenant)
        if unit is not None:
            self.units.append(unit)

    @property
    def deployment(self) -> Deployment:
        """The deployment that is to answer."""
        return self.target.deployment

    def part(self, positions: Sequence[int]) -> Calls:
        """Return the callers at `positions` alone."""
        part = Calls(self.front, self.target, self.learnt, self.arrived_at)
        part.call_ids = [self.call_ids[position] for position in positions]
        part.id_fields = [self.id_fields[position] for position in positions]
        part.tenants = [self.tenants[position] for position in positions]
        if self.units:
            part.units = [self.units[position] for position in positions]
        if self.copies:
            part.copies = {index: self.copies.pop(position) for index, position in enumerate(positions) if position in self.copies}
        if self.cache_keys is not None:
            part.cache_keys = [self.cache_keys[position] for position in positions]
        if self.origins is not None:
            part.origins = [self.origins[position] for position in positions]
        if self.spans is not None:
            part.spans = {index: self.spans[position] for index, position in enumerate(positions) if position in self.spans}
        return part

    def remember(self, wave: Wave) -> None:
        """Keep what the callers sent: the steps of a graph are asked in their words."""
        places = {call_id: place for place, call_id in enumerate(wave.call_ids)}
        found = [(call_id, places[call_id]) for call_id in self.call_ids]
        self.origins = [Origin(wave.payloads[place], wave.affinities.get(call_id)) for call_id, place in found]

    def count_answers(self, positions: Sequence[int]) -> None:
        """Count answers by tenant."""
        outcomes, first = self.target.outcomes, self.tenants[0]
        if len(positions) == len(self.tenants) == self.tenants.count(first):
            outcomes.count(first.policy.name, "OK", len(positions))
            return
        for position in positions:
            outcomes.count(self.tenants[position].policy.name, "OK", 1)

    def release(self, positions: Sequence[int]) -> None:
        """Give the tenants back what these requests held."""
        tenants, rows = self.tenants, self.learnt.template.rows
        first = tenants[0]
        if len(positions) == len(tenants) == tenants.count(first):
            first.release(rows * len(positions))
            return
        for position in positions:
            tenants[position].release(rows)


@dataclass(frozen=True, slots=True, eq=False)
class Waiter:
    """A caller whose question is already being answered for somebody else."""

    front: Front
    call_id: int
    id_field: bytes
    tenant: Tenant
    target: Target
    rows: int
    arrived_at: float
    deadline: float
    unit: Unit | None = None
