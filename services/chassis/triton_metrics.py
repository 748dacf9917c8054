"""Triton's `nv_inference_*` series, under exactly these names: dashboards made for Triton find them.

prometheus_client adds `_total` to every counter, so the family is emitted as "unknown", whose samples keep their names. Times are
cumulative microseconds. inference_count ÷ exec_count is the mean batch. The router counts requests, the worker executions; whoever
adds up both (`aggregate`) gets the whole, since what a process does not count stays 0.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from prometheus_client.metrics_core import Metric


class FailureReason(Enum):
    """Why a request failed, as Triton groups it."""

    REJECTED = "REJECTED"
    CANCELED = "CANCELED"
    BACKEND = "BACKEND"
    OTHER = "OTHER"


@dataclass(slots=True)
class TritonCounts:
    """Counters of one version; add to them as plain numbers."""

    request_success: int = 0
    """Requests answered."""
    rejected: int = 0
    """Requests refused before execution: full queue, timeout, quota."""
    canceled: int = 0
    """Requests whose caller left."""
    backend: int = 0
    """Requests that failed in execution."""
    other: int = 0
    """Requests that failed otherwise."""
    inference_count: int = 0
    """Rows executed; cached answers do not count."""
    exec_count: int = 0
    """Executions."""
    pending: int = 0
    """Requests that wait for execution now."""
    request_microseconds: int = 0
    """Time from arrival to answer of successful requests, cached ones included."""
    queue_microseconds: int = 0
    """Time in the queue."""
    compute_input_microseconds: int = 0
    """Time to assemble inputs."""
    compute_infer_microseconds: int = 0
    """Time of execution."""
    compute_output_microseconds: int = 0
    """Time to split outputs."""
    cache_hits: int = 0
    """Answers taken from the cache."""
    cache_misses: int = 0
    """Answers looked for in the cache and not found."""
    cache_hit_microseconds: int = 0
    """Time to take answers from the cache."""
    cache_miss_microseconds: int = 0
    """Time to look up answers that were not there."""

    def fail(self, reason: FailureReason) -> None:
        """Count one failed request."""
        name = reason.value.lower()
        setattr(self, name, getattr(self, name) + 1)


_SERIES = {
    "request_success": ("nv_inference_request_success", "Number of successful inference requests, all batch sizes"),
    "inference_count": ("nv_inference_count", "Number of inferences performed (does not include cached requests)"),
    "exec_count": ("nv_inference_exec_count", "Number of model executions performed (does not include cached requests)"),
    "request_microseconds": (
        "nv_inference_request_duration_us",
        "Cumulative inference request duration in microseconds (includes cached requests)",
    ),
    "queue_microseconds": (
        "nv_inference_queue_duration_us",
        "Cumulative inference queuing duration in microseconds (includes cached requests)",
    ),
    "compute_input_microseconds": ("nv_inference_compute_input_duration_us", "Cumulative compute input duration in microseconds"),
    "compute_infer_microseconds": ("nv_inference_compute_infer_duration_us", "Cumulative compute inference duration in microseconds"),
    "compute_output_microseconds": (
        "nv_inference_compute_output_duration_us",
        "Cumulative inference compute output duration in microseconds",
    ),
    "cache_hits": ("nv_cache_num_hits_per_model", "Number of cache hits per model"),
    "cache_misses": ("nv_cache_num_misses_per_model", "Number of cache misses per model"),
    "cache_hit_microseconds": ("nv_cache_hit_duration_per_model", "Total cache hit duration per model, in microseconds"),
    "cache_miss_microseconds": ("nv_cache_miss_duration_per_model", "Total cache miss duration per model, in microseconds"),
}
_FAILURE = ("nv_inference_request_failure", "Number of failed inference requests, all batch sizes")
_PENDING = ("nv_inference_pending_request_count", "Instantaneous number of pending requests awaiting execution per-model.")


class TritonMetrics:
    """The counters of every version that a process knows."""

    def __init__(self) -> None:
        """Start without versions."""
        self._counts: dict[tuple[str, str], TritonCounts] = {}

    def of(self, model: str, version: str) -> TritonCounts:
        """Return the counters of a version; keep them and add to them."""
        counts = self._counts.get((model, version))
        if counts is None:
            counts = self._counts[model, version] = TritonCounts()
        return counts

    def forget(self, model: str, version: str) -> None:
        """Drop a version's series, when it is unloaded."""
        self._counts.pop((model, version), None)

    def collect(self) -> Iterable[Metric]:
        """Return all families."""
        known = [({"model": model, "version": version}, counts) for (model, version), counts in list(self._counts.items())]
        for attribute, (name, documentation) in _SERIES.items():
            metric = Metric(name, documentation, "unknown")
            for labels, counts in known:
                metric.add_sample(name, labels, getattr(counts, attribute))
            yield metric
        yield _failures(known)
        pending = Metric(*_PENDING, "gauge")
        for labels, counts in known:
            pending.add_sample(_PENDING[0], labels, counts.pending)
        yield pending


def _failures(known: Iterable[tuple[dict[str, str], TritonCounts]]) -> Metric:
    metric = Metric(*_FAILURE, "unknown")
    for labels, counts in known:
        for reason in FailureReason:
            metric.add_sample(_FAILURE[0], {**labels, "reason": reason.value}, getattr(counts, reason.value.lower()))
    return metric
