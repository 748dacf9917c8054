"""Decides which steps of a graph are next. Pure: what is over goes in, what is to be begun comes out.

Every row of a request goes its own way: a step is begun for the rows for which its condition holds and everything that it reads is there,
or is skipped when no row is left for it. So a request of many rows is answered as each of its rows alone would be.

A step is over when it was answered, when declared values stand for its answer, or when it was skipped. `next_steps` is asked again whenever
one is; combinations are computed here and are over at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from penstock.contracts.errors import InvalidInput, NoReadyReplica, NotFound, OutputContract, ServingError
from penstock.contracts.graphs import COMBINED, Combine, Condition, Graph, OnFailure, Source, Step
from services.mesh.graph_combinations import combination, completed
from services.mesh.graph_rows import Part, Rows, every_row
from services.mesh.graph_tensors import Parameter, TensorValue, holds, holds_by_row, repeated


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Over:
    """A step that is over."""

    tensors: Mapping[str, TensorValue] = field(default_factory=dict[str, TensorValue])
    is_skipped: bool = False
    rows: Rows | None = None
    """Of the request, that the tensors have; None for all of them."""


SKIPPED = Over(is_skipped=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the caller of a graph gave."""

    inputs: Mapping[str, TensorValue]
    parameters: Callable[[str], Parameter | None]
    """Returns a parameter of the request, None when it has none of this name."""
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Begun:
    """A model that is asked for some rows of the request."""

    step: Step
    rows: Rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Next:
    """What follows from what is over."""

    begin: tuple[Begun, ...]
    """Models whose tensors are all there."""
    over: Mapping[str, Over]
    """Steps that need nobody: combinations, and those that are skipped."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Known:
    """What is known of a request so far."""

    graph: Graph
    asked: Asked
    every: Rows
    over: dict[str, Over]
    running: dict[str, Begun]

    def rows_of(self, name: str) -> Rows | None:
        """Return the rows for which a step ran or runs for certain; None while that is open."""
        held, begun = self.over.get(name), self.running.get(name)
        if held is not None:
            return self.every - self.every if held.is_skipped else held.rows or self.every
        # What may fail and be left out is known when it has ended.
        return begun.rows if begun is not None and begun.step.on_failure is not OnFailure.SKIP else None


def next_steps(graph: Graph, asked: Asked, over: Mapping[str, Over], running: Collection[Begun]) -> Next:
    """Return the steps that can begin, and those that are over by that alone.

    Raises:
        InvalidInput: a condition holds for some elements of one row and not for others, or rows that went different ways fit into no
            tensor (MIXED_ROWS).
        ServingError: tensors that do not fit one another were to be combined or compared.
    """
    begin, decided = list[Begun](), dict[str, Over]()
    known = _Known(graph=graph, asked=asked, every=every_row(asked.rows), over=dict(over), running={one.step.name: one for one in running})
    for step in graph.steps:
        if step.name in known.over or step.name in known.running:
            continue
        found = _decide(step, known)
        if isinstance(found, Over):
            known.over[step.name] = decided[step.name] = found
        elif found is not None:
            known.running[step.name] = begun = Begun(step=step, rows=found)
            begin.append(begun)
    return Next(begin=tuple(begin), over=decided)


def outputs_of(graph: Graph, asked: Asked, over: Mapping[str, Over]) -> tuple[TensorValue, ...] | None:
    """Return the graph's outputs in the order of its signature, None while one of them is still to come.

    Raises:
        OutputContract: a row's output comes from steps that were all skipped (NO_BRANCH), or it is not what the graph declares.
    """
    if not all(source.step in over for source in graph.outputs if source.step):
        return None
    values: list[TensorValue] = []
    every = every_row(asked.rows)
    for spec, source in zip(graph.signature.outputs, graph.outputs, strict=True):
        part = part_of(source, asked, over)
        if part is None or not part.rows.is_all:
            row = "" if part is None else f" for row {(every - part.rows).first} of the request"
            raise OutputContract(f"no step that gives output {spec.name!r} ran{row}: no condition held", reason="NO_BRANCH")
        value = part.value
        is_alike = len(value.shape) == len(spec.shape) and all(
            wanted in (-1, size) for wanted, size in zip(spec.shape, value.shape, strict=True)
        )
        if value.datatype is not spec.datatype or not is_alike:
            raise OutputContract(f"output {spec} was to come from {source}, which gave {value}")
        if graph.signature.has_batch_dimension and value.shape[0] != asked.rows:
            raise OutputContract(f"output {spec.name!r} has {value.shape[0]} rows, the request {asked.rows}")
        values.append(value)
    return tuple(values)


def part_of(source: Source, asked: Asked, over: Mapping[str, Over]) -> Part | None:
    """Return a tensor and the rows that it has; None when its step was skipped for all of them.

    Raises:
        OutputContract: its step answered without it.
    """
    every = every_row(asked.rows)
    if not source.step:
        return Part(value=asked.inputs[source.tensor], rows=every)
    held = over[source.step]
    if held.is_skipped:
        return None
    value = held.tensors.get(source.tensor)
    if value is None:
        raise OutputContract(f"step {source.step!r} gave no output {source.tensor!r}")
    return Part(value=value, rows=held.rows or every)


def inputs_for(begun: Begun, asked: Asked, over: Mapping[str, Over]) -> dict[str, TensorValue]:
    """Return what a model is asked with: of each tensor the rows that go there.

    Raises:
        OutputContract: a tensor is not there, or has other rows than it should have.
    """
    parts = {name: part_of(source, asked, over) for name, source in begun.step.inputs.items()}
    return {name: part.of(begun.rows).value for name, part in parts.items() if part is not None}


def defaults_of(graph: Graph, step: Step, rows: int) -> dict[str, TensorValue]:
    """Return the declared values of a step that failed, for as many rows as it was asked for."""
    has_rows = graph.signature.has_batch_dimension
    return {name: repeated(one, rows if has_rows else None) for name, one in step.defaults.items()}


def told_of(name: str, step: Step, error: ServingError) -> ServingError:
    """Return a step's error as the caller of the graph `name` is told it: whose it is stays, where it was is added.

    What the caller can do nothing about is not called the caller's: a step whose model is not there is not ready, and tensors between
    steps that do not fit are the graph's own fault.
    """
    kind: type[ServingError] = type(error)
    is_between = any(source.step for source in step.inputs.values())
    if isinstance(error, NotFound):
        kind = NoReadyReplica
    elif isinstance(error, InvalidInput) and is_between and error.reason != "BAD_PARAMETER":
        kind = OutputContract
    model = f"{step.model}@{step.version}" if step.version else step.model
    message = f"graph {name}: step {step.name!r} ({model}): {error.message}"
    reason = error.reason if kind is type(error) else None
    return kind(message, reason=reason, field=error.field, retry_after_seconds=error.retry_after_seconds, details=error.details)


def _decide(step: Step, known: _Known) -> Over | Rows | None:
    """Return what it is over with, or the rows for which it can begin, or None while it has to wait."""
    rows = known.every if step.when is None else _runs(step, step.when, known)
    if rows is None:
        return None
    if rows.is_none:
        return SKIPPED
    if step.combine is Combine.FIRST:
        return _first(step, rows, known)
    if not all(source.step in known.over for source in step.sources if source.step):
        return None
    parts = [part_of(source, known.asked, known.over) for source in step.sources]
    there = [part for part in parts if part is not None]
    if step.combine is not None:
        return _combined(combination(known.graph, step, there, rows), known)
    if len(there) < len(parts):
        return SKIPPED
    for part in there:
        rows &= part.rows
    return SKIPPED if rows.is_none else rows


def _first(step: Step, rows: Rows, known: _Known) -> Over | None:
    """Give every row its first tensor, as soon as everything before it was skipped for that row."""
    left, taken = rows, list[Part]()
    for source in step.of:
        if left.is_none:
            break
        if source.step and source.step not in known.over:
            return None
        part = part_of(source, known.asked, known.over)
        hit = None if part is None else left & part.rows
        if part is not None and hit is not None and not hit.is_none:
            taken.append(part.of(hit))
            left -= hit
    return _combined(completed(known.graph, step, taken, rows), known)


def _combined(part: Part | None, known: _Known) -> Over:
    if part is None:
        return SKIPPED
    return Over(tensors={COMBINED: part.value}, rows=None if part.rows is known.every or part.rows.is_all else part.rows)


def _runs(step: Step, condition: Condition, known: _Known) -> Rows | None:
    """Return the rows for which a condition holds, None while that cannot be known."""
    every = known.every
    none = every - every
    if condition.otherwise:
        ran = known.rows_of(condition.otherwise)
        return None if ran is None else every - ran
    if condition.source is None:
        value = known.asked.parameters(condition.parameter)
        return every if value is not None and holds(condition, value) else none
    if condition.source.step and condition.source.step not in known.over:
        return None
    part = part_of(condition.source, known.asked, known.over)
    if part is None:
        return none
    for_any, for_all = holds_by_row(condition, part.value, part.rows.count)
    mixed = part.rows.chosen(for_any != for_all)
    if not mixed.is_none:
        raise InvalidInput(
            f"the condition of step {step.name!r} on {condition.source} holds for some elements of row {mixed.first} and not for others: "
            "a row takes one way, so a step before has to give one value a row",
            reason="MIXED_ROWS",
            field=str(condition.source),
        )
    held = part.rows.chosen(for_all)
    return every if held.is_all else held
