"""Runs graphs: every request of one is a task that asks the steps through the front door, as their caller would.

A step is a request like every other one: routes, pins, fallbacks, caches, shadows and counters of its model hold for it. What is its
caller's goes with it: id, parameters and with them the priority, affinity, trace, and what is left of the deadline; what the step may take
at most is cut out of that. It is asked once, with the rows of the request that go its way, and not at all when there are none. Steps that
can begin together leave in one wave. When the caller leaves, the deadline passes or a step fails for good, the other steps are cancelled.

Requests that wait for a graph are chunks in flight like those that wait for a worker (services/mesh/dispatch.py), so cancellations and
deadlines find them; what was released there is noticed by `sweep`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from penstock.contracts.errors import Internal, OutputContract, ServingError, Unavailable
from penstock.contracts.graphs import Graph, OnFailure, Step
from penstock.contracts.tensors import DataType
from services.chassis.trace_context import UNSAMPLED
from services.mesh.chunk import Answered, Chunk
from services.mesh.dispatch import Dispatch
from services.mesh.graph_plan import Asked, Begun, Over, defaults_of, inputs_for, next_steps, outputs_of, told_of
from services.mesh.graph_tensors import TensorValue
from services.router.call_buffer import CallBuffer
from services.router.calls import Calls, Origin
from services.router.front import Affinity
from services.router.graph_calls import Head, Told, head_of, inputs_of, parameter_of, step_answer, step_payload, told_steps
from services.router.on_behalf import Behalf, StepKey

DEEPEST = 4
"""Graphs within graphs; one that comes back to itself is refused where it does."""

KEYS_LIMIT = 4096

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """One request of a graph."""

    chunk: Chunk
    position: int
    name: str
    """`model@version` of the graph."""
    graph: Graph
    asked: Asked
    head: Head
    affinity: Affinity | None
    trace: str
    """What makes the spans of its steps children of its own, and keeps those of one that is not traced from beginning traces."""
    key: StepKey
    began_at: float

    @property
    def is_open(self) -> bool:
        """Whether anybody still waits for it."""
        return self.chunk.is_open(self.position)


class GraphRuns:
    """Runs the graphs of this router; `calls` is the front through which their steps are asked."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start with nothing running."""
        self.calls = CallBuffer()
        self._clock = clock
        self._runs: dict[asyncio.Task[None], Run] = {}
        self._keys: dict[tuple[str, int, tuple[str, ...]], StepKey] = {}

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Run graphs while the block lasts; leaving cancels what still runs."""
        try:
            yield
        finally:
            tasks = list(self._runs)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self.calls.close()

    def take(self, chunk: Chunk) -> None:
        """Begin the requests of a chunk; they are answered to its sink."""
        for position in chunk.open_positions():
            try:
                run = self._run_of(chunk, position)
            except ServingError as error:
                _fail(chunk, position, error)
                continue
            task = asyncio.get_running_loop().create_task(self._see_through(run))
            self._runs[task] = run
            task.add_done_callback(self._forget)

    def sweep(self, _now: float) -> None:
        """Cancel the steps of requests for which nobody waits any more."""
        for task, run in self._runs.items():
            if not run.is_open:
                task.cancel()

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._runs.pop(task, None)

    def _run_of(self, chunk: Chunk, position: int) -> Run:
        calls = chunk.context
        assert isinstance(calls, Calls)  # noqa: S101 - only the inference path sends chunks of graphs
        deployment, graph, tenant = calls.deployment, calls.deployment.graph, calls.tenants[position]
        assert graph is not None  # noqa: S101 - that is how it came here
        name = f"{deployment.model}@{deployment.version}"
        around = tenant.within if isinstance(tenant, Behalf) else ()
        if name in around or len(around) >= DEEPEST:
            why = "stands within itself" if name in around else f"stands within {len(around)} others, the limit is {DEEPEST - 1}"
            raise OutputContract(f"graph {name} {why}: {' > '.join((*around, name))}", reason="GRAPH_TOO_DEEP")
        if calls.origins is None and graph.asks_parameters:
            raise Unavailable(f"graph {name} stands in for another version, and its conditions ask for parameters that are not kept")
        origin = calls.origins[position] if calls.origins is not None else Origin(b"", None)
        span = calls.spans.get(position) if calls.spans else None
        head = head_of(origin.payload)
        parts = [column[position] for column in chunk.columns]
        inputs = inputs_of(deployment.signature, chunk.template, parts)
        return Run(
            chunk=chunk,
            position=position,
            name=name,
            graph=graph,
            asked=Asked(inputs=inputs, parameters=parameter_of(head), rows=chunk.template.rows),
            head=head,
            affinity=origin.affinity,
            trace=UNSAMPLED if span is None else span.traceparent,
            key=self._key_of(tenant.policy.name, tenant.policy.number, (*around, name)),
            began_at=self._clock(),
        )

    def _key_of(self, tenant: str, number: int, within: tuple[str, ...]) -> StepKey:
        key = self._keys.get((tenant, number, within))
        if key is None:
            if len(self._keys) >= KEYS_LIMIT:
                self._keys.clear()
            key = self._keys[tenant, number, within] = StepKey.of(Behalf(name=tenant, number=number, within=within))
        return key

    async def _see_through(self, run: Run) -> None:
        """Answer one request, whatever becomes of it; cancelled when nobody waits."""
        told: dict[str, Told] = {}
        try:
            outputs = await self._outputs(run, told)
        except ServingError as error:
            _fail(run.chunk, run.position, error)
        except Exception:
            log.exception("graph_broke", graph=run.name)
            _fail(run.chunk, run.position, Internal("internal error"))
        else:
            _answer(run, outputs, told, self._clock())

    async def _outputs(self, run: Run, told: dict[str, Told]) -> Sequence[TensorValue]:
        over: dict[str, Over] = {}
        running: dict[asyncio.Future[bytes], Begun] = {}
        try:
            while True:
                try:
                    coming = next_steps(run.graph, run.asked, over, running.values())
                    over |= coming.over
                    outputs = outputs_of(run.graph, run.asked, over)
                    asking = [(begun, inputs_for(begun, run.asked, over)) for begun in coming.begin] if outputs is None else []
                except ServingError as error:
                    raise type(error)(f"graph {run.name}: {error.message}", reason=error.reason, field=error.field) from error
                told |= {name: Told("skipped" if one.is_skipped else "combined", one.rows) for name, one in coming.over.items()}
                if outputs is not None:
                    return outputs
                for begun, tensors in asking:
                    running[self._begin(run, begun.step, tensors)] = begun
                done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for answered in done:
                    begun = running.pop(answered)
                    over[begun.step.name], by = _ended(run, begun, answered)
                    told[begun.step.name] = Told(by, begun.rows)
        finally:
            for future in running:
                future.cancel()

    def _begin(self, run: Run, step: Step, tensors: Mapping[str, TensorValue]) -> asyncio.Future[bytes]:
        deadline = run.chunk.deadlines[run.position]
        if step.timeout_seconds is not None:
            deadline = min(deadline, self._clock() + step.timeout_seconds)
        payload = step_payload(step, run.head, tensors, run.graph.wanted(step.name))
        try:
            return self.calls.submit(payload, key=run.key, deadline=deadline, trace=run.trace, affinity=run.affinity)
        except ServingError as error:
            refused = asyncio.get_running_loop().create_future()
            refused.set_exception(error)
            return refused


def graphs_of(dispatch: Dispatch, clock: Callable[[], float]) -> GraphRuns:
    """Return what runs the graphs of a router from now on; its `calls` have to be pumped."""
    graphs = GraphRuns(clock)
    dispatch.run_graphs = graphs.take
    dispatch.on_sweep(graphs.sweep)
    return graphs


def _ended(run: Run, begun: Begun, answered: asyncio.Future[bytes]) -> tuple[Over, str]:
    """Return what a step ended with, and who is to be named for it; a failure that nothing is said about is the graph's."""
    step, error = begun.step, answered.exception()
    rows = None if begun.rows.is_all else begun.rows
    if error is None:
        served_by, tensors = step_answer(answered.result())
        return Over(tensors=tensors, rows=rows), served_by
    if not isinstance(error, ServingError):
        raise error
    if step.on_failure is OnFailure.FAIL:
        raise told_of(run.name, step, error)
    if step.on_failure is OnFailure.SKIP:
        return Over(is_skipped=True), f"skipped: {error.reason}"
    defaults = defaults_of(run.graph, step, run.asked.rows if rows is None else rows.count)
    return Over(tensors=defaults, rows=rows), f"default: {error.reason}"


