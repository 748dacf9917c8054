"""How this process's C library keeps memory that was freed.

Left alone, glibc gives every block at the end of its heap back to the system as soon as 128 KiB are free there, and maps larger blocks
by themselves: a tensor of some hundred kilobytes then comes with a page fault for every 4 KiB, at each of its copies. That was half of
what a router spent on an image of 602 KB. So freed memory is kept here, and what is still free after a while goes back.
"""

from __future__ import annotations

import asyncio
import ctypes
from contextlib import suppress

KEPT_BYTES = 64 << 20
"""Free memory at the end of a heap above which it goes back to the system at once."""
MAPPED_BYTES = 32 << 20
"""Smallest block that is mapped by itself; the most that glibc allows."""
LOOK_SECONDS = 2.0
WORTH_BYTES = 2 << 20
"""So much more must be free than after the last look; giving back takes about a millisecond for 10 MiB."""

# Of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


class _MallocCounts(ctypes.Structure):
    """`struct mallinfo2`."""

    _fields_ = (
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks")),
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    )


def keep_freed_memory(*, mapped_bytes: int = MAPPED_BYTES) -> None:
    """Let blocks below `mapped_bytes` come from memory that was used before; larger ones go back to the system when they are freed."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, mapped_bytes)
        library.mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)


async def give_back_unused(*, look_seconds: float = LOOK_SECONDS) -> None:
    """Return free memory to the system every now and then, for as long as this runs; a process under load uses it again at once."""
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallinfo2.restype = _MallocCounts
        free_bytes = library.mallinfo2().fordblks
        while True:
            await asyncio.sleep(look_seconds)
            if library.mallinfo2().fordblks > free_bytes + WORTH_BYTES:
                await asyncio.to_thread(library.malloc_trim, 0)
            free_bytes = min(free_bytes, library.mallinfo2().fordblks)
    await asyncio.Event().wait()
