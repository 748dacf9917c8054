"""Batch queues and views of their batches, for tests."""

from __future__ import annotations

from services.worker.batch_policy import BatchPolicy
from services.worker.batching import BatchQueue
from services.worker.work import Batch, PriorityClass

ONLINE, STREAM, BULK = PriorityClass.ONLINE, PriorityClass.STREAM, PriorityClass.BULK


def queue_of(max_batch_size: int = 8, cost=None, **policy) -> BatchQueue:
    settings = BatchPolicy(max_batch_size=max_batch_size, **policy)
    return BatchQueue(settings) if cost is None else BatchQueue(settings, cost)


def ids(batch: Batch | None) -> list[tuple[int, int]]:
    return [] if batch is None else [(part.work.chunk_id, position) for part in batch.parts for position in part.positions]


def chunks(batch: Batch | None) -> list[int]:
    return [] if batch is None else [part.work.chunk_id for part in batch.parts]


def tenants_of(batch: Batch) -> list[int]:
    return [part.work.tenants[at] if part.work.tenants else part.work.tenant for part in batch.parts for at in part.positions]
