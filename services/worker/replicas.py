"""Every replica of this worker, by its number."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from penstock.contracts.errors import MemoryBudgetExceeded
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus
from services.worker.batcher import Batcher
from services.worker.reconciliation import Held, Offer
from services.worker.replica import Replica
from services.worker.replica_state import ReplicaEvent, ReplicaLife


class Replicas:
    """The table of replicas; used on the event loop only. Numbers are never used again."""

    def __init__(self) -> None:
        self._by_id: dict[int, Replica] = {}
        self._next_id = 1

    def __iter__(self) -> Iterator[Replica]:
        """Iterate over a snapshot, oldest first."""
        return iter(tuple(self._by_id.values()))

    def __getitem__(self, replica_id: int) -> Replica:
        """Return a replica that is known to be there."""
        return self._by_id[replica_id]

    def add(self, offer: Offer) -> Replica:
        """Add a replica that is about to load."""
        replica = Replica(replica_id=self._next_id, offer=offer, digest=offer.expected_digest, life=ReplicaLife(changed_time=time.time()))
        self._next_id += 1
        self._by_id[replica.replica_id] = replica
        return replica

    def add_ended(self, offer: Offer, event: ReplicaEvent, reason: str) -> Replica:
        """Add a replica that ends without having begun, so that its reason is reported."""
        replica = self.add(offer)
        replica.step(event, now_time=time.time(), reason=reason)
        return replica

    def forget(self, replica_id: int) -> None:
        """Remove a replica that has ended."""
        self._by_id.pop(replica_id, None)

    def batcher(self, replica_id: int) -> Batcher | None:
        """Return who takes requests for a replica; None when it is not there, or not yet, or no longer."""
        replica = self._by_id.get(replica_id)
        return None if replica is None else replica.batcher

    def models(self) -> set[str]:
        """Return the names of all models."""
        return {replica.model for replica in self._by_id.values()}

    def of(self, model: str) -> list[Replica]:
        """Return the replicas of a model, oldest first."""
        return [replica for replica in self._by_id.values() if replica.model == model]

    def held(self, model: str) -> list[Held]:
        """Return what planning needs to know of a model's replicas."""
        return [replica.held for replica in self.of(model)]

    def has_version(self, model: str, version: str) -> bool:
        """Say whether any replica of a version still holds a batcher."""
        return any(replica.version == version and replica.batcher is not None for replica in self.of(model))

    def ready_twin(self, replica: Replica) -> Replica | None:
        """Return a ready replica of the same version and digest."""
        for other in self.of(replica.model):
            if other.life.state is ReplicaState.READY and other.version == replica.version and other.digest == replica.digest:
                return other
        return None

    def forgive_memory(self) -> None:
        """Forget the replicas that failed for want of memory, so that they are tried again."""
        for replica in self:
            if isinstance(replica.failure, MemoryBudgetExceeded):
                self.forget(replica.replica_id)

    def statuses(self) -> Iterable[ReplicaStatus]:
        """Return what routers are told."""
        return tuple(replica.to_status() for replica in self)
