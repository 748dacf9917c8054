"""The micro-benchmark measures what serves: its waves are answered by the model, not refused."""

from __future__ import annotations

import asyncio

from bench.hot_path import measure


def test_waves_of_every_size_go_through_router_and_worker():
    measured = asyncio.run(measure((1, 100), rounds=1))

    assert set(measured) == {1, 100}
    assert 0 < measured[100] < measured[1]
