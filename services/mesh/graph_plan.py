"""Decides which steps of a graph are next. Pure: what is over goes in, what is to be begun comes out.

A step is over when it was answered, when declared values stand for its answer, or when it was skipped. `next_steps` is asked again whenever
one is; combinations are computed here and are over at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from penstock.contracts.errors import InvalidInput, NoReadyReplica, NotFound, OutputContract, ServingError
from penstock.contracts.graphs import COMBINED, Combine, Condition, Graph, Source, Step
from services.mesh.graph_tensors import Parameter, TensorValue, combined, holds_for_all, repeated


@dataclass(frozen=True, slots=True, kw_only=True)
class Over:
    """A step that is over."""

    tensors: Mapping[str, TensorValue] = field(default_factory=dict[str, TensorValue])
    is_skipped: bool = False


SKIPPED = Over(is_skipped=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the caller of a graph gave."""

    inputs: Mapping[str, TensorValue]
    parameters: Callable[[str], Parameter | None]
    """Returns a parameter of the request, None when it has none of this name."""
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """What follows from what is over."""

    begin: tuple[Step, ...]
    """Models whose tensors are all there."""
    over: Mapping[str, Over]
    """Steps that need nobody: combinations, and those that are skipped."""


def next_steps(graph: Graph, asked: Asked, over: Mapping[str, Over], running: Collection[str]) -> Next:
    """Return the steps that can begin, and those that are over by that alone.

    Raises:
        InvalidInput: a condition holds for some rows of the request and not for others (MIXED_ROWS).
        ServingError: tensors that do not fit one another were to be combined or compared.
    """
    known, begin, decided = dict(over), list[Step](), dict[str, Over]()
    for step in graph.steps:
        if step.name in known or step.name in running:
            continue
        found = _decide(step, asked, known)
        if isinstance(found, Over):
            known[step.name] = decided[step.name] = found
        elif found:
            begin.append(step)
    return Next(begin=tuple(begin), over=decided)


def outputs_of(graph: Graph, asked: Asked, over: Mapping[str, Over]) -> tuple[TensorValue, ...] | None:
    """Return the graph's outputs in the order of its signature, None while one of them is still to come.

    Raises:
        OutputContract: an output comes from steps that were all skipped (NO_BRANCH), or it is not what the graph declares.
    """
    if not all(source.step in over for source in graph.outputs if source.step):
        return None
    values: list[TensorValue] = []
    for spec, source in zip(graph.signature.outputs, graph.outputs, strict=True):
        value = tensor_of(source, asked, over)
        if value is None:
            raise OutputContract(f"no step that gives output {spec.name!r} ran: no condition held", reason="NO_BRANCH")
        is_alike = len(value.shape) == len(spec.shape) and all(
            wanted in (-1, size) for wanted, size in zip(spec.shape, value.shape, strict=True)
        )
        if value.datatype is not spec.datatype or not is_alike:
            raise OutputContract(f"output {spec} was to come from {source}, which gave {value}")
        if graph.signature.has_batch_dimension and value.shape[0] != asked.rows:
            raise OutputContract(f"output {spec.name!r} has {value.shape[0]} rows, the request {asked.rows}")
        values.append(value)
    return tuple(values)


def tensor_of(source: Source, asked: Asked, over: Mapping[str, Over]) -> TensorValue | None:
    """Return a tensor; None when its step was skipped.

    Raises:
        OutputContract: its step answered without it.
    """
    if not source.step:
        return asked.inputs[source.tensor]
    held = over[source.step]
    if held.is_skipped:
        return None
    value = held.tensors.get(source.tensor)
    if value is None:
        raise OutputContract(f"step {source.step!r} gave no output {source.tensor!r}")
    return value


def defaults_of(graph: Graph, step: Step, rows: int) -> Over:
    """Return the declared values of a step that failed, for as many rows as were asked for."""
    has_rows = graph.signature.has_batch_dimension
    return Over(tensors={name: repeated(one, rows if has_rows else None) for name, one in step.defaults.items()})


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


def _decide(step: Step, asked: Asked, known: Mapping[str, Over]) -> Over | bool:
    """Return what it is over with, or whether it can begin."""
    if step.when is not None:
        runs = _runs(step, step.when, asked, known)
        if runs is None:
            return False
        if not runs:
            return SKIPPED
    if step.combine is Combine.FIRST:
        return _first(step, asked, known)
    if not all(source.step in known for source in step.sources if source.step):
        return False
    values = [tensor_of(source, asked, known) for source in step.sources]
    there = [value for value in values if value is not None]
    if step.combine is not None:
        return Over(tensors={COMBINED: combined(step.combine, there, step.name)}) if there else SKIPPED
    return SKIPPED if len(there) < len(values) else True


def _first(step: Step, asked: Asked, known: Mapping[str, Over]) -> Over | bool:
    """Take the first tensor as soon as everything before it was skipped."""
    for source in step.of:
        if source.step and source.step not in known:
            return False
        value = tensor_of(source, asked, known)
        if value is not None:
            return Over(tensors={COMBINED: value})
    return SKIPPED


def _runs(step: Step, condition: Condition, asked: Asked, known: Mapping[str, Over]) -> bool | None:
    """Return whether a condition holds, None while that cannot be known."""
    if condition.otherwise:
        held = known.get(condition.otherwise)
        return None if held is None else held.is_skipped
    if condition.source is None:
        value = asked.parameters(condition.parameter)
        return value is not None and holds_for_all(condition, value)
    if condition.source.step and condition.source.step not in known:
        return None
    tensor = tensor_of(condition.source, asked, known)
    if tensor is None:
        return False
    held = holds_for_all(condition, tensor)
    if held is None:
        raise InvalidInput(
            f"the condition of step {step.name!r} on {condition.source} holds for some elements and not for others: send such rows apart",
            reason="MIXED_ROWS",
            field=str(condition.source),
        )
    return held
