"""Metrics of a router of the whole mesh: routes, and what passes over the bus."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client.metrics_core import Metric

from services.chassis.kafka_feed import FeedCounters
from services.chassis.kafka_sending import SendingCounters
from services.chassis.metrics import Asked, Collected, Merge
from services.router.choosing import Choosing
from services.router.fallback import FallbackChain
from services.router.routes_in_force import RoutesInForce
from services.router.standstill import Standstill


def bus_metrics(
    in_force: RoutesInForce, feed: FeedCounters, sent: SendingCounters, choosing: Choosing, still: Standstill
) -> tuple[Collected, ...]:
    """Return the collectors."""
    routes, chosen = in_force.counters, choosing.counters
    return (
        Asked("penstock_router_standstills", "Times this router stood still.", lambda: still.count, is_counter=True),
        Asked("penstock_routes", "Models with a route in force.", lambda: len(in_force.plans), merge=Merge.LARGEST),
        Asked("penstock_routes_applied", "Changes of routes applied.", lambda: routes.applied, is_counter=True),
        Asked("penstock_break_glass_applied", "Break-glass routes applied.", lambda: routes.break_glass_applied, is_counter=True),
        Asked("penstock_break_glass_refused", "Break-glass routes refused.", lambda: routes.break_glass_refused, is_counter=True),
        Asked("penstock_route_feed_unreadable", "Records of routes that were none.", lambda: feed.unreadable, is_counter=True),
        Asked("penstock_route_feed_age_seconds", "Time since the bus last answered.", lambda: _age(feed.heard_at), merge=Merge.LARGEST),
        Asked(
            "penstock_keyless_requests",
            "Requests without the key of their route.",
            lambda: chosen.keyless,
            is_counter=True,
        ),
        Asked("penstock_bus_records_sent", "Records sent to the bus.", lambda: sent.sent, is_counter=True),
        Asked("penstock_bus_records_refused", "Records that found the queue full.", lambda: sent.refused, is_counter=True),
        Asked("penstock_bus_failures", "Times the bus was not there.", lambda: sent.failures, is_counter=True),
    )


def _age(heard_at: float) -> float:
    return time.monotonic() - heard_at if heard_at else 0.0


class FallbackMetrics:
    """Requests that a fallback step took, by model and kind; `exhausted` where none could."""

    def __init__(self, chain: FallbackChain) -> None:
        """Keep the chain."""
        self._chain = chain

    def collect(self) -> Iterable[Metric]:
        """Return the family."""
        metric = Metric("penstock_fallback", "Requests that a fallback step took.", "counter")
        for (model, kind), requests in list(self._chain.helped.items()):
            metric.add_sample("penstock_fallback_total", {"model": model, "kind": kind}, requests)
        yield metric
