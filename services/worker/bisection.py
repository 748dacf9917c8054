"""Finds the requests, and in them the rows, that make a model fail, and lets their neighbours have their answers.

What failed together is halved. If the left half succeeds the right one is guilty by deduction and is not run whole; if it fails it is
taken apart, and the right half is tried. So one culprit among n rows costs at most 2·log2(n) further executions. More than CULPRITS
of them cost no more than that many times as much: what is undecided then fails as a whole, for the model is to blame, not a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.contracts.errors import ExecutionFailed, ServingError
from services.worker.work import Part

CULPRITS = 3

Execute = Callable[[Sequence[Part]], None]
"""Run requests and keep their answers; raises ExecutionFailed."""
ExecuteRows = Callable[[Part, slice], None]
"""Run some rows of one request, for their success or failure only; raises ExecutionFailed."""


class Bisection:
    """Takes one failed batch apart."""

    def __init__(self, execute: Execute, execute_rows: ExecuteRows | None) -> None:
        """Without `execute_rows` (no batch dimension) no row is named."""
        self.failed: list[tuple[Part, ServingError]] = []
        self._execute = execute
        self._execute_rows = execute_rows
        self._budget = 0
        self._answered: list[Part] = []
        self._has_success = False

    def blame_all(self, parts: Sequence[Part]) -> None:
        """Answer or fail each request of a batch that failed as a whole; where nothing at all succeeds, no row is named."""
        rows = sum(part.rows for part in parts)
        self._budget = CULPRITS * 2 * max(1, (rows - 1).bit_length())
        if parts:
            self._blame(parts, is_proven=True)
        if not self._has_success:
            self.failed = [(part, _failed()) for part, _ in self.failed]

    def undecided(self, parts: Sequence[Part]) -> list[Part]:
        """Return what is neither answered nor failed yet."""
        decided = [*self._answered, *(part for part, _ in self.failed)]
        known = {(id(part.work), position) for part in decided for position in part.positions}
        open_parts = [Part(part.work, [one for one in part.positions if (id(part.work), one) not in known]) for part in parts]
        return [part for part in open_parts if part.positions]

    def _blame(self, parts: Sequence[Part], *, is_proven: bool) -> None:
        if len(parts) == 1 and len(parts[0].positions) == 1:
            if is_proven or not self._succeeds(parts):
                self.failed.append((parts[0], self._culprit(parts[0])))
            return
        if self._budget <= 0:
            self.failed += [(part, _failed()) for part in parts]
            return
        left, right = halves(parts)
        if self._succeeds(left):
            self._blame(right, is_proven=False)
            return
        self._blame(left, is_proven=True)
        if not self._succeeds(right):
            self._blame(right, is_proven=True)

    def _succeeds(self, parts: Sequence[Part]) -> bool:
        self._budget -= 1
        try:
            self._execute(parts)
        except ExecutionFailed:
            return False
        self._answered += parts
        self._has_success = True
        return True

    def _culprit(self, part: Part) -> ExecutionFailed:
        if self._execute_rows is None:
            return _failed()
        low, high = 0, part.work.rows
        while high - low > 1:
            middle = (low + high) // 2
            try:
                self._execute_rows(part, slice(low, middle))
                low, self._has_success = middle, True
            except ExecutionFailed:
                high = middle
        return ExecutionFailed(f"row {low} of the request makes the model's execution fail", reason="POISON_ROW")


def halves(parts: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    """Split into two halves of equally many requests; the right one has one more when the number is odd."""
    room = sum(len(part.positions) for part in parts) // 2
    left: list[Part] = []
    right: list[Part] = []
    for part in parts:
        mine, rest = part.positions[:room], part.positions[room:]
        room -= len(mine)
        if mine:
            left.append(Part(part.work, mine))
        if rest:
            right.append(Part(part.work, rest))
    return left, right


def _failed() -> ExecutionFailed:
    return ExecutionFailed("the model's execution failed; the worker's log says why")
