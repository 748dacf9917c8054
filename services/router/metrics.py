"""The router's metrics beside those of the inference path: what is in flight, what was sent again, what the cache holds."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.metrics_core import Metric

from services.chassis.metrics import Asked, Collected
from services.chassis.wrong_key_metrics import wrong_key_metrics
from services.mesh.dispatch import Dispatch
from services.router.inference import Inference
from services.router.shared_answers import SharedAnswers

LOOKED_UP = {"hit": "hits", "miss": "misses", "corrupt": "corrupt", "error": "errors", "skipped": "skipped"}
"""Outcomes of a question to Redis, and what counts them."""
WRITTEN = ("kept", "dropped", "refused", "too_large")


class LinkMetrics:
    """Rows in flight and reach of every worker, as this router sees it."""

    def __init__(self, dispatch: Dispatch) -> None:
        """Keep the links' owner."""
        self._dispatch = dispatch

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        rows = Metric("penstock_link_rows_in_flight", "Rows sent to a worker and not answered.", "gauge")
        reach = Metric("penstock_link_up", "Routers whose link to a worker is in rotation.", "gauge")
        for link in self._dispatch.links:
            labels = {"worker": link.target.worker_id}
            rows.add_sample(rows.name, labels, link.rows_in_flight)
            reach.add_sample(reach.name, labels, int(link.is_up))
        return (rows, reach)


class CacheMetrics:
    """What each tier of the result cache was asked and answered."""

    def __init__(self, shared: SharedAnswers) -> None:
        """Keep the cache's owner; its second tier may come later, or never."""
        self._shared = shared

    def collect(self) -> Iterable[Metric]:
        """Return the families."""
        lookups = Metric("penstock_result_cache_lookups", "Questions that a tier of the result cache was asked, by outcome.", "counter")
        writes = Metric("penstock_result_cache_writes", "Answers that were to be shared by Redis, by outcome.", "counter")
        is_open = Metric("penstock_result_cache_shared", "Routers whose shared tier is open.", "gauge")
        memory, tier = self._shared.cache.counters, self._shared.tier
        outcomes: list[tuple[str, str, int]] = [("memory", "hit", memory.hits), ("memory", "miss", memory.misses)]
        if tier is not None:
            of_redis = tier.counters
            outcomes += [("redis", name, getattr(of_redis, field)) for name, field in LOOKED_UP.items()]
            for name in WRITTEN:
                writes.add_sample(f"{writes.name}_total", {"outcome": name}, getattr(of_redis, name))
            is_open.add_sample(is_open.name, {}, int(tier.is_open))
        for where, outcome, count in outcomes:
            lookups.add_sample(f"{lookups.name}_total", {"tier": where, "outcome": outcome}, count)
        return (lookups, writes, is_open)


def router_metrics(inference: Inference, dispatch: Dispatch, shared: SharedAnswers) -> tuple[Collected, ...]:
    """Return the collectors."""
    counters, cache = dispatch.counters, shared.cache
    return (
        LinkMetrics(dispatch),
        CacheMetrics(shared),
        Asked("penstock_requests_in_flight", "Requests that wait for a worker's answer.", lambda: inference.requests_in_flight),
        Asked("penstock_requests_sent", "Requests sent to workers, first tries.", lambda: counters.sent_requests, is_counter=True),
        Asked("penstock_requests_retried", "Requests sent to another worker.", lambda: counters.retried_requests, is_counter=True),
        Asked(
            "penstock_retries_refused", "Requests that the budget did not allow again.", lambda: counters.retries_refused, is_counter=True
        ),
        Asked("penstock_requests_shed", "Requests refused at the door, as too late.", lambda: counters.shed_requests, is_counter=True),
        *wrong_key_metrics(inference.tenants.wrong_keys),
        Asked("penstock_links_lost", "Links that went silent or away with requests on them.", lambda: counters.links_lost, is_counter=True),
        Asked("penstock_result_cache_bytes", "Memory of the result cache.", lambda: cache.used_bytes),
        Asked("penstock_result_cache_evictions", "Answers dropped for lack of room.", lambda: cache.counters.evictions, is_counter=True),
    )
