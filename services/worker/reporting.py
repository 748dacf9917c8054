"""Tells sinks, counters, the cost model and the tracer what became of requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from penstock.contracts.errors import DeadlineExceeded, OutputContract, ReplicaOverloaded, ServingError, WorkerLost
from services.worker.cost_model import CostModel
from services.worker.execution import Outcome
from services.worker.running import RunningBatch
from services.worker.soundness import REASON, Soundness
from services.worker.statistics import DeploymentStatistics, Durations
from services.worker.tracing import ExecutionTracer, TracedExecution, traced_requests
from services.worker.waiting_ends import Drop, DropCause
from services.worker.work import Timing, Work

log = structlog.get_logger(__name__)


class Reporter:
    """Reports for one deployment."""

    def __init__(self, model: str, version: str, costs: CostModel, tracer: ExecutionTracer | None, wall_clock: Callable[[], float]) -> None:
        self.statistics = DeploymentStatistics()
        self.soundness = Soundness()
        self._model = model
        self._version = version
        self._costs = costs
        self._tracer = tracer
        self._wall_clock = wall_clock

    def failed(self, work: Work, positions: Sequence[int], error: ServingError, now: float) -> None:
        """Report requests that failed."""
        self.statistics.failed(error.reason, len(positions), int((now - work.arrived_at) * 1e9))
        work.sink.fail(work, positions, error)

    def dropped(self, drops: Sequence[Drop], now: float) -> None:
        """Report requests that left the queue without running."""
        for drop in drops:
            self.statistics.dropped += len(drop.positions)
            self.failed(drop.work, drop.positions, self._drop_error(drop, now), now)

    def finished(self, running: RunningBatch, outcome: Outcome, now: float, waiting_rows: int = 0) -> None:
        """Report a batch that ran, and how many rows wait behind it."""
        durations = self._count(running, outcome)
        compute = (durations.input + durations.infer + durations.output) // 1000
        started_at, rows, statistics = running.started_at, running.batch.rows, self.statistics
        for part, outputs in outcome.answered:
            work = part.work
            waited = max(0.0, started_at - work.arrived_at)
            work.sink.answer(work, part.positions, outputs, Timing(int(waited * 1e6), compute, rows, waiting_rows))
            statistics.answered(len(part.positions), part.rows, int(waited * 1e9), durations)
        for part, error in outcome.failed:
            self.failed(part.work, part.positions, error, now)
        if outcome.failed or self.soundness.is_in_doubt:
            self._judge(outcome, now)
        if outcome.stopped:
            statistics.wasted_nanoseconds += int((now - started_at) * 1e9)
        for part in outcome.stopped:
            self.failed(part.work, part.positions, self._stop_error(running), now)
        if self._tracer is not None:
            self._trace(self._tracer, running, now)

    def _count(self, running: RunningBatch, outcome: Outcome) -> Durations:
        """Count the executions and learn from them; return the durations that the batch's requests spent."""
        batch, executions = running.batch, outcome.executions
        statistics = self.statistics
        statistics.not_finite += outcome.not_finite
        statistics.last_inference_milliseconds = int(self._wall_clock() * 1e3)
        for rows, durations in executions:
            statistics.executed(rows, durations)
        if len(executions) == 1:
            rows, durations = executions[0]
            self._costs.observe(rows, batch.row_bytes, durations.seconds)
            return durations
        return Durations(
            sum(one.input for _, one in executions), sum(one.infer for _, one in executions), sum(one.output for _, one in executions)
        )

    def _judge(self, outcome: Outcome, now: float) -> None:
        """Note whether the version kept its signature; values that are not finite break none."""
        if any(isinstance(error, OutputContract) and error.reason == OutputContract.reason for _, error in outcome.failed):
            if self.soundness.breach(now):
                log.error("version_unhealthy", model=self._model, version=self._version, reason=REASON)
        elif outcome.answered:
            self.soundness.keep()

    def _drop_error(self, drop: Drop, now: float) -> ServingError:
        waited = round((now - drop.work.arrived_at) * 1e3, 1)
        if drop.cause is DropCause.WAITED_TOO_LONG:
            return ReplicaOverloaded(
                f"the request waited {waited} ms for {self._model}, longer than its queue allows: come back later",
            )
        return DeadlineExceeded(f"{drop.cause.value}: it waited {waited} ms for {self._model} {self._version}")

    def _stop_error(self, running: RunningBatch) -> ServingError:
        if running.is_closing:
            return WorkerLost("the replica was unloaded while the request ran")
        return DeadlineExceeded(f"the deadline passed while {self._model} {self._version} ran; the execution was stopped")

    def _trace(self, tracer: ExecutionTracer, running: RunningBatch, now: float) -> None:
        requests = traced_requests(running.batch.parts)
        if requests:
            tracer.executed(
                TracedExecution(
                    model=self._model,
                    version=self._version,
                    started_at=running.started_at,
                    ended_at=now,
                    rows=running.batch.rows,
                    requests=requests,
                )
            )
