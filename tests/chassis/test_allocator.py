"""Memory that was freed is kept for a while, and then given back."""

from __future__ import annotations

import subprocess
import sys

CHILD = """
import asyncio, os
from services.chassis.allocator import give_back_unused, keep_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

async def main():
    keep_freed_memory()
    before = resident()
    looking = asyncio.create_task(give_back_unused(look_seconds=0.05))
    await asyncio.sleep(0.1)
    blocks = [b"x" * 600_000 for _ in range(50)]
    del blocks
    print(resident() - before)
    for _ in range(600):
        await asyncio.sleep(0.05)
        if resident() - before < 8_000_000:
            break
    print(resident() - before)
    looking.cancel()

asyncio.run(main())
"""


def test_freed_tensors_are_kept_and_given_back_when_nobody_uses_them_again():
    told = subprocess.run([sys.executable, "-c", CHILD], check=True, capture_output=True, text=True, timeout=60).stdout.split()

    kept, left = map(int, told)
    assert kept > 20_000_000
    assert left < 8_000_000
