"""Metrics of the tenants that come by the bus."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from services.chassis.metrics import Asked, Collected, Merge
from services.router.tenants_in_force import TenantsInForce

if TYPE_CHECKING:
    from services.chassis.kafka_feed import FeedCounters


def tenant_metrics(in_force: TenantsInForce, feed: FeedCounters) -> tuple[Collected, ...]:
    """Return the collectors."""
    return (
        Asked("penstock_tenants", "Tenants in force.", in_force.count, merge=Merge.LARGEST),
        Asked("penstock_tenants_applied", "Changes of tenants applied.", lambda: in_force.applied, is_counter=True),
        Asked(
            "penstock_tenants_unreadable",
            "Records of tenants that were none, or had settings that could not be read.",
            lambda: feed.unreadable + in_force.unreadable,
            is_counter=True,
        ),
        Asked(
            "penstock_tenant_feed_age_seconds",
            "Time since the bus last answered about tenants.",
            lambda: time.monotonic() - feed.heard_at if feed.heard_at else 0.0,
            merge=Merge.LARGEST,
        ),
    )
