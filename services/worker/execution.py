"""One execution, from waiting bytes to answers; runs on the event loop or in an instance's thread.

A row that breaks a rule fails alone before the model runs; a batch that fails in the model is taken apart (`bisection.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns

from penstock.contracts.errors import ExecutionFailed, InvalidInput, OutputContract, ServingError
from penstock.contracts.signature import Signature
from penstock.contracts.tensors import AnyArray
from services.worker.batch_buffer import assemble, sift, split
from services.worker.bisection import Bisection, halves
from services.worker.memory_shortage import OUT_OF_MEMORY, does_not_fit, out_of_memory
from services.worker.output_checks import OutputCheck, sift_outputs
from services.worker.session import ModelSession, RunHandle, Terminated
from services.worker.statistics import Durations
from services.worker.work import Batch, OutputPart, Part


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRules:
    """What is checked around the model."""

    signature: Signature
    reject_non_finite: bool = False
    """Requests with NaN or infinity in an input are refused."""
    require_finite_output: bool = False
    """Requests with NaN or infinity in an output fail."""
    count_non_finite_output: bool = False
    """They are answered all the same, but counted."""


@dataclass(slots=True)
class Outcome:
    """What became of a batch. Every request is in exactly one of `answered`, `failed` and `stopped`."""

    answered: list[tuple[Part, tuple[OutputPart, ...]]] = field(default_factory=list[tuple[Part, tuple[OutputPart, ...]]])
    failed: list[tuple[Part, ServingError]] = field(default_factory=list[tuple[Part, ServingError]])
    stopped: list[Part] = field(default_factory=list[Part])
    """What did not finish because the brake was pulled."""
    executions: list[tuple[int, Durations]] = field(default_factory=list[tuple[int, Durations]])
    """Rows and durations of each run of the model that succeeded."""
    not_finite: int = 0
    """Requests with NaN or infinity in an output, where somebody wants to know."""

    def include(self, other: Outcome) -> None:
        """Add what became of other requests."""
        self.answered += other.answered
        self.failed += other.failed
        self.stopped += other.stopped
        self.executions += other.executions
        self.not_finite += other.not_finite


class Execution:
    """Runs batches on one instance of a deployment."""

    def __init__(self, session: ModelSession, rules: ExecutionRules) -> None:
        self._session = session
        self._rules = rules
        self._has_rows = rules.signature.has_batch_dimension
        self._wanted: dict[tuple[int, ...], tuple[tuple[OutputCheck, ...], tuple[str, ...]]] = {}

    def new_handle(self) -> RunHandle:
        """Return a brake for one batch."""
        return self._session.new_handle()

    def run(self, batch: Batch, handle: RunHandle) -> Outcome:
        """Execute a batch whatever happens: failures and stops are part of the outcome."""
        try:
            return self.attempt(batch, handle)
        except ExecutionFailed as error:
            return self.halve(batch, handle) if error.reason == OUT_OF_MEMORY else self.isolate(batch, handle)
        except Terminated:
            return Outcome(stopped=list(batch.parts))

    def attempt(self, batch: Batch, handle: RunHandle) -> Outcome:
        """Execute a batch once.

        Raises:
            ExecutionFailed: the model failed, and `isolate` finds out on which row; or memory did (OUT_OF_MEMORY), and `halve` helps.
            Terminated: the handle stopped it.
        """
        outcome = Outcome()
        parts, begun = batch.parts, perf_counter_ns()
        try:
            feeds = assemble(parts, reject_non_finite=self._rules.reject_non_finite)
        except InvalidInput:
            parts, broken = sift(parts, reject_non_finite=self._rules.reject_non_finite)
            outcome.failed += broken
            if not parts:
                return outcome
            feeds = assemble(parts)
        self._execute(parts, feeds, handle, begun, outcome)
        return outcome

    def halve(self, batch: Batch, handle: RunHandle) -> Outcome:
        """Execute a batch for which there was not enough memory as two halves, each once: repeating more would starve the neighbours.

        Nothing is remembered: the next batch is as large as it would have been.
        """
        outcome = Outcome()
        pieces = [half for half in halves(batch.parts) if half]
        for half in pieces:
            try:
                if len(pieces) == 1:
                    raise out_of_memory()
                done = self.attempt(Batch(half), handle)
            except ExecutionFailed as error:
                too_large = Outcome(failed=[(part, does_not_fit(part)) for part in half])
                done = too_large if error.reason == OUT_OF_MEMORY else self.isolate(Batch(half), handle)
            except Terminated:
                done = Outcome(stopped=list(half))
            outcome.include(done)
        return outcome

    def isolate(self, batch: Batch, handle: RunHandle) -> Outcome:
        """Execute a batch that failed as a whole, so that only the culprits fail."""
        sound, broken = sift(batch.parts, reject_non_finite=self._rules.reject_non_finite)
        outcome = Outcome(failed=list(broken))

        def execute(parts: Sequence[Part]) -> None:
            begun = perf_counter_ns()
            self._execute(parts, assemble(parts), handle, begun, outcome)

        def execute_rows(part: Part, rows: slice) -> None:
            feeds = {name: array[rows] for name, array in assemble([part]).items()}
            self._session.run(feeds, self._wanted_of(part.work.template.outputs)[1], handle)

        bisection = Bisection(execute, execute_rows if self._has_rows else None)
        try:
            bisection.blame_all(sound)
        except Terminated:
            outcome.stopped = bisection.undecided(sound)
        outcome.failed += bisection.failed
        return outcome

    def _execute(self, parts: Sequence[Part], feeds: dict[str, AnyArray], handle: RunHandle, begun: int, outcome: Outcome) -> None:
        specs, names = self._wanted_of(parts[0].work.template.outputs)
        rows = parts[0].rows if len(parts) == 1 else sum([part.rows for part in parts])
        assembled = perf_counter_ns()
        arrays = self._session.run(feeds, names, handle)
        executed = perf_counter_ns()
        try:
            for spec, array in zip(specs, arrays, strict=True):
                spec.check(array, rows if self._has_rows else None)
        except OutputContract as error:
            outcome.failed += [(part, error) for part in parts]
        else:
            if self._rules.require_finite_output:
                parts, arrays, refused = sift_outputs(parts, specs, arrays, has_rows=self._has_rows)
                outcome.failed += refused
                outcome.not_finite += len(refused)
            elif self._rules.count_non_finite_output:
                outcome.not_finite += len(sift_outputs(parts, specs, arrays, has_rows=self._has_rows)[2])
            if parts:
                outcome.answered += zip(parts, split(parts, arrays, has_rows=self._has_rows), strict=True)
        outcome.executions.append((rows, Durations(assembled - begun, executed - assembled, perf_counter_ns() - executed)))

    def _wanted_of(self, positions: tuple[int, ...]) -> tuple[tuple[OutputCheck, ...], tuple[str, ...]]:
        wanted = self._wanted.get(positions)
        if wanted is None:
            specs = [self._rules.signature.outputs[position] for position in positions]
            wanted = self._wanted[positions] = (tuple(OutputCheck(spec) for spec in specs), tuple(spec.name for spec in specs))
        return wanted
