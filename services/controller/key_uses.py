"""Decides which uses of keys are worth a write. Pure: callers pass the wall time.

Routers tell the minute in which they last saw a key open something, over and over. Of one key and minute the first word counts, whichever
router says it, so that a key costs one write a minute at most.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

MINUTE_SECONDS = 60.0
WAITING_LIMIT = 10_000
"""Most keys whose use waits to be written; those of more are told again."""
WRITTEN_LIMIT = 100_000
"""Most keys of which it is remembered what was written."""
LONGEST_KEY_ID = 255
"""What the column holds."""


class KeyUses:
    """Uses that are to be written."""

    def __init__(self) -> None:
        """Start without any."""
        self._waiting: dict[str, float] = {}
        self._written: OrderedDict[str, float] = OrderedDict()

    def note(self, key_id: str, used_time: float, now: float) -> bool:
        """Note a use, and return whether that is news; a clock that is ahead changes nothing: a use is never later than `now`."""
        minute = min(used_time, now) // MINUTE_SECONDS * MINUTE_SECONDS
        if not 0 < len(key_id) <= LONGEST_KEY_ID or not minute > max(self._waiting.get(key_id, 0.0), self._written.get(key_id, 0.0)):
            return False
        if key_id not in self._waiting and len(self._waiting) >= WAITING_LIMIT:
            return False
        self._waiting[key_id] = minute
        return True

    def waiting(self, limit: int) -> Mapping[str, float]:
        """Return up to `limit` uses that are to be written, by key."""
        return dict(list(self._waiting.items())[:limit])

    def written(self, uses: Mapping[str, float]) -> None:
        """Note that uses were written."""
        for key_id, minute in uses.items():
            self._written[key_id] = minute
            self._written.move_to_end(key_id)
            if self._waiting.get(key_id) == minute:
                del self._waiting[key_id]
        while len(self._written) > WRITTEN_LIMIT:
            self._written.popitem(last=False)
