"""What serves one version: its replicas on the workers, and what they say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from penstock.contracts.declared_graphs import declared_graph
from penstock.contracts.declared_routes import declared_aliases, declared_backends, declared_default_level, declares_shared_cache
from penstock.contracts.graphs import Graph
from penstock.contracts.routes import Backend
from penstock.contracts.signature import Signature
from penstock.contracts.worker_status import ReplicaStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaRef:
    """A replica on a worker instance."""

    instance_id: str
    replica_id: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deployment:
    """One version and the replicas that are ready to serve it."""

    model: str
    version: str
    digest: str
    signature: Signature
    model_config: bytes
    replicas: tuple[ReplicaRef, ...]
    response_cache: bool = False
    response_cache_ttl_seconds: float = 0.0
    response_cache_shared: bool = False
    """Whether all routers may have its cached answers."""
    priority_levels: int = 0
    default_priority_level: int = 0
    """Of requests that name none."""
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    shares: tuple[Backend, ...] = ()
    is_unhealthy: bool = False
    """Whether all of its replicas break their signature, so that another version is the better choice."""
    graph: Graph | None = None
    """Present for versions that are made of versions: no worker executes them."""

    def is_same(self, other: Deployment) -> bool:
        """Whether nothing that others derive from it differs, the replicas aside."""
        return (
            self.digest == other.digest
            and self.model_config == other.model_config
            and self.signature == other.signature
            and self.response_cache == other.response_cache
        )

    def is_equal(self, other: Deployment) -> bool:
        """Whether nothing differs."""
        return self.is_same(other) and self.replicas == other.replicas and self.is_unhealthy == other.is_unhealthy


def soundest(versions: Sequence[str], ready: Mapping[str, Deployment]) -> Sequence[str]:
    """Pure: return the versions that are not unhealthy, or all where none is better than the others."""
    return [version for version in versions if not ready[version].is_unhealthy] or versions


def deployment_of(ready: Sequence[tuple[str, ReplicaStatus]]) -> Deployment | None:
    """Pure: build the deployment of one version from its ready replicas, by instance; None without any.

    Where digests differ, the newest files win and older replicas get nothing new. Where the files are the same and only their
    configuration is rolled through the fleet, all of them serve: the first one that has changed would else get the work of all.
    Unhealthy replicas serve where there are no others: what they all share is no reason to answer nothing.
    """
    if not ready:
        return None
    ready, is_unhealthy = [one for one in ready if not one[1].unhealthy] or ready, all(replica.unhealthy for _, replica in ready)
    newest = max((replica for _, replica in ready), key=lambda replica: replica.changed_time)
    return Deployment(
        model=newest.model,
        version=newest.version,
        digest=newest.digest,
        signature=newest.signature,
        model_config=newest.model_config,
        replicas=tuple(
            ReplicaRef(instance_id=instance_id, replica_id=replica.replica_id)
            for instance_id, replica in ready
            if _serves_beside(replica, newest)
        ),
        response_cache=newest.response_cache,
        response_cache_ttl_seconds=newest.response_cache_ttl_seconds,
        response_cache_shared=newest.response_cache and declares_shared_cache(newest.model_config),
        priority_levels=newest.priority_levels,
        default_priority_level=declared_default_level(newest.model_config),
        aliases=declared_aliases(newest.model_config),
        shares=declared_backends(newest.model_config),
        graph=declared_graph(newest.model_config),
        is_unhealthy=is_unhealthy,
    )


def _serves_beside(replica: ReplicaStatus, newest: ReplicaStatus) -> bool:
    if replica.digest == newest.digest:
        return replica.model_config == newest.model_config
    same_files = bool(newest.files_digest) and replica.files_digest == newest.files_digest
    return same_files and _face(replica) == _face(newest)


def _face(replica: ReplicaStatus) -> tuple[object, ...]:
    """Return what a router checks and answers in the name of a replica."""
    return replica.signature, replica.priority_levels, replica.response_cache, replica.reject_non_finite
