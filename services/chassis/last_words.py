"""What a dead process was busy with. Pure: `blackbox` writes and reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from zlib import crc32

from penstock.contracts.names import ModelVersion


class Phase(IntEnum):
    """What happens in a slot."""

    IDLE = 0
    LOADING = 1
    WARMING = 2
    RUNNING = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A version that a process was busy with when it died."""

    version: ModelVersion
    phase: Phase
    met: int
    """Grows with the order in which the process met its versions; the highest is the newest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Casualties:
    """Chunks that a process was executing when it crashed."""

    marks: frozenset[int]
    is_complete: bool = True
    """Whether these are all."""

    def has(self, mark: int) -> bool:
        """Say whether a chunk may have been among them."""
        return mark in self.marks or not self.is_complete


def mark_of(sender: int, chunk_id: int) -> int:
    """Return what names a chunk in a black box; never 0."""
    return sender << 32 | chunk_id & 0xFFFFFFFF


def sender_of(router_instance_id: str) -> int:
    """Return what tells a router's chunks from those of another one, whose chunks have the same numbers."""
    return crc32(router_instance_id[:64].encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWords:
    """What a black box says."""

    suspects: tuple[Suspect, ...] = ()
    """Versions in a slot, each once, the newest last."""
    verdict: ModelVersion | None = None
    """The version for which the process ended itself."""
    reason: str = ""
    """Why it did."""
