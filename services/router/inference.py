"""The use case: understand → admit → dispatch, one wave at a time; answers come back the same way.

This is the hot path, and denser than the rest of the house for a reason: a request's share of Python here is what the platform
costs. What keeps it small: heads are scanned and inputs recognised, not parsed (understanding.py); book-keeping is per chunk of up
to 64 requests (chunk.py); what varies within a chunk is a column (with 100 tenants in the chunk's key instead, a quarter of the throughput
was lost on the sketch); requests that differ in nothing that matters are admitted together (alike.py), and only what is special is
looked at one by one. What else is ever to be decided for single requests belongs into `_admit`, and must keep `Alike` from taking them.

Every call ends in exactly one of: an answer, a typed refusal, or its caller's leaving; `Chunk.take` decides races between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.contracts.errors import CallerLeft, ModelNotFound, NoReadyReplica, ServingError
from penstock.contracts.observations import AnswerSource
from services.mesh.chunk import Answered, Chunk
from services.mesh.dispatch import Dispatch
from services.router import answers
from services.router.admission import Tenant
from services.router.alike import ALIKE_AT_LEAST, Alike
from services.router.calls import Calls
from services.router.fallback import FallbackChain
from services.router.front import Front, Wave
from services.router.intake import LONGEST_DEADLINE_SECONDS, Intake
from services.router.layouts import Layout
from services.router.observing import Observing
from services.router.outcomes import RouterMetrics
from services.router.refusals import REQUESTS_IN_FLIGHT_LIMIT, absent, door, untold
from services.router.request_spans import begin_span
from services.router.rerouting import Rerouting
from services.router.shadowing import Shadowing
from services.router.shared_answers import SharedAnswers
from services.router.targets import Target
from services.router.tenants import Tenants
from services.router.tracing import RequestTracer
from services.router.understanding import NotUnderstood, Understanding, Understood


class Inference:
    """Takes waves from fronts and gives answers back to them."""

    def __init__(
        self,
        understanding: Understanding,
        dispatch: Dispatch,
        tenants: Tenants,
        *,
        clock: Callable[[], float],
        shared: SharedAnswers,
        metrics: RouterMetrics,
        tracer: RequestTracer | None = None,
        observing: Observing | None = None,
    ) -> None:
        """Keep the collaborators."""
        self.tenants = tenants
        self.requests_in_flight = 0
        self._understand = understanding
        self._dispatch = dispatch
        self._clock = clock
        self._shared = shared
        self._metrics = metrics
        self._tracer = tracer
        self._observing = observing
        self.fallback: FallbackChain | None = None
        """Helps requests whose version failed, where routes are written."""
        self.shadowing: Shadowing | None = None
        self._rerouting = Rerouting(understanding, dispatch, clock)
        self._alike = Alike(self, tenants, tracer)
        self._waves = 0

    # --- in ----------------------------------------------------------------------------------------------------------------------

    def take(self, front: Front, wave: Wave) -> None:
        """Admit and send a wave; answers come later, refusals at once."""
        self._waves += 1
        if self.tenants.expires_time is not None:
            self.tenants.forget_expired()
        intake = Intake(front, wave, self._clock(), self._waves)
        gone = set(wave.cancelled) if wave.cancelled else None
        for index in self._special(intake, gone):
            try:
                self._admit(intake, index)
            except ServingError as error:
                intake.refused.append(wave.call_ids[index])
                intake.errors.append(error)
        for chunk in (*intake.cut, *(chunk for chunk, _ in intake.opened.values())):
            chunk.seal()
            self.requests_in_flight += chunk.size
            if chunk.context.deployment.graph is not None and isinstance(chunk.context, Calls):
                chunk.context.remember(wave)
            self._dispatch.send(chunk, chunk.context.deployment, intake.now)
        if intake.refused:
            front.fail_many(intake.refused, intake.errors)
        if gone:
            self._forget(front, gone)
        self._dispatch.flush()
        if self.shadowing is not None and self.shadowing.is_wanted:
            self.shadowing.copy_all([*intake.cut, *(chunk for chunk, _ in intake.opened.values())])

    def _special(self, intake: Intake, gone: set[int] | None) -> list[int]:
        """Admit what can be admitted together, and return the places of the other calls whose callers have not left."""
        call_ids = intake.wave.call_ids
        if len(call_ids) < ALIKE_AT_LEAST or self.requests_in_flight + len(call_ids) > REQUESTS_IN_FLIGHT_LIMIT:
            layouts, special = dict[Layout, list[int]](), list(range(len(call_ids)))
        else:
            layouts, special = self._understand.layouts.sort(intake.wave.payloads)
        if gone:
            layouts = {layout: [place for place in places if call_ids[place] not in gone] for layout, places in layouts.items()}
            special = [place for place in special if call_ids[place] not in gone]
        for layout, places in layouts.items():
            # A few cost less one by one.
            if len(places) < ALIKE_AT_LEAST or not self._alike.admit(intake, layout, places):
                special += places
        return special

    def _admit(self, intake: Intake, index: int) -> None:
        wave, now = intake.wave, intake.now
        tenant = self._tenant(intake, index)
        try:
            affinity = wave.affinities.get(wave.call_ids[index]) if wave.affinities else None
            understood = target, learnt, parts, parameters, identity, unit = self._understand(
                wave.payloads[index], tenant.policy.name, affinity
            )
        except NotUnderstood as refusal:
            raise self._refusal(tenant, refusal) from None
        if tenant.policy.models is not None and not tenant.may_call(target.name):
            raise self._counted(tenant, target, absent(target.name))
        deadline = wave.deadlines[index]
        if deadline > now + LONGEST_DEADLINE_SECONDS:  # noqa: PLR1730 - `min` costs a call
            deadline = now + LONGEST_DEADLINE_SECONDS
        if parameters.timeout_seconds is not None:
            deadline = min(deadline, now + parameters.timeout_seconds)
        levels, rows = target.deployment.priority_levels, learnt.template.rows
        error = door(deadline, now, parameters.priority, levels, self.requests_in_flight) or tenant.admit(rows)
        if error is not None:
            raise self._counted(tenant, target, error)
        caches = target.deployment.response_cache
        if (caches or not rows) and self._without_worker(intake, index, Understood(*understood), tenant, deadline):
            return
        key = (learnt, parameters.priority if levels else 0)
        chunk, calls = intake.opened.get(key) or intake.open(self, target, *key)
        for column, part in zip(chunk.columns, parts):  # noqa: B905 - both have one entry an input
            column.append(part)
        chunk.tenants.append(tenant.policy.number)
        chunk.deadlines.append(deadline)
        calls.enter(wave.call_ids[index], identity, tenant, unit)
        if caches:
            self._shared.lead(calls, Understood(*understood), tenant)
        if self._tracer is not None:
            begin_span(self._tracer, chunk, calls, wave.traces[index])
        intake.close_full(chunk, *key)

    def _without_worker(self, intake: Intake, index: int, understood: Understood, tenant: Tenant, deadline: float) -> bool:
        """Answer a request without rows, or one that the cache knows or somebody else has asked; False when a worker is to answer."""
        if understood.learnt.template.rows:
            return self._shared.take(intake, index, understood, tenant, deadline)
        intake.front.respond_many([intake.wave.call_ids[index]], [answers.without_rows(understood)])
        understood.target.outcomes.succeed(1, self._clock() - intake.now)
        understood.target.outcomes.count(tenant.policy.name, "OK", 1)
        return True

    def _tenant(self, intake: Intake, index: int) -> Tenant:
        wave = intake.wave
        key = wave.keys[index]
        tenant = self.tenants.known.get(key)
        if tenant is None:
            try:
                tenant = self.tenants.of(key, None if wave.peer_of is None else wave.peer_of(wave.call_ids[index]))
            except ServingError as error:
                self._metrics.refuse("unknown", error)
                raise
        intake.meet(tenant)
        return tenant

    # --- out ---------------------------------------------------------------------------------------------------------------------

    def answered(self, chunk: Chunk, answer: Answered, released: Sequence[int] | None) -> None:
        """Give answers to their callers."""
        calls = chunk.context
        assert isinstance(calls, Calls)  # noqa: S101 - every chunk of this sink was made above
        offsets = range(answer.count) if released is None else released
        if not offsets:
            return
        positions = answer.positions()
        try:
            built = answers.payloads(calls, answer, offsets)
        except Exception as error:  # noqa: BLE001 - translated; what left here would end the link that everybody's answers come by
            self.failed(chunk, [positions[offset] for offset in offsets], untold(error))
            return
        is_whole = released is None and len(calls.call_ids) == answer.count and answer.indices is None
        wanted = range(len(built)) if is_whole else [positions[offset] for offset in offsets]
        calls.front.respond_many(calls.call_ids if is_whole else [calls.call_ids[position] for position in wanted], built)
        self.requests_in_flight -= len(built)
        calls.release(wanted)
        seconds = self._clock() - calls.arrived_at
        calls.target.outcomes.succeed(len(built), seconds)
        calls.count_answers(wanted)
        if calls.cache_keys is not None:
            (self._shared.stand_in if calls.target.step > 0 else self._shared.land)(calls, wanted, built)
        if calls.copies and self.shadowing is not None:
            self.shadowing.caller_answered(calls, wanted, answer, offsets, seconds)
        if self._observing is not None:
            self._observing.answered(calls, wanted, seconds, answer if released is None else None)
        if calls.spans:
            self._end_spans(calls, wanted, seconds, None)

    def failed(self, chunk: Chunk, positions: Sequence[int], error: ServingError) -> None:
        """Tell callers that their requests failed."""
        calls = chunk.context
        assert isinstance(calls, Calls)  # noqa: S101 - every chunk of this sink was made above
        if calls.copies and self.shadowing is not None:
            self.shadowing.caller_failed(calls, positions)
        if calls.target.plan is None:
            positions = self._rerouting.follow(chunk, positions, error)
        elif self.fallback is not None:
            positions, error = self.fallback.help(chunk, positions, error, self._stand_in)
        if isinstance(error, NoReadyReplica) and positions:
            positions = self._dispatch.wait(chunk, positions)
        if not positions:
            return
        calls.front.fail_many([calls.call_ids[position] for position in positions], [error] * len(positions))
        self._let_go(calls, positions, error)
        if self._observing is not None:
            self._observing.failed(calls, positions, self._clock() - calls.arrived_at, error)
        self._shared.abandon(calls, positions, error)

    def _stand_in(self, calls: Calls, positions: Sequence[int], payloads: Sequence[bytes], source: AnswerSource) -> None:
        """Give answers that are not the version's own."""
        calls.front.respond_many([calls.call_ids[position] for position in positions], payloads)
        self.requests_in_flight -= len(positions)
        calls.release(positions)
        seconds = self._clock() - calls.arrived_at
        calls.target.outcomes.succeed(len(positions), seconds)
        calls.count_answers(positions)
        if self._observing is not None:
            self._observing.stood_in(calls, positions, seconds, source)
        if calls.cache_keys is not None:
            self._shared.stand_in(calls, positions, payloads, source)
        if calls.spans:
            self._end_spans(calls, positions, seconds, None)

    def _forget(self, front: Front, gone: set[int]) -> None:
        """Take back the requests whose callers left; in-flight chunks are few, so they are searched, not indexed."""
        left = CallerLeft("the caller left")
        gone -= self._shared.leave(front, gone)
        for chunk in self._dispatch.in_flight():
            calls = chunk.context
            if not gone:
                return
            if not isinstance(calls, Calls) or calls.front is not front:
                continue
            found = gone.intersection(calls.call_ids)
            gone -= found
            for call_id in found:
                position = calls.call_ids.index(call_id)
                heir = self._shared.promote(calls, position, left) if chunk.is_open(position) else None
                if heir is not None:
                    chunk.wait_until(position, heir.deadline)
                elif self._dispatch.cancel(chunk, position):
                    self._let_go(calls, [position], left)

    def _let_go(self, calls: Calls, positions: Sequence[int], error: ServingError) -> None:
        if calls.copies and self.shadowing is not None:
            self.shadowing.caller_failed(calls, positions)
        self.requests_in_flight -= len(positions)
        calls.release(positions)
        for position in positions:
            calls.target.outcomes.fail(error, calls.tenants[position].policy.name)
        if calls.spans:
            self._end_spans(calls, positions, self._clock() - calls.arrived_at, error)

    def _refusal(self, tenant: Tenant, refusal: NotUnderstood) -> ServingError:
        error = refusal.error
        if tenant.policy.models is not None and (
            isinstance(error, ModelNotFound) or (refusal.model and not tenant.may_call(refusal.model))
        ):
            # A model of others is refused in the very words of one that does not exist, and neither advises names of others.
            error = absent(refusal.model)
        if refusal.target is None:
            self._metrics.refuse(tenant.policy.name, error)
            return error
        return self._counted(tenant, refusal.target, error)

    def _counted(self, tenant: Tenant, target: Target, error: ServingError) -> ServingError:
        target.outcomes.fail(error, tenant.policy.name)
        if self._observing is not None:
            self._observing.single(target, tenant, 0.0, error)
        return error

    def _end_spans(self, calls: Calls, positions: Sequence[int], seconds: float, error: ServingError | None) -> None:
        if self._tracer is not None and calls.spans is not None:
            for position in positions:
                span = calls.spans.pop(position, None)
                if span is not None:
                    self._tracer.end(span, calls.target, seconds, error)
                    if error is None:
                        calls.target.outcomes.keep_exemplar(span, seconds)
