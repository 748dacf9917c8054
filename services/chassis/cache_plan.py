"""Pure: decides what a cache gives up for something new."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

BLOCK_BYTES = 4096
"""What a file occupies on disk is counted in whole blocks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """One version on disk."""

    digest: str
    occupied_bytes: int
    used_ns: int
    """When it was last asked for, in nanoseconds of the wall clock; only the order counts."""


def occupied_bytes(sizes: Iterable[int]) -> int:
    """Return what files of these sizes take of a disk, one block for each file's place in its folder."""
    return sum((size + BLOCK_BYTES - 1) // BLOCK_BYTES * BLOCK_BYTES + BLOCK_BYTES for size in sizes)


def to_evict(cached: Iterable[Cached], protected: Collection[str], excess_bytes: int) -> tuple[str, ...] | None:
    """Return what has to go, least recently used first, so that `excess_bytes` are freed; None when that cannot be.

    What is protected never goes. Nothing goes when it would not be enough.
    """
    chosen: list[str] = []
    for one in sorted(cached, key=lambda one: (one.used_ns, one.digest)):
        if excess_bytes <= 0:
            break
        if one.digest not in protected:
            chosen.append(one.digest)
            excess_bytes -= one.occupied_bytes
    return tuple(chosen) if excess_bytes <= 0 else None
