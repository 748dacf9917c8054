"""Whether a graph can be answered: every step has a version that is ready, and what flows between them fits. Pure."""

from __future__ import annotations

from collections.abc import Callable

from penstock.contracts.errors import NotFound, Unavailable
from penstock.contracts.graph_edges import edge_problems
from penstock.contracts.graphs import Graph
from penstock.contracts.signature import Signature
from services.mesh.route_table import Deployment

DEEPEST_LOOK = 4
"""Graphs within graphs that are looked into."""


def graph_problems(graph: Graph, resolve: Callable[[str, str], Deployment], *, depth: int = 1) -> tuple[str, ...]:
    """Return why a graph cannot be answered now; nothing when it can.

    Args:
        graph: the graph.
        resolve: returns what serves a model and version; raises what RouteTable.resolve raises.
        depth: how many graphs are around its steps.
    """
    problems: list[str] = []
    signatures: dict[str, Signature] = {}
    for step in (step for step in graph.steps if step.model):
        try:
            found = resolve(step.model, step.version)
        except (NotFound, Unavailable) as error:
            problems.append(f"step {step.name!r}: {error.message}")
            continue
        signatures[step.name] = found.signature
        if found.graph is not None and depth >= DEEPEST_LOOK:
            problems.append(f"step {step.name!r}: {found.model} is the {depth + 1}th graph within another one")
        elif found.graph is not None:
            problems += [f"step {step.name!r}: {one}" for one in graph_problems(found.graph, resolve, depth=depth + 1)]
    return (*problems, *edge_problems(graph, signatures))
