"""Notes what became of requests, cheaply, and sums the notes up behind the requests' backs.

The inference path leaves one note a chunk and goes on; a task folds notes into outcome windows and exposures every FOLD_SECONDS. Notes
are bounded: what finds the list full is counted and left out, because observing must never slow what it observes.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from typing import NamedTuple

from penstock.contracts.errors import ServingError
from penstock.contracts.observations import AnswerSource
from services.mesh.chunk import Answered
from services.mesh.plan import Reason
from services.router.admission import Tenant
from services.router.calls import Calls
from services.router.choosing import Unit
from services.router.exposing import Exposures, Seen
from services.router.outcome_windows import OutcomeWindows, Scored
from services.router.shadowing import Shadowing
from services.router.targets import Target

NOTES_LIMIT = 20_000
FOLDED_AT_ONCE = 500
"""Notes folded before other work of the loop gets its turn."""


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
    source: AnswerSource

    @property
    def exposed(self) -> int:
        """How many exposures the note is worth: an answer of another version than the one that was meant always is one."""
        plan = self.target.plan
        is_worth = plan is not None and not self.error and (self.is_degraded or (bool(self.units) and plan.has_choice))
        return len(self.tenants) if is_worth else 0


class SharedAnswer(NamedTuple):
    """An answer that was not made for the request that got it."""

    target: Target
    """Whose answer it is."""
    tenant: Tenant
    unit: Unit | None
    id_field: bytes
    source: AnswerSource = AnswerSource.RESULT_CACHE
    stands_in: bool = False
    """Whether it is what a fallback step gave."""


class Observing:
    """Takes notes and folds them."""

    def __init__(self, instance_id: str) -> None:
        """Start without notes."""
        self.windows = OutcomeWindows(instance_id)
        self.exposures = Exposures()
        self.dropped_notes = 0
        """Notes left out since the start; their requests are in no window."""
        self.shadowing: Shadowing | None = None
        """Whose pairs are folded too."""
        self._notes: deque[_Note] = deque()

    def answered(self, calls: Calls, positions: Sequence[int], seconds: float, answer: Answered | None) -> None:
        """Note requests of a chunk that were answered; `answer` where all that it holds are meant."""
        self._take(calls, positions, seconds, "", answer)

    def stood_in(self, calls: Calls, positions: Sequence[int], seconds: float, source: AnswerSource) -> None:
        """Note requests that were answered without their version: from the cache, however old, or as declared."""
        tenants = [calls.tenants[position] for position in positions]
        units = [calls.units[position] for position in positions] if calls.units else ()
        ids = [calls.id_fields[position] for position in positions]
        self._add(_Note(calls.target, tenants, units, ids, seconds, "", None, (), True, source))

    def shared(self, seconds: float, seen: SharedAnswer) -> None:
        """Note a request that was answered from the result cache, or with what an identical one was answered."""
        units = () if seen.unit is None else (seen.unit,)
        note = _Note(seen.target, (seen.tenant,), units, (seen.id_field,), seconds, "", None, (), seen.stands_in, seen.source)
        self._add(note)

    def failed(self, calls: Calls, positions: Sequence[int], seconds: float, error: ServingError) -> None:
        """Note requests of a chunk that failed."""
        self._take(calls, positions, seconds, error.reason, None)

    def single(self, target: Target, tenant: Tenant, seconds: float, error: ServingError | None = None) -> None:
        """Note one request that ended without a chunk, as what is refused before."""
        self._add(_Note(target, (tenant,), (), (), seconds, error.reason if error else "", None, (), False, AnswerSource.WORKER))

    def fold(self, wall_seconds: float) -> bool:
        """Fold up to FOLDED_AT_ONCE notes; return whether there are more."""
        is_more = self.shadowing is not None and self.shadowing.fold(self.windows, self.exposures, wall_seconds)
        for _ in range(min(len(self._notes), FOLDED_AT_ONCE)):
            self._fold(self._notes.popleft(), wall_seconds)
        return is_more or bool(self._notes)

    def _take(self, calls: Calls, positions: Sequence[int], seconds: float, error: str, answer: Answered | None) -> None:
        tenants, units, ids = calls.tenants, calls.units, calls.id_fields
        if len(positions) != len(tenants) or (answer is not None and answer.indices is not None):
            tenants = [tenants[position] for position in positions]
            units = [units[position] for position in positions] if units else []
            ids = [ids[position] for position in positions] if units or calls.target.step > 0 else []
        outputs, is_degraded = calls.learnt.template.outputs, calls.target.step > 0
        self._add(_Note(calls.target, tenants, units, ids, seconds, error, answer, outputs, is_degraded, AnswerSource.WORKER))

    def _add(self, note: _Note) -> None:
        if len(self._notes) >= NOTES_LIMIT:
            self.dropped_notes += 1
            self.exposures.lose(note.exposed)
            return
        self._notes.append(note)

    def _fold(self, note: _Note, wall_seconds: float) -> None:
        target, deployment = note.target, note.target.deployment
        requests, is_degraded = len(note.tenants), note.is_degraded
        sums = self.windows.of(deployment.model, deployment.version)
        sums.count(requests, note.seconds, note.error, degraded=is_degraded)
        if note.answer is not None:
            self.windows.keep_scores(sums, deployment, Scored(note.answer, note.outputs))
        if target.plan is not None:
            sums.revision = target.plan.route.revision
            self._fold_tenants(note, sums.revision)
        if note.exposed:
            self._expose(note, wall_seconds)

    def _fold_tenants(self, note: _Note, revision: int) -> None:
        deployment = note.target.deployment
        names = [tenant.policy.name for tenant in note.tenants]
        for tenant, count in Counter(names).items():
            own = self.windows.of_tenant(deployment.model, deployment.version, tenant)
            if own is None:
                continue
            own.count(count, note.seconds, note.error, degraded=note.is_degraded)
            own.revision = revision
            if note.answer is not None:
                offsets = None if count == len(names) else [offset for offset, name in enumerate(names) if name == tenant]
                self.windows.keep_scores(own, deployment, Scored(note.answer, note.outputs, offsets))

    def _expose(self, note: _Note, wall_seconds: float) -> None:
        plan, nobody = note.target.plan, Unit(Reason.FALLBACK, b"")
        assert plan is not None  # noqa: S101 - the caller looked
        version = "" if note.source is AnswerSource.DECLARED else note.target.deployment.version
        units = note.units or [nobody] * len(note.tenants)
        for unit, tenant, id_field in zip(units, note.tenants, note.id_fields, strict=False):
            why = Unit(Reason.FALLBACK, unit.key) if note.is_degraded else unit
            self.exposures.add(Seen(plan, version, tenant.policy.name, why, id_field, note.source), wall_seconds)
