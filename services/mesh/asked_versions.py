"""Which versions were asked for lately that the mesh may have unloaded, so that the controller loads them again.

A version that nobody uses leaves its workers when somebody else needs the room. Whoever asks for it is told to come back, and every
router says on the bus what was asked for; the controller places it, once, however many ask. Pure but for the clock it is given.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from penstock.contracts.router_status import REMEMBERED_VERSIONS, AskedVersion

FRESH_SECONDS = 60.0
"""How long it is told that a version was asked for."""
COMING_SECONDS = 60.0
"""How long whoever asks for an unloaded version is told that it is being loaded; what has not come by then is not there."""
LEFT_LIMIT = 10_000
"""Most versions of which it is known that they were here once."""

_Name = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Streak:
    began_at: float
    newest_at: float


class AskedVersions:
    """Remembers what was asked for."""

    def __init__(self, wall_seconds: Callable[[], float]) -> None:
        """Start with nothing asked."""
        self._wall_seconds = wall_seconds
        self._left: OrderedDict[_Name, None] = OrderedDict()
        self._asked: OrderedDict[_Name, _Streak] = OrderedDict()
        self._listeners: list[Callable[[], object]] = []

    def on_news(self, listener: Callable[[], object]) -> None:
        """Call `listener` when a version is asked for that was not asked for lately."""
        self._listeners.append(listener)

    def left(self, model: str, version: str) -> None:
        """Note that a version was ready and is no more."""
        self._asked.pop((model, version), None)  # whoever asks from now on waits for another loading
        self._left[model, version] = None
        self._left.move_to_end((model, version))
        if len(self._left) > LEFT_LIMIT:
            self._left.popitem(last=False)

    def came(self, model: str, version: str) -> None:
        """Note that a version is ready."""
        self._left.pop((model, version), None)
        self._asked.pop((model, version), None)

    def missed(self, model: str, version: str) -> bool:
        """Note a request for a version that is nowhere; return whether it was here once and may be on its way back."""
        streak, is_news = self._note((model, version))
        if is_news:
            for listener in self._listeners:
                listener()
        return (model, version) in self._left and streak.newest_at - streak.began_at < COMING_SECONDS

    def used(self, model: str, version: str) -> None:
        """Note that a version answered that the route sends nobody to."""
        self._note((model, version))

    def newest(self) -> tuple[AskedVersion, ...]:
        """Return what was asked for lately, newest last."""
        since = self._wall_seconds() - FRESH_SECONDS
        fresh = [(name, streak) for name, streak in list(self._asked.items())[-REMEMBERED_VERSIONS:] if streak.newest_at > since]
        return tuple(AskedVersion(model=model, version=version, asked_time=streak.newest_at) for (model, version), streak in fresh)

    def _note(self, name: _Name) -> tuple[_Streak, bool]:
        now = self._wall_seconds()
        held = self._asked.get(name)
        is_news = held is None or not 0 <= now - held.newest_at <= FRESH_SECONDS
        streak = self._asked[name] = _Streak(now if held is None or is_news else held.began_at, now)
        self._asked.move_to_end(name)
        if len(self._asked) > LEFT_LIMIT:
            self._asked.popitem(last=False)
        return streak, is_news
