"""Notes what became of requests, cheaply, and sums the notes up behind the requests' backs.

The inference path leaves one note a chunk and goes on; a task folds notes into outcome windows and exposures every FOLD_SECONDS. Notes
are bounded: what finds the list full is counted and left out, because observing must never slow what it observes.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from penstock.contracts.errors import ServingError
from penstock.contracts.observations import Exposure
from services.mesh.chunk import Answered
from services.router.admission import Tenant
from services.router.calls import Calls
from services.router.choosing import Unit
from services.router.outcome_windows import OutcomeWindows
from services.router.shadowing import Shadowing
from services.router.targets import Target

NOTES_LIMIT = 20_000
FOLDED_AT_ONCE = 500
"""Notes folded before other work of the loop gets its turn."""
EXPOSURES_LIMIT = 20_000
"""Exposures that wait to be sent."""


class _Note(NamedTuple):
    target: Target
    tenants: Sequence[Tenant]
    units: Sequence[Unit]
    id_fields: Sequence[bytes]
    seconds: float
    error: str
    answer: Answered | None
    outputs: Sequence[int]
    is_degraded: bool


class Observing:
    """Takes notes and folds them."""

    def __init__(self, instance_id: str) -> None:
        """Start without notes."""
        self.windows = OutcomeWindows(instance_id)
        self.exposures: deque[Exposure] = deque()
        self.dropped_exposures = 0
        """Exposures left out since they were last asked for."""
        self.dropped_notes = 0
        self.shadowing: Shadowing | None = None
        """Whose pairs are folded too."""
        self._notes: deque[_Note] = deque()

    def answered(self, calls: Calls, positions: Sequence[int], seconds: float, answer: Answered | None) -> None:
        """Note requests of a chunk that were answered; `answer` where all that it holds are meant."""
        self._take(calls, positions, seconds, "", answer)

    def stood_in(self, calls: Calls, positions: Sequence[int], seconds: float) -> None:
        """Note requests that were answered without their version: from the cache, however old, or as declared."""
        tenants = [calls.tenants[position] for position in positions]
        self._add(_Note(calls.target, tenants, (), (), seconds, "", None, (), True))

    def failed(self, calls: Calls, positions: Sequence[int], seconds: float, error: ServingError) -> None:
        """Note requests of a chunk that failed."""
        self._take(calls, positions, seconds, error.reason, None)

    def single(self, target: Target, tenant: Tenant, seconds: float, error: ServingError | None = None) -> None:
        """Note one request that ended without a chunk: refused before, or answered from the cache."""
        self._add(_Note(target, (tenant,), (), (), seconds, error.reason if error else "", None, (), False))

    def fold(self, wall_seconds: float) -> bool:
        """Fold up to FOLDED_AT_ONCE notes; return whether there are more."""
        if self.shadowing is not None:
            self.shadowing.fold(self.windows)
        for _ in range(min(len(self._notes), FOLDED_AT_ONCE)):
            self._fold(self._notes.popleft(), wall_seconds)
        return bool(self._notes)

    def _take(self, calls: Calls, positions: Sequence[int], seconds: float, error: str, answer: Answered | None) -> None:
        tenants, units, ids = calls.tenants, calls.units, calls.id_fields
        if len(positions) != len(tenants):
            tenants = [tenants[position] for position in positions]
            units = [units[position] for position in positions] if units else []
            ids = [ids[position] for position in positions] if units else []
        self._add(_Note(calls.target, tenants, units, ids, seconds, error, answer, calls.learnt.template.outputs, calls.target.step > 0))

    def _add(self, note: _Note) -> None:
        if len(self._notes) >= NOTES_LIMIT:
            self.dropped_notes += 1
            self.dropped_exposures += len(note.units)
            return
        self._notes.append(note)

    def _fold(self, note: _Note, wall_seconds: float) -> None:
        target, deployment = note.target, note.target.deployment
        requests, is_degraded = len(note.tenants), note.is_degraded
        sums = self.windows.of(deployment.model, deployment.version)
        sums.count(requests, note.seconds, note.error, degraded=is_degraded)
        if target.plan is not None:
            sums.revision = target.plan.route.revision
            for tenant, count in Counter(one.policy.name for one in note.tenants).items():
                own = self.windows.of_tenant(deployment.model, deployment.version, tenant)
                if own is not None:
                    own.count(count, note.seconds, note.error, degraded=is_degraded)
                    own.revision = sums.revision
        if note.answer is not None:
            self.windows.keep_scores(sums, deployment, note.answer, note.outputs)
        if note.units and not note.error:
            self._expose(note, wall_seconds)

    def _expose(self, note: _Note, wall_seconds: float) -> None:
        plan = note.target.plan
        if plan is None or not plan.has_choice:
            return
        salt = (plan.route.routing_key.salt or plan.route.model).encode()
        for unit, tenant, id_field in zip(note.units, note.tenants, note.id_fields, strict=False):
            if len(self.exposures) >= EXPOSURES_LIMIT:
                self.dropped_exposures += 1
                continue
            self.exposures.append(
                Exposure(
                    time=wall_seconds,
                    model=plan.route.model,
                    version=note.target.deployment.version,
                    tenant=tenant.policy.name,
                    unit=hashlib.sha256(salt + unit.key).digest()[:16],
                    reason=int(unit.reason),
                    route_revision=plan.route.revision,
                    request_id=_request_id(id_field),
                )
            )


def _request_id(id_field: bytes) -> str:
    """Return the id that stands in a field of an answer: tag, length (two bytes from 128 on), text."""
    if not id_field:
        return ""
    return id_field[2 if id_field[1] < 128 else 3 :].decode(errors="replace")
