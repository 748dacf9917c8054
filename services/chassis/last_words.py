"""What a dead process was busy with. Pure: `blackbox` writes and reads it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

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
class LastWords:
    """What a black box says."""

    suspects: tuple[Suspect, ...] = ()
    """Versions in a slot, each once, the newest last."""
    verdict: ModelVersion | None = None
    """The version for which the process ended itself."""
    reason: str = ""
    """Why it did."""
