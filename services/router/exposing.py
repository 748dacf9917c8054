"""Exposures that wait to be sent: who saw which version, and why.

Their number is bounded; what finds them full is counted and left out, because observing must never slow what it observes.
"""

from __future__ import annotations

import hashlib
from collections import deque
from typing import NamedTuple

from penstock.contracts.observations import AnswerSource, Exposure
from services.mesh.plan import Plan, Reason
from services.router.choosing import Unit

EXPOSURES_LIMIT = 20_000
"""Exposures that wait to be sent."""
_ID_TAG = b"\x1a"


class Seen(NamedTuple):
    """What somebody saw, as the inference path knows it: nothing is computed before it is folded."""

    plan: Plan
    version: str
    tenant: str
    unit: Unit
    id_field: bytes
    source: AnswerSource


class Exposures:
    """The exposures of one router."""

    def __init__(self) -> None:
        """Start without exposures."""
        self.waiting: deque[Exposure] = deque()
        self.dropped = 0
        """Exposures left out since the start."""
        self._told = 0

    def lose(self, count: int) -> None:
        """Count exposures that were left out, or that nobody took."""
        self.dropped += count

    def untold(self) -> int:
        """Return how many were left out since this was last asked."""
        dropped, self._told = self.dropped - self._told, self.dropped
        return dropped

    def add(self, seen: Seen, wall_seconds: float) -> None:
        """Keep one until it is sent."""
        if len(self.waiting) >= EXPOSURES_LIMIT:
            self.dropped += 1
            return
        route, is_copy = seen.plan.route, seen.unit.reason is Reason.SHADOW
        shadow = route.shadow if is_copy else None
        self.waiting.append(
            Exposure(
                time=wall_seconds,
                model=route.model,
                version=seen.version,
                tenant=seen.tenant,
                unit=_hashed(route.routing_key.salt or route.model, seen.unit.key),
                reason=int(seen.unit.reason),
                route_revision=route.revision,
                request_id=_request_id(seen.id_field),
                source=int(seen.source),
                sample_basis_points=0 if shadow is None else shadow.sample_basis_points,
            )
        )


def _hashed(salt: str, key: bytes) -> bytes:
    return hashlib.sha256(salt.encode() + key).digest()[:16] if key else b""


def _request_id(id_field: bytes) -> str:
    """Return the id that stands in a field of an answer: tag, length (two bytes from 128 on), text; a graph's steps are told behind it."""
    if not id_field.startswith(_ID_TAG):
        return ""
    start, length = (2, id_field[1]) if id_field[1] < 128 else (3, id_field[1] & 0x7F | id_field[2] << 7)
    return id_field[start : start + length].decode(errors="replace")