def _fail(chunk: Chunk, position: int, error: ServingError) -> None:
    if chunk.take(position):
        chunk.sink.failed(chunk, [position], error)


def _answer(run: Run, outputs: Sequence[TensorValue], told: Mapping[str, Told], now: float) -> None:
    chunk, calls = run.chunk, run.chunk.context
    assert isinstance(calls, Calls)  # noqa: S101 - as above
    if not chunk.take(run.position):
        return
    # The id goes before everything else of an answer, and fields of protobuf may come in any order.
    calls.id_fields[run.position] += told_steps({step.name: told[step.name] for step in run.graph.steps if step.name in told})
    answer = Answered(
        start=run.position,
        count=1,
        indices=None,
        outputs=[_wire(outputs[position]) for position in chunk.template.outputs],
        queue_microseconds=0,
        compute_microseconds=int((now - run.began_at) * 1e6),
        execution_rows=chunk.template.rows,
    )
    calls.target.outcomes.run(chunk.template.rows, now - run.began_at)
    chunk.sink.answered(chunk, answer, None)


def _wire(value: TensorValue) -> tuple[bytes, bytes, bytes]:
    lengths = struct.pack("<I", len(value.raw)) if value.datatype is DataType.BYTES else b""
    return struct.pack(f"<{len(value.shape)}q", *value.shape), value.raw, lengths
