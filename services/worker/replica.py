"""One version on this worker: where it is in its life, and what it holds there."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.contracts.errors import ServingError
from penstock.contracts.model_config import CompletedModel, to_proto
from penstock.contracts.names import ModelVersion
from penstock.contracts.worker_status import CostPoint, ReplicaStatus
from services.worker.artefacts import Artefact
from services.worker.batcher import Batcher
from services.worker.instance import InstanceHooks
from services.worker.reconciliation import Held, Offer
from services.worker.replica_state import ReplicaEvent, ReplicaLife
from services.worker.soundness import REASON


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What is known about a version once it has been loaded and measured."""

    completed: CompletedModel
    provider: str
    memory_bytes: int
    costs: tuple[CostPoint, ...]
    model_config: bytes
    """The completed configuration in Triton's protobuf."""

    @classmethod
    def of(cls, completed: CompletedModel, *, provider: str, memory_bytes: int, costs: tuple[CostPoint, ...]) -> Loaded:
        """Add the wire form of the configuration."""
        wire = to_proto(completed.config).SerializeToString(deterministic=True)
        return cls(completed=completed, provider=provider, memory_bytes=memory_bytes, costs=costs, model_config=wire)


@dataclass(slots=True, kw_only=True, eq=False)
class Replica:
    """A replica; changed by the event loop only."""

    replica_id: int
    offer: Offer
    life: ReplicaLife
    digest: str = ""
    failure: ServingError | None = None
    given_up: bool = False
    """It killed this worker again and again, and is not tried any more."""
    is_passing: bool = False
    """What it failed for passes: it will be tried again."""
    lacks_memory: bool = False
    """Its load waits for others to leave."""
    loaded: Loaded | None = None
    files: Artefact | None = None
    """Its files on this disk, from when they have been fetched."""
    batcher: Batcher | None = None
    """Present from READY to UNLOADED."""
    hooks: tuple[InstanceHooks, ...] = ()
    """What records its executions in the black box."""

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.offer.artefact.model

    @property
    def version(self) -> str:
        """Name of the version."""
        return self.offer.artefact.version

    @property
    def model_version(self) -> ModelVersion:
        """Both names."""
        return ModelVersion(model=self.model, version=self.version)

    @property
    def held(self) -> Held:
        """What planning needs to know."""
        return Held(
            replica_id=self.replica_id,
            offer=self.offer,
            state=self.life.state,
            is_passing=self.is_passing,
            lacks_memory=self.lacks_memory,
        )

    def step(self, event: ReplicaEvent, *, now_time: float, reason: str = "") -> None:
        """Go one step on.

        Raises:
            InvalidTransition: the life has no such step.
        """
        self.life = self.life.after(event, now=now_time, reason=reason)

    def to_status(self) -> ReplicaStatus:
        """Return what routers are told."""
        is_unhealthy = self.batcher is not None and not self.batcher.is_healthy
        status = ReplicaStatus(
            replica_id=self.replica_id,
            model=self.model,
            version=self.version,
            state=self.life.state,
            # Before its files have been read, the digest that they will have says which assignment this is.
            digest=self.digest or self.offer.expected_digest,
            reason=REASON if is_unhealthy else self.life.reason,
            changed_time=self.life.changed_time,
            files_digest=self.offer.artefact.manifest_digest,
            given_up=self.given_up,
            unhealthy=is_unhealthy,
        )
        return status if self.loaded is None else _with_loaded(status, self.loaded)


def _with_loaded(status: ReplicaStatus, loaded: Loaded) -> ReplicaStatus:
    config = loaded.completed.config
    return ReplicaStatus(
        replica_id=status.replica_id,
        model=status.model,
        version=status.version,
        state=status.state,
        digest=status.digest,
        reason=status.reason,
        changed_time=status.changed_time,
        files_digest=status.files_digest,
        unhealthy=status.unhealthy,
        signature=loaded.completed.signature,
        model_config=loaded.model_config,
        memory_bytes=loaded.memory_bytes,
        costs=loaded.costs,
        provider=loaded.provider,
        response_cache=config.response_cache.enable,
        response_cache_ttl_seconds=config.response_cache.ttl_seconds or 0.0,
        reject_non_finite=config.reject_non_finite,
        priority_levels=config.batching.priority_levels if config.batching else 0,
    )
