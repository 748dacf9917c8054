"""Orders the steps of a graph, and refuses graphs whose names lead nowhere, in a circle, or to nothing at all. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from penstock.contracts.graphs import COMBINED, MOST_DEPTH, MOST_STEPS, Combine, Graph, OnFailure, Source, Step
from penstock.contracts.model_config_checks import require
from penstock.contracts.signature import Signature


def graph_of(signature: Signature, outputs: Sequence[Source], steps: Sequence[Step]) -> Graph:
    """Return the graph, its steps in an order in which each comes after those that it reads.

    Raises:
        InvalidInput: a name is given twice or to nothing, steps go round in a circle, something is read by nobody, or an output may be
            missing; there are too many steps.
    """
    require(1 <= len(steps) <= MOST_STEPS, "step", f"a graph has 1 to {MOST_STEPS} steps, not {len(steps)}")
    names = [step.name for step in steps]
    twice = next((name for name in names if names.count(name) > 1), None)
    require(twice is None, f"step.{twice}", "is given twice")
    graph = Graph(signature=signature, outputs=tuple(outputs), steps=_ordered(steps))
    _check_names(graph)
    _check_depth(graph)
    _check_use(graph)
    _check_outputs(graph)
    return graph


def may_be_skipped(graph: Graph) -> frozenset[str]:
    """Return the steps that some request may do without; a combination is there when any of its tensors is."""
    skipped: set[str] = set()
    by_name = {step.name: step for step in graph.steps}
    for step in graph.steps:
        absent = [source.step in skipped for source in step.sources]
        is_combined = step.combine is not None
        is_sure = bool(step.defaults) or not all(absent) or _is_complementary(step, by_name, skipped)
        is_without = not is_sure if is_combined else any(absent)
        if step.when is not None or step.on_failure is OnFailure.SKIP or is_without:
            skipped.add(step.name)
    return frozenset(skipped)


def _is_complementary(step: Step, by_name: Mapping[str, Step], skipped: Collection[str]) -> bool:
    """Whether a combination reads a step and another one that runs whenever the first was skipped."""
    read = {source.step for source in step.of}
    for other in (by_name[name] for name in read if name):
        is_stand_in = other.when is not None and other.when.otherwise in read and bool(other.when.otherwise)
        if is_stand_in and other.on_failure is not OnFailure.SKIP and all(source.step not in skipped for source in other.sources):
            return True
    return False


def _ordered(steps: Sequence[Step]) -> tuple[Step, ...]:
    known = {step.name for step in steps}
    for step in steps:
        unknown = sorted(step.reads - known)
        require(not unknown, f"step.{step.name}", f"there is no step {', '.join(map(repr, unknown))}")
    ordered: list[Step] = []
    left = list(steps)
    while left:
        done = {step.name for step in ordered}
        free = [step for step in left if step.reads <= done]
        circle = ", ".join(step.name for step in left)
        require(bool(free), "step", f"these steps wait for one another in a circle: {circle}")
        ordered += free
        left = [step for step in left if step not in free]
    return tuple(ordered)


def _check_names(graph: Graph) -> None:
    combinations = {step.name for step in graph.steps if step.combine is not None}
    conditions = [step.when.source for step in graph.steps if step.when is not None and step.when.source is not None]
    known = {step.name for step in graph.steps}
    for source in (*graph.outputs, *conditions, *(source for step in graph.steps for source in step.sources)):
        if not source.step:
            require(source.tensor in graph.signature.input_index, str(source), "is neither an input of the graph nor `step.output`")
        require(not source.step or source.step in known, str(source), f"there is no step {source.step!r}")
        is_there = source.step not in combinations or source.tensor == COMBINED
        require(is_there, str(source), f"a combination gives {COMBINED!r} alone: say {source.step}.{COMBINED}")


def _check_depth(graph: Graph) -> None:
    depth: dict[str, int] = {}
    for step in graph.steps:
        depth[step.name] = 1 + max((depth[name] for name in step.reads), default=0)
    require(max(depth.values()) <= MOST_DEPTH, "step", f"{max(depth.values())} steps follow one another, the limit is {MOST_DEPTH}")


def _check_use(graph: Graph) -> None:
    read = {source.step for source in graph.outputs}.union(*(step.reads for step in graph.steps))
    for step in graph.steps:
        require(step.name in read, f"step.{step.name}", "is read by nothing: remove it")
        missing = sorted(set(graph.wanted(step.name)) - set(step.defaults)) if step.defaults else []
        require(not missing, f"step.{step.name}.default", f"says nothing of {', '.join(missing)}")
    used = {source.tensor for step in graph.steps for source in step.sources if not source.step}
    used |= {step.when.source.tensor for step in graph.steps if step.when is not None and step.when.source is not None}
    used |= {source.tensor for source in graph.outputs if not source.step}
    for spec in graph.signature.inputs:
        require(spec.name in used, f"input.{spec.name}", "is read by nothing: remove it")


def _check_outputs(graph: Graph) -> None:
    skipped = may_be_skipped(graph)
    by_name = {step.name: step for step in graph.steps}
    for spec, source in zip(graph.signature.outputs, graph.outputs, strict=True):
        advice = f"combine it with what stands for it then: combine = {Combine.FIRST.value!r}, or give that a default"
        # Whether conditions of a combination's parts leave no row out is for requests to show, unless it has a default: then there is a
        # refusal (NO_BRANCH).
        is_there = source.step not in skipped or (by_name[source.step].combine is not None and by_name[source.step].when is None)
        require(is_there, f"output.{spec.name}", f"comes from step {source.step!r}, which may be skipped; {advice}")
