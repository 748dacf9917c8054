"""Judges the tensors between a graph's steps by what registered versions take and give. Pure: graph and signatures in, problems out.

A step whose version is left to its model's route may be answered by any registered version of the model: it is refused only when none of
them fits what is certain. What the route sends it to in the end is judged by routers, again and again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from penstock.contracts.graph_edges import edge_problems
from penstock.contracts.graphs import Graph
from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType


def misfits(graph: Graph, candidates: Mapping[str, Sequence[Signature]]) -> tuple[str, ...]:
    """Return what does not fit, as far as it is known; each names step and tensor.

    Args:
        graph: the graph.
        candidates: what may answer each step that is a model, by the step's name, newest last; a step without any is not judged.
    """
    different = {name: tuple(dict.fromkeys(found)) for name, found in candidates.items() if found}
    certain = {name: found[0] for name, found in different.items() if len(found) == 1}
    problems = list(edge_problems(graph, certain))
    if problems:
        return tuple(problems)
    for name, found in different.items():
        told = [edge_problems(graph, {**certain, name: one}) for one in found]
        if len(found) > 1 and all(told):
            problems += [f"{one} (nor does any other registered version fit)" for one in told[-1]]
    return tuple(problems)


def signature_in(kept: Mapping[str, object], rows_at_least: int) -> Signature | None:
    """Return the signature that the catalogue keeps of a version; None when it keeps none.

    Args:
        kept: `inputs` and `outputs` (name, datatype, shape, optional) and `max_batch_size`.
        rows_at_least: a version with rows takes so many: a deployment may let it take more than it was registered with.
    """
    if not kept.get("outputs"):
        return None
    rows = cast("int", kept.get("max_batch_size", 0))
    taken = max(rows, rows_at_least) if rows else 0
    return Signature(inputs=_specs(kept, "inputs"), outputs=_specs(kept, "outputs"), max_batch_size=taken)


def _specs(kept: Mapping[str, object], which: str) -> tuple[TensorSpec, ...]:
    listed = cast("Sequence[Mapping[str, Any]]", kept.get(which, ()))
    return tuple(
        # Versions of before did not say what may be left out, so nothing is said of what is missing.
        TensorSpec(
            name=one["name"], datatype=DataType(one["datatype"]), shape=tuple(one.get("shape", ())), optional=one.get("optional", True)
        )
        for one in listed
    )
