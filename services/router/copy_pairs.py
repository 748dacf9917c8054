"""One request and its copy, until both have ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.mesh.chunk import Answered
from services.mesh.route_table import Deployment
from services.router.exposing import Seen


@dataclass(slots=True, eq=False)
class Copy:
    """One request's copy on its way, and what its caller was told meanwhile."""

    deployment: Deployment
    against: Deployment
    sent_at: float
    outputs: Sequence[int]
    revision: int
    seen: Seen
    """What the shadow sees of it."""
    caller: tuple[Answered, int] | None = None
    caller_seconds: float = 0.0
    has_caller_failed: bool = False
    shadow: tuple[Answered, int] | None = None
    shadow_seconds: float = 0.0
    error: str = ""

    @property
    def is_over(self) -> bool:
        """Whether both sides have ended."""
        return (self.caller is not None or self.has_caller_failed) and (self.shadow is not None or bool(self.error))
