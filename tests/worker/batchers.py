"""Batchers and a sink to wait on, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic

from penstock.contracts.worker_status import CostPoint
from services.worker.batch_policy import BatchPolicy
from services.worker.batcher import Batcher, BatcherConfig, BatcherPorts
from services.worker.cost_model import CostModel
from services.worker.execution import ExecutionRules
from tests.worker.works import FakeSession, RecordingSink, signature, work

CHEAP = (CostPoint(rows=1, seconds=1e-6),)


DEAR = (CostPoint(rows=1, seconds=0.001),)


class WaitingSink(RecordingSink):
    """Lets a test wait for reports."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = asyncio.Event()
        self.on_report = self._changed.set

    async def reported(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.reports) < count:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def batcher_of(*sessions, costs=CHEAP, rules=None, policy=None, inline_seconds=0.0002, **ports) -> AsyncIterator[Batcher]:
    rules, policy = rules or ExecutionRules(signature=signature()), policy or BatchPolicy(max_batch_size=8)
    config = BatcherConfig(model="m", version="1", policy=policy, rules=rules, inline_seconds=inline_seconds)
    batcher = Batcher(config, sessions, CostModel(costs), BatcherPorts(**ports))
    batcher.start()
    try:
        yield batcher
    finally:
        for session in sessions:
            if isinstance(session, FakeSession):
                session.release.set()
        await batcher.close()


def now_work(chunk_id: int, *args, **rest):
    return work(chunk_id, *args, at=monotonic(), **rest)
