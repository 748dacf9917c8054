"""What a worker shows at /metrics: the execution half of Triton's series, and our own.

Computed from the replicas' counters at every scrape, on the event loop, so that nothing is counted twice and the hot path pays nothing.
A version whose files were replaced keeps counting where the replaced replica stopped; an unloaded version's series end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from penstock.contracts.worker_status import ReplicaState
from services.chassis.metrics import ROWS, Collected, CounterFamily, GaugeFamily, HistogramFamily, registry
from services.chassis.metrics_server import Gathered
from services.chassis.triton_metrics import TritonCounts, TritonMetrics
from services.worker.memory_budget import MemoryBudget
from services.worker.replica import Replica
from services.worker.replicas import Replicas
from services.worker.statistics import DeploymentStatistics

BY_VERSION: tuple[str, str] = ("model", "version")

_MICROSECOND = 1000
"""In nanoseconds."""

_EXECUTED = (
    "inference_count",
    "exec_count",
    "pending",
    "queue_microseconds",
    "compute_input_microseconds",
    "compute_infer_microseconds",
    "compute_output_microseconds",
)
"""Counters of Triton's that a worker knows; the router counts the others."""


@dataclass(slots=True)
class VersionTotals:
    """What all replicas of a version did, the unloaded ones included."""

    counts: TritonCounts = field(default_factory=TritonCounts)
    rows: Counter[int] = field(default_factory=Counter[int])
    """Executions by their rows."""
    waits: int = 0
    wait_seconds: float = 0.0
    dropped: int = 0
    cancelled: int = 0
    not_finite: int = 0
    wasted_seconds: float = 0.0

    def add(self, statistics: DeploymentStatistics) -> None:
        """Add what one replica did."""
        counts, compute = self.counts, statistics.compute
        counts.inference_count += statistics.inference_count
        counts.exec_count += statistics.execution_count
        counts.queue_microseconds += statistics.queue.nanoseconds // _MICROSECOND
        counts.compute_input_microseconds += compute.compute_input.nanoseconds // _MICROSECOND
        counts.compute_infer_microseconds += compute.compute_infer.nanoseconds // _MICROSECOND
        counts.compute_output_microseconds += compute.compute_output.nanoseconds // _MICROSECOND
        self.rows.update({rows: steps.compute_infer.count for rows, steps in statistics.batches.items()})
        self.waits += statistics.queue.count
        self.wait_seconds += statistics.queue.nanoseconds * 1e-9
        self.dropped += statistics.dropped
        self.cancelled += statistics.cancelled
        self.not_finite += statistics.not_finite
        self.wasted_seconds += statistics.wasted_nanoseconds * 1e-9

    def include(self, other: VersionTotals) -> None:
        """Add what other replicas did."""
        for name in _EXECUTED:
            setattr(self.counts, name, getattr(self.counts, name) + getattr(other.counts, name))
        self.rows.update(other.rows)
        self.waits += other.waits
        self.wait_seconds += other.wait_seconds
        self.dropped += other.dropped
        self.cancelled += other.cancelled
        self.not_finite += other.not_finite
        self.wasted_seconds += other.wasted_seconds


