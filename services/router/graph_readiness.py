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


def graph_problems(graph: Graph, resolve: Callable[[str, str], Deployment], *, within: tuple[tuple[str, str], ...] = ()) -> tuple[str, ...]:
    """Return why a graph cannot be answered now; nothing when it can.

    Args:
        graph: the graph.
        resolve: returns what serves a model and version; raises what RouteTable.resolve raises.
        within: model and version of the graphs around it.
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
        around = (*within, (found.model, found.version))
        if found.graph is not None and (around[-1] in within or len(around) >= DEEPEST_LOOK):
            problems.append(f"step {step.name!r}: graph {found.model}@{found.version} stands within itself, or within too many others")
        elif found.graph is not None:
            inner = graph_problems(found.graph, resolve, within=around)
            # One is enough to be not ready, and graphs of graphs would list thousands.
            problems += [f"step {step.name!r}: {one}" for one in inner[:1]]
    return (*problems, *edge_problems(graph, signatures))
