"""The resident memory of this process."""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from pathlib import Path

from services.chassis.allocator import keep_freed_memory

LARGE_BLOCK_BYTES = 8 << 20
"""Smallest block that is mapped by itself."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


def resident_bytes() -> int:
    """Return the memory of this process that is in RAM; 0 where /proc is missing."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def settled_resident_bytes() -> int:
    """Return the memory that is really in use: what the C library only keeps for later is given back first."""
    give_back()
    return resident_bytes()


def keep_large_blocks_apart() -> None:
    """Make the C library map every large block by itself, so that the weights of an unloaded model go back to the system.

    Left alone, glibc raises its threshold to the largest block ever freed (up to 32 MiB) and keeps later ones among small ones: after
    twelve swaps of a 16 MiB model 16 to 32 MiB stayed resident, with a fixed threshold none. Requests are smaller than that, and what
    they free is kept until `give_back`: their tensors come and go.
    """
    keep_freed_memory(mapped_bytes=LARGE_BLOCK_BYTES)


def give_back() -> None:
    """Collect what is unreachable and return free memory to the system, where the C library can; takes some milliseconds."""
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
