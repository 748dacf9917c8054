"""Checks the tensors between the steps of a graph against what the versions behind the steps take and give. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from penstock.contracts.graphs import COMBINED, Combine, Default, Graph, Source, Step
from penstock.contracts.signature import ANY, Signature, TensorSpec


def edge_problems(graph: Graph, signatures: Mapping[str, Signature]) -> tuple[str, ...]:
    """Return what does not fit, as far as it is known.

    Args:
        graph: the graph.
        signatures: of the version behind each step that is a model, by the step's name; steps that are not there are not looked at.
    """
    specs: dict[Source, TensorSpec] = {Source(tensor=spec.name): spec for spec in graph.signature.inputs}
    problems: list[str] = []
    for step in graph.steps:
        signature = signatures.get(step.name)
        if signature is not None:
            problems += _model_problems(graph, step, signature, specs)
            specs |= {Source(step=step.name, tensor=spec.name): spec for spec in signature.outputs}
        elif step.combine is not None:
            problems += _combination_problems(graph, step, specs)
            known = next((specs[source] for source in step.of if source in specs), None)
            if known is not None:
                specs[Source(step=step.name, tensor=COMBINED)] = known
    for spec, source in zip(graph.signature.outputs, graph.outputs, strict=True):
        given = specs.get(source)
        if given is not None and not _fits(given, spec):
            problems.append(f"output {spec} of the graph comes from {source}, which is {_shown(given)}")
    return tuple(problems)


def _model_problems(graph: Graph, step: Step, signature: Signature, specs: Mapping[Source, TensorSpec]) -> Iterator[str]:
    rows, wanted = graph.signature.max_batch_size, signature.max_batch_size
    if bool(rows) != bool(wanted) or rows > wanted:
        yield f"step {step.name!r}: {step.model} takes {wanted or 'no'} rows at once, the graph {rows or 'no'}"
    for name, source in step.inputs.items():
        position = signature.input_index.get(name)
        if position is None:
            yield f"step {step.name!r}: {step.model} has no input {name!r}"
        elif source in specs and not _fits(specs[source], signature.inputs[position]):
            yield f"step {step.name!r}: {step.model} takes {signature.inputs[position]}, {source} is {_shown(specs[source])}"
    for spec in signature.inputs:
        if spec.name not in step.inputs and not spec.optional:
            yield f"step {step.name!r}: {step.model} needs input {spec.name!r}"
    yield from _output_problems(graph, step, signature)


def _output_problems(graph: Graph, step: Step, signature: Signature) -> Iterator[str]:
    for name in graph.wanted(step.name):
        if name not in signature.output_index:
            yield f"step {step.name!r}: {step.model} gives no output {name!r}"
    for name, default in step.defaults.items():
        position, given = signature.output_index.get(name), _default_spec(graph, name, default)
        if position is not None and not _fits(given, signature.outputs[position]):
            yield f"step {step.name!r}: its default of {name!r} is {_shown(given)}, {step.model} gives {signature.outputs[position]}"


def _combination_problems(graph: Graph, step: Step, specs: Mapping[Source, TensorSpec]) -> Iterator[str]:
    known = [(source, specs[source]) for source in step.of if source in specs]
    for source, spec in known:
        if step.combine is Combine.MEAN and not spec.datatype.is_floating:
            yield f"step {step.name!r}: the mean of {spec.datatype.value} ({source}) is not defined; use 'vote'"
        if not _fits(spec, known[0][1]):
            yield f"step {step.name!r}: {source} is {_shown(spec)}, {known[0][0]} is {_shown(known[0][1])}; they must be alike"
    for name, default in step.defaults.items():
        given = _default_spec(graph, name, default)
        if known and not _fits(given, known[0][1]):
            yield f"step {step.name!r}: its default is {_shown(given)}, {known[0][0]} is {_shown(known[0][1])}; they must be alike"


def _default_spec(graph: Graph, name: str, default: Default) -> TensorSpec:
    shape = (ANY, *default.shape) if graph.signature.has_batch_dimension else default.shape
    return TensorSpec(name=name, datatype=default.datatype, shape=shape)


def _fits(given: TensorSpec, wanted: TensorSpec) -> bool:
    """Whether a tensor of one description may be one of the other; sizes that are left open may be any."""
    if given.datatype is not wanted.datatype or len(given.shape) != len(wanted.shape):
        return False
    return all(one == other or ANY in (one, other) for one, other in zip(given.shape, wanted.shape, strict=True))


def _shown(spec: TensorSpec) -> str:
    return f"{spec.datatype.value}[{','.join(str(size) for size in spec.shape)}]"
