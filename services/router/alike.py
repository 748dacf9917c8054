"""Admits requests of one layout all at once, where nothing about any of them is special.

What `Inference` decides for a request (key, rights, quota, deadline, sampling) is decided here for all requests of a wave that have one
layout, by operations on whole columns. It is the same decision or none: as soon as anything sets one of them apart (an unknown key, a
quota that does not hold them all, a deadline that has passed, a cache) nothing has happened yet, and each takes the way of its own. A
sampled trace sets nobody apart: at 1 % every third wave of 45 has one. Measured with `python -m bench.hot_path`: see docs/decisions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from services.chassis.trace_context import SpanContext
from services.mesh.chunk import ChunkSink
from services.router.admission import Tenant
from services.router.intake import LONGEST_DEADLINE_SECONDS, Intake
from services.router.layouts import Layout
from services.router.request_spans import note_span
from services.router.tenants import Tenants
from services.router.tracing import RequestTracer

ALIKE_AT_LEAST = 4
"""Requests of one layout; fewer cost less one by one."""


class Alike:
    """Admits requests of one layout; one a process."""

    def __init__(self, sink: ChunkSink, tenants: Tenants, tracer: RequestTracer | None) -> None:
        """Keep the collaborators; `sink` hears what becomes of the requests."""
        self._sink = sink
        self._tenants = tenants
        self._tracer = tracer

    def admit(self, intake: Intake, layout: Layout, places: Sequence[int]) -> bool:
        """Enter the requests at `places` of the wave into chunks; False, and nothing has happened, when one of them is special."""
        wave, target, rows = intake.wave, layout.target, layout.learnt.template.rows
        if target.deployment.response_cache or not rows:
            return False
        payloads, deadlines = intake.of(wave.payloads, places), intake.of(wave.deadlines, places)
        ids, columns, tenants = layout.ids(payloads), layout.columns(payloads), self._tenants_of(intake.of(wave.keys, places))
        if columns is None or tenants is None or min(deadlines) <= intake.now or not b"".join(ids).isascii():
            return False
        shares = _shares(tenants)
        for tenant, requests in shares:
            intake.meet(tenant)
            if not tenant.may_call(target.name) or not tenant.has_room(requests, requests * rows):
                return False
        latest = intake.now + LONGEST_DEADLINE_SECONDS
        if max(deadlines) > latest:
            deadlines = [min(deadline, latest) for deadline in deadlines]
        for tenant, requests in shares:
            tenant.take(requests, requests * rows)
        spans = () if self._tracer is None else self._tracer.begin_all(intake.of(wave.traces, places))
        self._enter(intake, layout, columns, (intake.of(wave.call_ids, places), ids, tenants, deadlines), spans)
        return True

    def _tenants_of(self, keys: Sequence[str | None]) -> list[Tenant] | None:
        """Return each request's tenant; None when a key was not seen before."""
        known, first = self._tenants.known, keys[0]
        if keys.count(first) == len(keys):
            tenant = known.get(first)
            return None if tenant is None else [tenant] * len(keys)
        tenants = [known.get(key) for key in keys]
        found = [tenant for tenant in tenants if tenant is not None]
        return found if len(found) == len(tenants) else None

    def _enter(
        self,
        intake: Intake,
        layout: Layout,
        columns: Sequence[Sequence[bytes]],
        callers: tuple[Sequence[int], Sequence[bytes], Sequence[Tenant], Sequence[float]],
        spans: Sequence[tuple[int, SpanContext]],
    ) -> None:
        """Add columns to the open chunk of their description, and to further ones as they fill."""
        learnt = layout.learnt
        call_ids, ids, tenants, deadlines = callers
        numbers = [tenant.policy.number for tenant in tenants]
        begin = 0
        while begin < len(call_ids):
            chunk, calls = intake.opened.get((learnt, 0)) or intake.open(self._sink, layout.target, learnt, 0)
            held = len(chunk.deadlines)
            end = begin + learnt.chunk_limit - held
            for column, parts in zip(chunk.columns, columns, strict=True):
                column.extend(parts[begin:end])
            chunk.tenants += numbers[begin:end]
            chunk.deadlines += deadlines[begin:end]
            calls.call_ids += call_ids[begin:end]
            calls.id_fields += ids[begin:end]
            calls.tenants += tenants[begin:end]
            for place, span in spans:
                if begin <= place < end:
                    note_span(chunk, calls, held + place - begin, span)
            intake.close_full(chunk, learnt, 0)
            begin = end


def _shares(tenants: Sequence[Tenant]) -> Iterable[tuple[Tenant, int]]:
    """Return each tenant with the number of its requests."""
    first, count = tenants[0], len(tenants)
    return ((first, count),) if tenants.count(first) == count else Counter(tenants).items()
