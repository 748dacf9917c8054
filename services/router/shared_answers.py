"""Answers questions from the result cache, and lets identical questions wait for one execution.

A question of a model whose answers are shared is looked up in Redis when the memory does not know it and nobody has asked it yet. It waits
meanwhile as the first of those who wait for its answer. What is found is everybody's; if nothing is, whoever waits longest asks a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
import xxhash

from penstock.contracts.errors import CallerLeft, DeadlineExceeded, Internal, ServingError, Unavailable
from penstock.contracts.observations import AnswerSource
from services.router.admission import Tenant
from services.router.cache_values import PREFIX, key_of
from services.router.calls import Calls, Waiter
from services.router.front import Front
from services.router.intake import Intake
from services.router.observing import Observing, SharedAnswer
from services.router.result_cache import ResultCache
from services.router.shared_tier import Found, SharedTier
from services.router.targets import Target
from services.router.understanding import Understood

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is looked up in Redis, and what a worker is to be asked when it is not there."""

    key: bytes
    understood: Understood
    asker: Waiter
    trace: str | None


Asking = Sequence[tuple[Question, Waiter]]
"""Questions for workers, each with who is to get the answer."""


class SharedAnswers:
    """The result cache as the inference path uses it. An answer is kept without its id, which is each caller's own."""

    def __init__(self, cache: ResultCache[Waiter], *, clock: Callable[[], float]) -> None:
        """Keep the collaborators."""
        self.cache = cache
        self.observing: Observing | None = None
        """Who takes note of answers that no worker gave."""
        self.tier: SharedTier[Question] | None = None
        """What all routers have in common; set before the first request, or never."""
        self.ask_workers: Callable[[Asking], object] = _nobody
        """Sends questions to workers that Redis did not know."""
        self._clock = clock
        self._waiting: dict[tuple[int, int], tuple[bytes, Waiter]] = {}

    def take(self, intake: Intake, index: int, understood: Understood, tenant: Tenant, deadline: float) -> bool:
        """Answer from the cache or join a question under way; False when the caller is to ask the model.

        The request was admitted before: what the tenant holds is given back here or when the waiter is served.
        """
        key = self._key(understood, tenant)
        call_id = intake.wave.call_ids[index]
        target, rows = understood.target, understood.learnt.template.rows
        plan = understood.target.plan
        answer = self.cache.get(key, intake.now, keeps=plan is not None and plan.keeps_stale)
        if answer is not None:
            intake.front.respond_many([call_id], [understood.id_field + answer + understood.target.told])
            tenant.release(rows)
            seconds = self._clock() - intake.now
            target.outcomes.hit(seconds)
            self._count(target, tenant, seconds)
            self._note(SharedAnswer(target, tenant, understood.unit, understood.id_field), seconds)
            return True
        waiter = Waiter(
            front=intake.front,
            call_id=call_id,
            id_field=understood.id_field,
            tenant=tenant,
            target=target,
            rows=rows,
            arrived_at=intake.now,
            deadline=deadline,
            unit=understood.unit,
        )
        if not self.cache.join(key, waiter):
            if (
                self.tier is None
                or not target.deployment.response_cache_shared
                or not self.tier.look(key, Question(key, understood, waiter, intake.wave.traces[index]))
            ):
                target.outcomes.miss(self._clock() - intake.now)
                return False
            self.cache.join(key, waiter)
        self._waiting[id(intake.front), call_id] = (key, waiter)
        return True

    def lead(self, calls: Calls, understood: Understood, tenant: Tenant) -> None:
        """Note the question that the request about to enter a chunk answers for all."""
        if calls.cache_keys is None:
            calls.cache_keys = []
        calls.cache_keys.append(self._key(understood, tenant))

    def land(self, calls: Calls, positions: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Keep answers and serve who waited for them."""
        assert calls.cache_keys is not None  # noqa: S101 - the caller looked
        now = self._clock()
        ttl_seconds = calls.deployment.response_cache_ttl_seconds
        for position, payload in zip(positions, payloads, strict=True):
            key, answer = calls.cache_keys[position], payload[len(calls.id_fields[position]) :]
            if self.tier is not None and key.startswith(PREFIX):
                self.tier.keep(key, answer, ttl_seconds or self.cache.ttl_seconds)
            for waiter in self.cache.land(key, answer, now, ttl_seconds=ttl_seconds):
                seen = SharedAnswer(waiter.target, waiter.tenant, waiter.unit, waiter.id_field)
                self._serve(waiter, answer, now, seen)

    def settle(self, looked_up: Sequence[tuple[Question, Found | None]]) -> None:
        """Serve who waits for what Redis knew, and have workers asked for the rest."""
        now, asking = self._clock(), list[tuple[Question, Waiter]]()
        for question, found in looked_up:
            if found is not None:
                self._hand_out(question, found, now)
                continue
            waiter = self.cache.promote(question.key)
            if waiter is None:
                self.cache.abandon(question.key)
            else:
                waiter.target.outcomes.miss(now - waiter.arrived_at)
                self._waiting.pop((id(waiter.front), waiter.call_id), None)
                asking.append((question, waiter))
        try:
            if asking:
                self.ask_workers(asking)
        except Exception:
            # As in pump.py: a mistake of ours must not leave callers waiting.
            log.exception("questions_failed", questions=len(asking))
            for _, waiter in asking:
                waiter.front.fail_many([waiter.call_id], [Internal("internal error")])

    def stand_in(
        self, calls: Calls, positions: Sequence[int], payloads: Sequence[bytes], source: AnswerSource = AnswerSource.WORKER
    ) -> None:
        """Serve who waited with answers that stand in for the version's, and keep none of them."""
        assert calls.cache_keys is not None  # noqa: S101 - the caller looked
        now = self._clock()
        for position, payload in zip(positions, payloads, strict=True):
            answer = payload[len(calls.id_fields[position]) :]
            for waiter in self.cache.abandon(calls.cache_keys[position]):
                seen = SharedAnswer(calls.target, waiter.tenant, waiter.unit, waiter.id_field, source, stands_in=True)
                self._serve(waiter, answer, now, seen)

    def abandon(self, calls: Calls, positions: Sequence[int], error: ServingError) -> None:
        """Tell who waited that the question failed; what was only the first caller's fate is theirs to try again."""
        if calls.cache_keys is None:
            return
        theirs = (
            Unavailable("the identical call that was under way did not finish: try again", retry_after_seconds=0.0)
            if isinstance(error, DeadlineExceeded | CallerLeft)
            else error
        )
        for position in positions:
            for waiter in self.cache.abandon(calls.cache_keys[position]):
                self._refuse(waiter, theirs)

    def leave(self, front: Front, gone: set[int]) -> set[int]:
        """Take out waiters who left; return their call ids."""
        left: set[int] = set()
        for call_id in gone:
            entry = self._waiting.pop((id(front), call_id), None)
            if entry is not None:
                key, waiter = entry
                self.cache.leave(key, waiter)
                waiter.tenant.release(waiter.rows)
                self._fail(waiter, CallerLeft("the caller left"))
                left.add(call_id)
        return left

    def promote(self, calls: Calls, position: int, error: ServingError) -> Waiter | None:
        """Give the place of a caller who left to the first who waits for the same answer, and return that one; None when nobody can.

        A chunk answers one front, so whoever waits at another cannot: these are refused, for nobody is asking for them any more.
        """
        if calls.cache_keys is None:
            return None
        waiter = self.cache.promote(calls.cache_keys[position], lambda one: one.front is calls.front)
        if waiter is None:
            self.abandon(calls, [position], error)
            return None
        self._waiting.pop((id(waiter.front), waiter.call_id), None)
        waiter.target.outcomes.miss(self._clock() - waiter.arrived_at)
        calls.target.outcomes.fail(error, calls.tenants[position].policy.name)
        calls.tenants[position].release(calls.learnt.template.rows)
        calls.call_ids[position] = waiter.call_id
        calls.id_fields[position] = waiter.id_field
        calls.tenants[position] = waiter.tenant
        if calls.units and waiter.unit is not None:
            calls.units[position] = waiter.unit
        return waiter

    def sweep(self, now: float) -> None:
        """Refuse waiters whose deadline has passed."""
        for waiter in self.cache.expire(now):
            self._refuse(waiter, DeadlineExceeded("the deadline passed while an identical call was under way"))

    def _hand_out(self, question: Question, found: Found, now: float) -> None:
        life = min(found.life_seconds, question.understood.target.deployment.response_cache_ttl_seconds or self.cache.ttl_seconds)
        for waiter in self.cache.land(question.key, found.answer, now, ttl_seconds=life):
            # Another router may have told of another revision of the route.
            seen = SharedAnswer(waiter.target, waiter.tenant, waiter.unit, waiter.id_field)
            self._serve(waiter, found.answer + waiter.target.told, now, seen)

    def _serve(self, waiter: Waiter, answer: bytes, now: float, seen: SharedAnswer) -> None:
        self._waiting.pop((id(waiter.front), waiter.call_id), None)
        waiter.front.respond_many([waiter.call_id], [waiter.id_field + answer])
        waiter.tenant.release(waiter.rows)
        # Who waited for the version's own answer had it without an execution; what stands in for it is none of the cache's.
        (waiter.target.outcomes.miss if seen.stands_in else waiter.target.outcomes.hit)(now - waiter.arrived_at)
        self._count(seen.target, waiter.tenant, now - waiter.arrived_at)
        self._note(seen, now - waiter.arrived_at)

    def _count(self, target: Target, tenant: Tenant, seconds: float) -> None:
        target.outcomes.succeed(1, seconds)
        target.outcomes.count(tenant.policy.name, "OK", 1)

    def _note(self, seen: SharedAnswer, seconds: float) -> None:
        if self.observing is not None:
            self.observing.shared(seconds, seen)

    def _refuse(self, waiter: Waiter, error: ServingError) -> None:
        self._waiting.pop((id(waiter.front), waiter.call_id), None)
        waiter.front.fail_many([waiter.call_id], [error])
        waiter.tenant.release(waiter.rows)
        self._fail(waiter, error)
        if self.observing is not None:
            self.observing.single(waiter.target, waiter.tenant, self._clock() - waiter.arrived_at, error)

    def _fail(self, waiter: Waiter, error: ServingError) -> None:
        waiter.target.outcomes.miss(self._clock() - waiter.arrived_at)
        waiter.target.outcomes.fail(error, waiter.tenant.policy.name)

    def _key(self, understood: Understood, tenant: Tenant) -> bytes:
        deployment, template = understood.target.deployment, understood.learnt.template
        described = (
            tenant.policy.name,
            deployment.model,
            deployment.version,
            deployment.digest,
            template.wire_inputs,
            template.wire_outputs,
        )
        if self.tier is not None and deployment.response_cache_shared:
            return key_of(tenant.policy.name, (described, understood.learnt.classes), understood.parts)
        hashed = xxhash.xxh3_128(repr((described, understood.learnt.classes)).encode())
        for part in understood.parts:
            hashed.update(len(part).to_bytes(8, "little"))
            hashed.update(part)
        return hashed.digest()


def _nobody(asking: Asking) -> None:
    raise RuntimeError(f"{len(asking)} questions were looked up, and nobody asks workers")
