"""Finds the version that kills workers. Pure: the caller passes `now` and what the dead process was busy with.

A version that was being loaded or run in `limit` crashes within `window_seconds` is given up, so that the server is not. Several
versions may be in execution when one of them kills the process, so guilt is shared: each crash counts 1 ÷ (versions in execution) for
each of them, and of those over the limit only the one with most guilt is given up; on a tie the one that was being loaded or warmed,
then the newest. A version that dies alone even once therefore outweighs a busy neighbour that is merely always there; if the wrong one
was chosen, the crashes go on and the next one follows.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from penstock.contracts.names import ModelVersion
from services.chassis.last_words import LastWords, Phase, Suspect

CRASHES = 3
WINDOW_SECONDS = 60.0

_DOING = {Phase.LOADING: "loaded", Phase.WARMING: "warmed up", Phase.RUNNING: "executed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Crash:
    """A death that a version may have caused."""

    words: LastWords
    """What the process was busy with."""
    cause: str
    """How it ended, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenUp:
    """A version that is not to be loaded any more."""

    version: ModelVersion
    reason: str


@dataclass(frozen=True, slots=True)
class _Charge:
    at: float
    suspect: Suspect
    guilt: float


class CrashLedger:
    """Remembers the crashes of all workers."""

    def __init__(self, *, limit: int = CRASHES, window_seconds: float = WINDOW_SECONDS) -> None:
        """Store the limits."""
        self._limit = limit
        self._window_seconds = window_seconds
        self._charges: deque[_Charge] = deque()

    def record(self, crash: Crash, now: float) -> GivenUp | None:
        """Count a crash and return the version for which it is one too many."""
        while self._charges and self._charges[0].at <= now - self._window_seconds:
            self._charges.popleft()
        suspects = _suspects(crash.words)
        self._charges.extend(_Charge(now, suspect, 1 / len(suspects)) for suspect in suspects)
        over = [suspect for suspect in suspects if len(self._of(suspect.version)) >= self._limit]
        return self._give_up(max(over, key=self._weight), crash.cause) if over else None

    def _weight(self, suspect: Suspect) -> tuple[float, bool, int]:
        guilt = sum(charge.guilt for charge in self._of(suspect.version))
        return round(guilt, 6), suspect.phase is not Phase.RUNNING, suspect.met

    def _of(self, version: ModelVersion) -> list[_Charge]:
        return [charge for charge in self._charges if charge.suspect.version == version]

    def _give_up(self, guilty: Suspect, cause: str) -> GivenUp:
        count = len(self._of(guilty.version))
        # Without the guilty one, what the others are suspected of is open again.
        self._charges.clear()
        doing = _DOING.get(guilty.phase, "used")
        reason = f"{count} workers crashed within {self._window_seconds:g} s while it was {doing}; last: {cause}"
        return GivenUp(version=guilty.version, reason=reason)


def _suspects(words: LastWords) -> tuple[Suspect, ...]:
    if words.verdict is None:
        return words.suspects
    known = [suspect for suspect in words.suspects if suspect.version == words.verdict]
    return tuple(known) or (Suspect(version=words.verdict, phase=Phase.RUNNING, met=0),)
