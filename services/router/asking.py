"""Asks workers what Redis did not know. The same that `Inference` does with requests of a wave, for those that were set aside."""

from __future__ import annotations

from collections.abc import Callable

from services.mesh.chunk import Chunk
from services.mesh.dispatch import Dispatch
from services.router.calls import Waiter
from services.router.front import Wave
from services.router.inference import Inference
from services.router.intake import Intake
from services.router.request_spans import begin_span
from services.router.shared_answers import Asking, Question
from services.router.tracing import RequestTracer


class AskingWorkers:
    """Puts questions that were set aside into chunks, and sends them."""

    def __init__(self, inference: Inference, dispatch: Dispatch, clock: Callable[[], float], tracer: RequestTracer | None = None) -> None:
        """Keep the collaborators."""
        self._inference = inference
        self._dispatch = dispatch
        self._clock = clock
        self._tracer = tracer

    def __call__(self, asking: Asking) -> None:
        """Send questions; they were admitted before."""
        intakes: dict[tuple[int, float, int], Intake] = {}
        for question, waiter in asking:
            # A chunk has one front, one target and one time of arrival.
            where = id(waiter.front), waiter.arrived_at, id(waiter.target)
            if where not in intakes:
                intakes[where] = Intake(waiter.front, Wave(), waiter.arrived_at, 0)
            self._enter(intakes[where], question, waiter)
        chunks: list[Chunk] = []
        for intake in intakes.values():
            chunks += (*intake.cut, *(chunk for chunk, _ in intake.opened.values()))
        now, inference = self._clock(), self._inference
        for chunk in chunks:
            chunk.seal()
            inference.requests_in_flight += chunk.size
            self._dispatch.send(chunk, chunk.context.deployment, now)
        self._dispatch.flush()
        if inference.shadowing is not None and inference.shadowing.is_wanted:
            inference.shadowing.copy_all(chunks)

    def _enter(self, intake: Intake, question: Question, waiter: Waiter) -> None:
        understood = question.understood
        levels = waiter.target.deployment.priority_levels
        key = understood.learnt, understood.parameters.priority if levels else 0
        chunk, calls = intake.opened.get(key) or intake.open(self._inference, waiter.target, *key)
        for column, part in zip(chunk.columns, understood.parts, strict=True):
            column.append(part)
        chunk.tenants.append(waiter.tenant.policy.number)
        chunk.deadlines.append(waiter.deadline)
        calls.enter(waiter.call_id, waiter.id_field, waiter.tenant, waiter.unit)
        if calls.cache_keys is None:
            calls.cache_keys = []
        calls.cache_keys.append(question.key)
        if self._tracer is not None:
            begin_span(self._tracer, chunk, calls, question.trace if waiter is question.asker else None)
        intake.close_full(chunk, *key)
