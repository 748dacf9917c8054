"""Counts what became of requests, in cells that are kept: counting is adding to an integer.

`penstock_requests_total` has one series a (model, version, tenant, code); code is `OK` or the reason of the error. Requests that were
refused before their model was known count under the model ``. Names come from callers only after they were found in the route table
or among the tenants, so nobody can make series at will.
"""

from __future__ import annotations

import time

from penstock.contracts.errors import (
    CallerLeft,
    DeadlineExceeded,
    Internal,
    Overloaded,
    QuotaExceeded,
    RequestTooLarge,
    ServingError,
    Unavailable,
)
from services.chassis.metrics import Cell, Collected, CounterFamily, HistogramFamily
from services.chassis.trace_context import SpanContext
from services.chassis.triton_metrics import FailureReason, TritonMetrics

REJECTED = (Overloaded, QuotaExceeded, RequestTooLarge, Unavailable, DeadlineExceeded)


class Outcomes:
    """The counters of one version."""

    __slots__ = ("_by_tenant", "_counter", "_latency", "_model", "_triton", "_version")

    def __init__(self, metrics: RouterMetrics, model: str, version: str) -> None:
        """Take the version's cells."""
        self._model = model
        self._version = version
        self._counter = metrics.requests
        self._latency = metrics.latency.of(model, version)
        self._triton = metrics.triton.of(model, version)
        self._by_tenant: dict[tuple[str, str], Cell] = {}

    def succeed(self, requests: int, seconds: float) -> None:
        """Count answers that took the same time."""
        microseconds = int(seconds * 1e6)
        self._triton.request_success += requests
        self._triton.request_microseconds += microseconds * requests
        self._latency.add(microseconds, requests)

    def keep_exemplar(self, context: SpanContext, seconds: float) -> None:
        """Make a sampled request the exemplar of its latency bucket; it is counted by `succeed`."""
        self._latency.exemplify(int(seconds * 1e6), {"trace_id": context.trace_id_hex}, time.time())

    def fail(self, error: ServingError, tenant: str, requests: int = 1) -> None:
        """Count refusals and failures."""
        for _ in range(requests):
            self._triton.fail(_triton_reason(error))
        self.count(tenant, error.reason, requests)

    def count(self, tenant: str, code: str, requests: int) -> None:
        """Count by tenant and code."""
        key = (tenant, code)
        cell = self._by_tenant.get(key)
        if cell is None:
            cell = self._by_tenant[key] = self._counter.of(self._model, self._version, tenant, code)
        cell.value += requests

    def run(self, rows: int, seconds: float) -> None:
        """Count a request that a graph answered, which no worker counts; as an answer it is counted by `succeed`."""
        self._triton.inference_count += rows
        self._triton.exec_count += 1
        self._triton.compute_infer_microseconds += int(seconds * 1e6)

    def hit(self, seconds: float) -> None:
        """Count an answer from the result cache."""
        self._triton.cache_hits += 1
        self._triton.cache_hit_microseconds += int(seconds * 1e6)

    def miss(self, seconds: float) -> None:
        """Count a question that the result cache could not answer, and the time to look for it."""
        self._triton.cache_misses += 1
        self._triton.cache_miss_microseconds += int(seconds * 1e6)


class RouterMetrics:
    """The families that the inference path counts into."""

    def __init__(self) -> None:
        """Start without series."""
        self.triton = TritonMetrics()
        self.requests = CounterFamily("penstock_requests", "Requests by outcome.", ("model", "version", "tenant", "code"))
        self.latency = HistogramFamily(
            "penstock_request_duration_seconds", "Time from arrival to answer of successful requests, in seconds.", ("model", "version")
        )
        self._outcomes: dict[tuple[str, str], Outcomes] = {}

    def of(self, model: str, version: str) -> Outcomes:
        """Return the counters of a version."""
        outcomes = self._outcomes.get((model, version))
        if outcomes is None:
            outcomes = self._outcomes[model, version] = Outcomes(self, model, version)
        return outcomes

    def refuse(self, tenant: str, error: ServingError) -> None:
        """Count a request that was refused before its model was known."""
        self.requests.of("", "", tenant, error.reason).value += 1

    @property
    def collectors(self) -> tuple[Collected, ...]:
        """What is to be shown."""
        return (self.triton, self.requests, self.latency)


def _triton_reason(error: ServingError) -> FailureReason:
    if isinstance(error, CallerLeft):
        return FailureReason.CANCELED
    if isinstance(error, Internal):
        return FailureReason.BACKEND
    return FailureReason.REJECTED if isinstance(error, REJECTED) else FailureReason.OTHER
