"""No call may take longer than a minute, whatever its caller allows: what is later is brought forward, for one call and for a crowd."""

from __future__ import annotations

import struct
import time

import pytest

from services.router.front import NO_DEADLINE
from services.router.intake import LONGEST_DEADLINE_SECONDS
from tests.mesh.conftest import FakeWorker
from tests.router.inference_stand import request, standing

YEARS = 10 * 365 * 86_400.0


@pytest.mark.parametrize("calls", [1, 40], ids=["one", "many alike"])
@pytest.mark.parametrize("deadline", [NO_DEADLINE, YEARS], ids=["none", "in ten years"])
async def test_c5_a_deadline_beyond_the_limit_becomes_the_limit(worker: FakeWorker, calls: int, deadline: float):
    async with standing([worker]) as stand:
        # What is asked in the same form again is understood together.
        for turn in range(2):
            stand.take(*[request([[1, 2]]) for _ in range(calls)], first_id=1 + turn * calls, deadline=time.monotonic() + deadline)
            await stand.front.until((turn + 1) * calls)
        ended_at = time.monotonic()

    told = [microseconds for chunk in worker.chunks for (microseconds,) in struct.iter_unpack("<Q", chunk.deadlines)]
    assert len(told) == 2 * calls
    assert max(told) / 1e6 <= ended_at + LONGEST_DEADLINE_SECONDS
    assert min(told) / 1e6 > ended_at


async def test_c5_a_timeout_of_eleven_days_is_a_minute(worker: FakeWorker):
    asked = request([[1, 2]])
    asked.parameters["timeout"].int64_param = 10**12
    async with standing([worker]) as stand:
        stand.take(asked)
        await stand.front.until(1)
        ended_at = time.monotonic()

    assert not stand.front.errors
    assert struct.unpack("<Q", worker.chunks[0].deadlines)[0] / 1e6 <= ended_at + LONGEST_DEADLINE_SECONDS
