"""What callers are told when a chunk cannot be placed."""

from __future__ import annotations

from penstock.contracts.errors import NoReadyReplica, ReplicaOverloaded
from services.mesh.deployment import Deployment


def nobody(deployment: Deployment) -> NoReadyReplica:
    """Return what is said when no replica can be reached."""
    return NoReadyReplica(f"no worker that holds {deployment.model}@{deployment.version} can be reached", retry_after_seconds=1.0)


def no_room(deployment: Deployment) -> ReplicaOverloaded:
    """Return what is said when all replicas are full."""
    return ReplicaOverloaded(f"all replicas of {deployment.model}@{deployment.version} are full", retry_after_seconds=0.1)


def not_known_yet(model: str) -> NoReadyReplica:
    """Return the refusal of a model that nobody has spoken of while no worker has yet said all that it holds."""
    return NoReadyReplica(
        f"whether there is a model {model!r} is not known yet: every worker is only starting",
        reason="MODEL_LOADING",
        retry_after_seconds=0.5,
    )
