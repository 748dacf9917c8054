"""The catalogue of topics: what each carries, by which key, and how it is kept.

A compacted topic holds the newest value of every key and is read from its beginning by whoever starts; a topic of events is read from
where its reader left off. Desired state has one partition, so that its order is the order of the outbox.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic; `retention_seconds` is 0 for compacted topics, which keep the newest value of every key."""

    name: str
    message: str
    key: str
    partitions: int = 1
    retention_seconds: int = 0
    largest_message_bytes: int = 1 << 20

    @property
    def is_compacted(self) -> bool:
        """Whether the newest value of every key is kept for ever."""
        return self.retention_seconds == 0

    @property
    def settings(self) -> Mapping[str, str]:
        """Kafka's settings of the topic."""
        shared = {"max.message.bytes": str(self.largest_message_bytes), "min.insync.replicas": "1"}
        if self.is_compacted:
            # Deletions stay readable for a day, so that a reader that was away learns of them; its snapshot on disk is younger than that.
            kept = {"cleanup.policy": "compact", "delete.retention.ms": str(DAY_SECONDS * 1000), "segment.ms": "3600000"}
            # The broker's clock says when a record came, not its sender's: signed records expire by it.
            return shared | kept | {"message.timestamp.type": "LogAppendTime"}
        return shared | {"cleanup.policy": "delete", "retention.ms": str(self.retention_seconds * 1000)}


ROUTES = Topic(name="penstock.routes.v1", message="penstock.v1.RouteRecord", key="model")
ASSIGNMENTS = Topic(name="penstock.assignments.v1", message="penstock.v1.Assignment", key="worker id")
TENANTS = Topic(name="penstock.tenants.v1", message="penstock.v1.Tenant", key="tenant")
WORKERS = Topic(name="penstock.workers.v1", message="penstock.v1.WorkerStatus", key="worker id", largest_message_bytes=8 << 20)
ROUTERS = Topic(name="penstock.routers.v1", message="penstock.v1.RouterStatus", key="router id")
OUTCOMES = Topic(
    name="penstock.outcomes.v1", message="penstock.v1.OutcomeWindow", key="model", partitions=4, retention_seconds=7 * DAY_SECONDS
)
EXPOSURES = Topic(
    name="penstock.exposures.v1",
    message="penstock.v1.ExposureBatch",
    key="router instance",
    partitions=4,
    retention_seconds=7 * DAY_SECONDS,
)

TOPICS = (ROUTES, ASSIGNMENTS, TENANTS, WORKERS, ROUTERS, OUTCOMES, EXPOSURES)
"""Every topic of the mesh."""
