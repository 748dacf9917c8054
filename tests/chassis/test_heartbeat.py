"""Signs of life in a file."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from services.chassis.heartbeat import beating, read_beat


async def grown(path: Path, count: int) -> None:
    async with asyncio.timeout(30):
        while (beat := read_beat(path)) is None or beat.count <= count:
            await asyncio.sleep(0.005)


async def test_the_count_grows_while_the_loop_turns_and_stands_still_while_it_does_not(tmp_path: Path):
    path = tmp_path / "heartbeats" / "worker-0"
    with beating(path, period_seconds=0.01):
        await grown(path, 3)
        before = read_beat(path)
        time.sleep(0.1)  # noqa: ASYNC251 - the loop is to stand still
        after = read_beat(path)

        assert before == after
        assert before is not None
        assert before.process_id == os.getpid()
        await grown(path, before.count)


async def test_the_file_goes_with_the_block_and_a_former_one_is_replaced(tmp_path: Path):
    path = tmp_path / "worker-0"
    path.write_bytes(b"half a rec")
    assert read_beat(path) is None

    with beating(path):
        assert read_beat(path) is not None

    assert not path.exists()
    assert read_beat(path) is None
