"""What happened between two looks at the metrics: requests a second and latency by model. Pure: time passes between the looks, not here.

Counters that fell belong to a server that was started again: all they show happened since. A quantile is interpolated within its bucket
of the histogram, as Prometheus's histogram_quantile does; above the last finite bound it is that bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

from penstock.cli.metrics_text import Sample

REQUESTS = "penstock_requests_total"
LATENCY = "penstock_request_duration_seconds_bucket"
OK = "OK"
OF_WORKERS = {
    "penstock_link_up": ("worker", "links_up"),
    "penstock_link_rows_in_flight": ("worker", "rows_in_flight"),
    "penstock_child_up": ("process", "is_running"),
    "penstock_child_starts_total": ("process", "starts"),
    "process_resident_memory_bytes": ("process", "memory_bytes"),
}
"""Metrics that tell of workers: the label that holds the name, and what the value is here."""
OF_REDIS = {
    "penstock_redis_used": "routers",
    "penstock_redis_up": "reachable_by",
    "penstock_quotas_shared": "quotas_shared_by",
    "penstock_result_cache_shared": "answers_shared_by",
    "penstock_redis_times_away_total": "times_away",
}
"""Metrics that tell how routers see Redis, and what the value is here: routers, but for the last."""

Version = tuple[str, str]
"""Model and version."""


@dataclass(slots=True)
class Look:
    """The metrics at one moment."""

    requests: dict[tuple[str, str, str], float] = field(default_factory=dict[tuple[str, str, str], float])
    """By model, version and code."""
    buckets: dict[Version, dict[float, float]] = field(default_factory=dict[Version, dict[float, float]])
    """Cumulative counts by upper bound in seconds."""
    workers: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    """By worker and the names of OF_WORKERS, as far as they are shown."""
    redis: dict[str, float] = field(default_factory=dict[str, float])
    """By the names of OF_REDIS, as far as they are shown; routers without a Redis show hardly any."""

    @property
    def answered(self) -> float:
        """Requests answered since the server started."""
        return sum(value for (_, _, code), value in self.requests.items() if code == OK)

    @property
    def failed(self) -> float:
        """Requests refused or failed since the server started."""
        return sum(value for (_, _, code), value in self.requests.items() if code != OK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What one version, or all of them, did in an interval."""

    requests_per_second: float = 0.0
    failures_per_second: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None


def look_at(samples: Iterable[Sample]) -> Look:
    """Pick out what matters here; equal series are added up."""
    look = Look()
    for sample in samples:
        labels = sample.labels
        if sample.name == REQUESTS:
            key = labels.get("model", ""), labels.get("version", ""), labels.get("code", "")
            look.requests[key] = look.requests.get(key, 0.0) + sample.value
        elif sample.name == LATENCY:
            bounds = look.buckets.setdefault((labels.get("model", ""), labels.get("version", "")), {})
            bound = float(labels.get("le", "inf"))
            bounds[bound] = bounds.get(bound, 0.0) + sample.value
        elif sample.name in OF_WORKERS:
            _add_worker(look, sample)
        elif sample.name in OF_REDIS:
            fact = OF_REDIS[sample.name]
            look.redis[fact] = look.redis.get(fact, 0.0) + sample.value
    return look


def between(earlier: Look, later: Look, seconds: float) -> dict[Version, Rate]:
    """Return what each version did in the `seconds` between two looks; `("", "")` is everything together."""
    rates = {version: _rate(earlier, later, seconds, [version]) for version in _versions(later)}
    return {**rates, ("", ""): _rate(earlier, later, seconds, [*rates, ("", "")])}


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """Return the value below which a share of the counts lies; None without counts.

    Args:
        buckets: cumulative counts by upper bound.
        share: 0 to 1.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total <= 0:
        return None
    wanted, low, below = share * total, 0.0, 0.0
    for bound in bounds:
        if buckets[bound] >= wanted and buckets[bound] > below:
            return low if bound == inf else low + (bound - low) * (wanted - below) / (buckets[bound] - below)
        low, below = (low if bound == inf else bound), buckets[bound]
    return low


def _add_worker(look: Look, sample: Sample) -> None:
    label, fact = OF_WORKERS[sample.name]
    name = sample.labels.get(label, "")
    # Other processes show their memory too; only the names of workers begin so.
    if label == "worker" or name.startswith("worker"):
        facts = look.workers.setdefault(name, {})
        facts[fact] = facts.get(fact, 0.0) + sample.value


def _versions(look: Look) -> list[Version]:
    named = {(model, version) for model, version, _ in look.requests if model}
    return sorted(named | set(look.buckets))


def _rate(earlier: Look, later: Look, seconds: float, versions: Sequence[Version]) -> Rate:
    wanted = set(versions)
    grown = {key: _growth(earlier.requests.get(key, 0.0), now) for key, now in later.requests.items() if key[:2] in wanted}
    answered = sum(value for key, value in grown.items() if key[2] == OK)
    buckets: dict[float, float] = {}
    for version in wanted & set(later.buckets):
        before = earlier.buckets.get(version, {})
        for bound, now in later.buckets[version].items():
            buckets[bound] = buckets.get(bound, 0.0) + _growth(before.get(bound, 0.0), now)
    p50, p99 = quantile(buckets, 0.5), quantile(buckets, 0.99)
    return Rate(
        requests_per_second=answered / seconds,
        failures_per_second=(sum(grown.values()) - answered) / seconds,
        p50_ms=None if p50 is None else p50 * 1000,
        p99_ms=None if p99 is None else p99 * 1000,
    )


def _growth(before: float, now: float) -> float:
    return now - before if now >= before else now
