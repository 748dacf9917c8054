"""Remembers in which minute keys were used, and tells it some at a time. Pure: callers pass the wall time."""

from __future__ import annotations

from collections import OrderedDict

from penstock.contracts.router_status import TOLD_KEYS, KeyUse

MINUTE_SECONDS = 60.0
TOLD_SECONDS = 300.0
"""How long a use is told: longer than it takes until all that are remembered had their turn."""
USES_LIMIT = 10_000
"""Most keys whose use is remembered; beyond it, that of one whose turn would have come is left out until the key is used again."""


def minute_of(wall_seconds: float) -> float:
    """Return when the minute began, in seconds since the Unix epoch."""
    return wall_seconds // MINUTE_SECONDS * MINUTE_SECONDS


class KeyUses:
    """Uses of keys that are to be told."""

    def __init__(self) -> None:
        """Start without any."""
        self._minutes: OrderedDict[str, float] = OrderedDict()

    def note(self, key_id: str, now: float) -> None:
        """Note that a key opened something at `now`, in seconds since the Unix epoch."""
        self._minutes[key_id] = minute_of(now)
        if len(self._minutes) > USES_LIMIT:
            self._minutes.popitem(last=False)

    def told(self, now: float) -> tuple[KeyUse, ...]:
        """Return those whose turn it is; what was told long enough is forgotten."""
        turn: list[KeyUse] = []
        for _ in range(min(len(self._minutes), TOLD_KEYS)):
            key_id, used_time = self._minutes.popitem(last=False)
            if now - used_time < TOLD_SECONDS:
                self._minutes[key_id] = used_time
                turn.append(KeyUse(key_id=key_id, used_time=used_time))
        return tuple(turn)
