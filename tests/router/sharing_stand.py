"""Routers whose cached answers are shared: everything between a front, a Redis of any kind, and a worker."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from penstock.contracts.declared_routes import SHARED_CACHE_PARAMETER
from penstock.contracts.worker_status import ReplicaStatus
from penstock.oip.v2 import model_config_pb2
from services.chassis.clock import SystemClock
from services.router.result_cache import ResultCache
from services.router.shared_answers import Question, SharedAnswers
from services.router.shared_tier import Redis, SharedTier, TierCounters, TierLimits
from tests.mesh.conftest import FakeWorker, replica
from tests.router.inference_stand import Stand, standing

SECONDS = 30.0


def sharing(version: str = "1", digest: str = "d1") -> ReplicaStatus:
    """Return a version whose answers are shared."""
    config = model_config_pb2.ModelConfig()
    config.parameters[SHARED_CACHE_PARAMETER].string_value = "true"
    held = replica(version=version)
    return dataclasses.replace(held, response_cache=True, digest=digest, model_config=config.SerializeToString())


@asynccontextmanager
async def router(redis: Redis, worker: FakeWorker, held: ReplicaStatus) -> AsyncIterator[Stand]:
    """Run a router whose tier is open."""
    answers = SharedAnswers(ResultCache(), clock=time.monotonic)
    answers.tier = tier = SharedTier[Question](redis, answers.settle, TierLimits(), SystemClock())
    task = asyncio.create_task(tier.run())
    try:
        async with standing([worker], [worker.status(held)], shared=answers) as stand:
            tier.keep(b"before anything", b"", 1.0)
            await until(lambda: tier.counters.kept + tier.counters.dropped == 1)
            yield stand
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def counted(stand: Stand) -> TierCounters:
    """Return what the stand's tier counted."""
    assert stand.shared.tier is not None
    return stand.shared.tier.counters


def executed(worker: FakeWorker) -> int:
    """Return how many requests reached a worker."""
    return sum(chunk.count for chunk in worker.chunks)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for something to become true."""
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.001)
