"""Pings keep a link's clock."""

from __future__ import annotations

import asyncio
import time

from tests.mesh.conftest import FakeWorker
from tests.mesh.ledger import dispatching


async def test_every_ping_tells_the_routers_clock(workers: list[FakeWorker]):
    begun = time.monotonic()
    async with dispatching(workers), asyncio.timeout(30):
        while len(workers[0].clocks) < 3:
            workers[0].pinged.clear()
            await workers[0].pinged.wait()

    first, second, third = workers[0].clocks[:3]
    assert begun - 0.001 <= first < second < third <= time.monotonic()