class WorkerMetrics:
    """The metrics of one worker; used on the event loop."""

    def __init__(self, replicas: Replicas, budget: MemoryBudget) -> None:
        """Store the collaborators."""
        self._replicas = replicas
        self._budget = budget
        self._retired: dict[tuple[str, str], VersionTotals] = {}
        self._load_seconds = HistogramFamily("penstock_model_load_seconds", "Time from files to ready.", ("model",))
        self._load_failures = CounterFamily("penstock_model_load_failures", "Loads that failed.", ("model", "reason"))

    def load_ended(self, replica: Replica, seconds: float) -> None:
        """Count a load that is over; one that was not needed is neither success nor failure."""
        if replica.failure is not None:
            self._load_failures.of(replica.model, replica.failure.reason).value += 1
        elif replica.batcher is not None:
            self._load_seconds.of(replica.model).add(int(seconds * 1e6))

    def retired(self, replica: Replica, statistics: DeploymentStatistics) -> None:
        """Keep the counters of a closed replica if another one of the same version goes on, else drop what was kept."""
        key = (replica.model, replica.version)
        if self._replicas.has_version(*key):
            self._retired.setdefault(key, VersionTotals()).add(statistics)
        else:
            self._retired.pop(key, None)

    def source(self, *others: Collected) -> Callable[[], Awaitable[CollectorRegistry]]:
        """Return what a metrics server shows: these metrics as they are at each scrape, and others."""

        async def shown() -> CollectorRegistry:
            return registry(Gathered(self.collect()), *others)

        return shown

    def collect(self) -> Iterable[Metric]:
        """Return all families."""
        totals = self._totals()
        triton = TritonMetrics()
        for (model, version), total in totals.items():
            counts = triton.of(model, version)
            for name in _EXECUTED:
                setattr(counts, name, getattr(total.counts, name))
        yield from triton.collect()
        yield from _executions(totals)
        yield from self._states()
        yield from self._memory()
        yield from self._load_seconds.collect()
        yield from self._load_failures.collect()

    def _totals(self) -> dict[tuple[str, str], VersionTotals]:
        totals: dict[tuple[str, str], VersionTotals] = {}
        for replica in self._replicas:
            if replica.batcher is not None:
                total = totals.setdefault((replica.model, replica.version), VersionTotals())
                total.add(replica.batcher.statistics)
                total.counts.pending += replica.batcher.waiting_requests
        for key, kept in self._retired.items():
            if key in totals:
                totals[key].include(kept)
        return totals

    def _states(self) -> Iterable[Metric]:
        family = GaugeFamily("penstock_replica_state", "Replicas by state.", (*BY_VERSION, "state"))
        for replica in self._replicas:
            if replica.life.state is not ReplicaState.UNLOADED:
                family.of(replica.model, replica.version, replica.life.state.name.lower()).value += 1
        unhealthy = GaugeFamily(
            "penstock_replica_unhealthy", "Replicas whose outputs broke their signature several times in a row.", BY_VERSION
        )
        for replica in self._replicas:
            if replica.batcher is not None:
                unhealthy.of(replica.model, replica.version).value += not replica.batcher.is_healthy
        yield from family.collect()
        yield from unhealthy.collect()

    def _memory(self) -> Iterable[Metric]:
        models = GaugeFamily("penstock_model_memory_bytes", "Growth of resident memory at load.", BY_VERSION)
        for replica in self._replicas:
            if replica.batcher is not None and replica.loaded is not None:
                models.of(replica.model, replica.version).value += replica.loaded.memory_bytes
        budget = GaugeFamily("penstock_memory_budget_bytes", "Memory that models may use; 0 means no limit.")
        budget.of().value = self._budget.budget_bytes
        used = GaugeFamily("penstock_memory_used_bytes", "Memory that models use, as measured at load.")
        used.of().value = self._budget.used_bytes
        for family in (models, budget, used):
            yield from family.collect()


def _executions(totals: dict[tuple[str, str], VersionTotals]) -> Iterable[Metric]:
    sizes = HistogramFamily("penstock_batch_size", "Rows of an execution.", BY_VERSION, scale=ROWS)
    waits = Metric("penstock_batch_wait_seconds", "Time of requests between arrival and execution.", "summary")
    dropped = CounterFamily("penstock_requests_dropped", "Requests refused before execution because they were too late.", BY_VERSION)
    cancelled = CounterFamily("penstock_requests_cancelled", "Requests taken back before execution.", BY_VERSION)
    not_finite = CounterFamily("penstock_requests_not_finite", "Requests with NaN or infinity in an output.", BY_VERSION)
    wasted = CounterFamily("penstock_execution_wasted_seconds", "Time of executions whose results nobody wanted.", BY_VERSION)
    for key, total in totals.items():
        labels = {"model": key[0], "version": key[1]}
        for rows, count in total.rows.items():
            sizes.of(*key).add(rows, count)
        waits.add_sample("penstock_batch_wait_seconds_count", labels, total.waits)
        waits.add_sample("penstock_batch_wait_seconds_sum", labels, total.wait_seconds)
        dropped.of(*key).value = total.dropped
        cancelled.of(*key).value = total.cancelled
        not_finite.of(*key).value = total.not_finite
        wasted.of(*key).value = total.wasted_seconds
    yield waits
    for family in (sizes, dropped, cancelled, not_finite, wasted):
        yield from family.collect()
