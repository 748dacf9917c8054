"""What answers when the chosen version could not: the steps of a route's fallback chain, in their order, each once.

The chain goes on from the step that a request's target stands for. A step that is another version takes the request's tensors as they
are, and so needs the same signature; one that cannot help is passed over. Nothing of a killed version is given, its cached answers
neither. What is left when the chain ends is refused with the last error, counted, and logged once in a while: then nothing protects the
model's callers any more. Who named a version gets that version or a refusal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from penstock.contracts.errors import Internal, ServingError, Unavailable
from penstock.contracts.observations import AnswerSource
from penstock.contracts.routes import FallbackKind, FallbackStep
from services.mesh.chunk import Chunk
from services.mesh.dispatch import Dispatch
from services.mesh.plan import Plan, Reason, all_killed
from services.mesh.route_table import RouteTable
from services.router.calls import Calls
from services.router.choosing import ASKED, BARRED, Unit
from services.router.declared_answer import declared_payload
from services.router.result_cache import ResultCache
from services.router.targets import told
from services.router.understanding import Understanding

ALARM_SECONDS = 10.0
"""Shortest time between two alarms of one model."""

Give = Callable[[Calls, Sequence[int], Sequence[bytes], AnswerSource], object]
"""Gives payloads, made by that source, to the callers at positions."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the chain works with."""

    table: RouteTable
    understanding: Understanding
    dispatch: Dispatch
    cache: ResultCache[Any]
    clock: Callable[[], float]


class FallbackChain:
    """Helps requests on whose version failed."""

    def __init__(self, around: Surroundings) -> None:
        """Keep the collaborators."""
        self.helped: Counter[tuple[str, str]] = Counter()
        """Requests by model and kind of step; `exhausted` for those that nothing could help."""
        self._with = around
        self._alarmed_at: dict[str, float] = {}

    def help(self, chunk: Chunk, positions: Sequence[int], error: ServingError, give: Give) -> tuple[Sequence[int], ServingError]:
        """Send failed requests to the next steps that can take them; return the positions that nothing can help, and what they are told."""
        calls = chunk.context
        assert isinstance(calls, Calls)  # noqa: S101 - the inference path made it
        plan, done = calls.target.plan, max(calls.target.step, 0)
        if plan is None or calls.target.step == ASKED or not plan.route.fallback or not _is_helpable(error):
            return positions, error
        if calls.target.step == BARRED:
            error = all_killed(plan.route.model)
        left = list(positions)
        for number, step in enumerate(plan.route.fallback[done:], start=done + 1):
            taken = self._take(chunk, left, plan, (number, step), give) if left else ()
            self.helped[plan.route.model, step.kind.value] += len(taken)
            left = [position for position in left if position not in taken]
        if left:
            self._alarm(plan.route.model, len(left), error)
        return left, error

    def _take(self, chunk: Chunk, positions: Sequence[int], plan: Plan, numbered: tuple[int, FallbackStep], give: Give) -> Sequence[int]:
        """Let one step take what it can; return the positions that it took."""
        calls, (number, step) = chunk.context, numbered
        assert isinstance(calls, Calls)  # noqa: S101 - as above
        if step.kind is FallbackKind.VERSION:
            return self._send(chunk, positions, plan, number, step.version)
        if step.kind is FallbackKind.CACHED:
            return self._recall(calls, positions, plan, give)
        body = declared_payload(step.declared_response, calls.learnt.template.rows, plan.route.model)
        if body is None:
            return ()
        body += told(plan, "", "declared")
        give(calls, positions, [calls.id_fields[position] + body for position in positions], AnswerSource.DECLARED)
        return positions

    def _send(self, chunk: Chunk, positions: Sequence[int], plan: Plan, number: int, version: str) -> Sequence[int]:
        deployment = self._with.table.deployment(plan.route.model, version)
        calls = chunk.context
        assert isinstance(calls, Calls)  # noqa: S101 - as above
        if deployment is None or deployment.signature != calls.deployment.signature:
            return ()
        allowed = [position for position in positions if not plan.is_killed(version, calls.tenants[position].policy.name)]
        if not allowed:
            return ()
        again = chunk.part(allowed)
        again.attempts = again.refusals = 0
        callers = again.context
        assert isinstance(callers, Calls)  # noqa: S101 - as above
        callers.target = self._with.understanding.target_of(deployment, number)
        callers.units = [Unit(Reason.FALLBACK, unit.key) for unit in callers.units]
        self._with.dispatch.send(again, deployment, self._with.clock())
        self._with.dispatch.flush()
        return allowed

    def _recall(self, calls: Calls, positions: Sequence[int], plan: Plan, give: Give) -> Sequence[int]:
        version, keys = calls.deployment.version, calls.cache_keys
        if keys is None:
            return ()
        allowed = [position for position in positions if not plan.is_killed(version, calls.tenants[position].policy.name)]
        kept = {position: answer for position in allowed if (answer := self._with.cache.stale(keys[position])) is not None}
        if kept:
            suffix = told(plan, version, "cached")
            answers = [calls.id_fields[position] + answer + suffix for position, answer in kept.items()]
            give(calls, list(kept), answers, AnswerSource.STALE_CACHE)
        return list(kept)

    def _alarm(self, model: str, requests: int, error: ServingError) -> None:
        self.helped[model, "exhausted"] += requests
        now = self._with.clock()
        if now - self._alarmed_at.get(model, -ALARM_SECONDS) >= ALARM_SECONDS:
            self._alarmed_at[model] = now
            log.error("fallback_exhausted", model=model, requests=requests, reason=error.reason)


def _is_helpable(error: ServingError) -> bool:
    """Whether another step may do better: not where the request itself, or its deadline, is at fault."""
    return isinstance(error, Unavailable | Internal) and error.reason != "POISON_ROW"
