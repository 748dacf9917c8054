"""Combinations of tensors that have different rows of a request: every row gets what its own tensors make together. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from penstock.contracts.graphs import COMBINED, Combine, Graph, Step
from services.mesh.graph_rows import Part, Rows, together
from services.mesh.graph_tensors import combined, repeated


def combination(graph: Graph, step: Step, parts: Sequence[Part], rows: Rows) -> Part | None:
    """Return what a mean or a vote makes of some rows; rows that none of the parts has get the declared default, or are left out.

    Raises:
        ServingError: the tensors of a row, or the results of different rows, do not fit one another.
    """
    there = np.zeros((len(parts), rows.count), dtype=np.bool_)
    for line, part in zip(there, parts, strict=True):
        line[:] = part.rows.mask[rows.mask]
    made: list[Part] = []
    # Rows with the same tensors are combined together: mostly all of them.
    patterns, which = np.unique(there, axis=1, return_inverse=True)
    for number, pattern in enumerate(patterns.T):
        some = rows if patterns.shape[1] == 1 else rows.chosen(which.reshape(-1) == number)
        values = [part.of(some).value for part, is_there in zip(parts, pattern, strict=True) if is_there]
        if values:
            made.append(Part(value=combined(step.combine or Combine.FIRST, values, step.name), rows=some))
    return completed(graph, step, made, rows)


def completed(graph: Graph, step: Step, parts: Sequence[Part], rows: Rows) -> Part | None:
    """Return a combination's parts together, with its default for the rows that none has; None when it has no rows at all.

    Raises:
        ServingError: the parts do not fit one another.
    """
    made, left = list(parts), rows
    for part in made:
        left -= part.rows
    default = step.defaults.get(COMBINED)
    if default is not None and not left.is_none:
        made.append(Part(value=repeated(default, left.count if graph.signature.has_batch_dimension else None), rows=left))
        left -= left
    return together(made, rows if left.is_none else rows - left, step.name) if made else None
