"""A graph and its steps are one trace: steps hang below their graph, and are traced when it is."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.chassis.spans import Span
from services.chassis.telemetry import Telemetry
from services.router.tracing import RequestTracer
from tests.router.graph_stand import PAIR, GraphStand, graph, graph_standing, single
from tests.router.inference_stand import request, wave_of

CALLER = 9
SAMPLED, UNSAMPLED = (f"00-{7:032x}-{CALLER:016x}-0{flags}" for flags in (1, 0))


class KeptSpans(Telemetry):
    """Keeps spans instead of sending them."""

    def __init__(self, sampler: str) -> None:
        super().__init__("router", {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": "0.3"})
        self.ids.seed(5)
        self.spans: list[Span] = []

    def emit(self, span: Span) -> None:
        self.spans.append(span)


@pytest.fixture
async def graphs(tmp_path: Path) -> AsyncIterator[GraphStand]:
    async with graph_standing(tmp_path) as stand:
        stand.hold(graph(PAIR), graph(single("graph"), origin="only.y", model="around", replica_id=91))
        yield stand


async def spans_of(graphs: GraphStand, sampler: str, *traces: str | None, model: str = "graph") -> dict[str, list[Span]]:
    """Return the spans of as many calls of a graph, by model."""
    kept = KeptSpans(sampler)
    graphs.stand.inference._tracer = graphs.stand.inference._alike._tracer = RequestTracer(kept, clock=time.monotonic)
    wave = wave_of([request([[1.0, 2.0]], model=model)] * len(traces))
    wave.traces = list(traces)
    graphs.stand.inference.take(graphs.stand.front, wave)
    await graphs.until(lambda: len(graphs.stand.front.answers) == len(traces))
    by_model: dict[str, list[Span]] = {}
    for span in kept.spans:
        by_model.setdefault(str(span.attributes["penstock.model.name"]), []).append(span)
    return by_model


async def test_steps_are_traced_below_their_graph(graphs: GraphStand):
    spans = await spans_of(graphs, "parentbased_always_off", SAMPLED, model="around")

    (around,), (inner,) = spans["around"], spans["graph"]
    assert around.context.parent_span_id == CALLER
    assert inner.context.parent_span_id == around.context.span_id
    steps = spans["double"] + spans["triple"]
    assert [span.context.parent_span_id for span in steps] == [inner.context.span_id] * 3
    assert {span.context.trace_id for span in (around, inner, *steps)} == {7}


@pytest.mark.parametrize("sampler", ["parentbased_traceidratio", "traceidratio"])
@pytest.mark.parametrize("trace", [None, "not a trace"])
async def test_steps_begin_no_traces_of_their_own(graphs: GraphStand, sampler: str, trace: str | None):
    spans = await spans_of(graphs, sampler, *[trace] * 100)

    roots = {span.context.span_id: span.context.trace_id for span in spans["graph"]}
    assert 0 < len(roots) < 100
    steps = spans["double"] + spans["triple"]
    assert len(steps) == 3 * len(roots)
    assert all(roots[span.context.parent_span_id or 0] == span.context.trace_id for span in steps)


async def test_steps_of_a_call_that_its_caller_does_not_trace_are_not_traced(graphs: GraphStand):
    assert await spans_of(graphs, "parentbased_always_on", UNSAMPLED) == {}
