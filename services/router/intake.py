"""One wave while it is taken in: what has been opened, what is full, what is refused."""

from __future__ import annotations

from penstock.contracts.errors import ServingError
from services.mesh.chunk import Chunk
from services.router.calls import Calls
from services.router.front import Front, Wave
from services.router.templates import Learnt


class Intake:
    """One wave while it is taken in."""

    __slots__ = ("cut", "errors", "front", "now", "opened", "refused", "wave")

    def __init__(self, front: Front, wave: Wave, now: float) -> None:
        """Start with nothing opened."""
        self.front = front
        self.wave = wave
        self.now = now
        self.opened: dict[tuple[Learnt, int], tuple[Chunk, Calls]] = {}
        self.cut: list[Chunk] = []
        """Chunks that are full."""
        self.refused: list[int] = []
        self.errors: list[ServingError] = []
