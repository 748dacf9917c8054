"""What callers are told when a chunk cannot be placed."""

from __future__ import annotations

from penstock.contracts.errors import NoReadyReplica, ReplicaOverloaded
from services.mesh.route_table import Deployment


def nobody(deployment: Deployment) -> NoReadyReplica:
    """Return what is said when no replica can be reached."""
    return NoReadyReplica(f"no worker that holds {deployment.model}@{deployment.version} can be reached", retry_after_seconds=1.0)


def no_room(deployment: Deployment) -> ReplicaOverloaded:
    """Return what is said when all replicas are full."""
    return ReplicaOverloaded(f"all replicas of {deployment.model}@{deployment.version} are full", retry_after_seconds=0.1)
