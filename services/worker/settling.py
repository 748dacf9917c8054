"""Which artefacts are complete. Pure: the caller passes looks and times.

A copy into the repository takes time, and nothing says when it is over. A version counts when its files looked the same in two looks
that were at least `settle_seconds` apart, or when nothing has changed for longer than that already, by the file system's own
change times (which a copy cannot set): what was there before the worker started counts at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from penstock.contracts.errors import InvalidInput
from services.worker.artefacts import Artefact, ModelFolder, RepositoryLook

QUIET_SECONDS = 2.0
"""Files older than this when they are first seen are complete; more than the granularity of change times and usual clock skew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sighting:
    artefact: Artefact
    first_seen_at: float


@dataclass(slots=True, kw_only=True)
class Settling:
    """Remembers since when each version looks the way it does."""

    settle_seconds: float
    _sightings: dict[tuple[str, str], _Sighting] = field(default_factory=dict[tuple[str, str], _Sighting])

    def __post_init__(self) -> None:
        """Refuse a time that would let a half-copied version through."""
        if self.settle_seconds <= 0:
            raise InvalidInput(f"settle_seconds must be above 0, got {self.settle_seconds}", field="settle_seconds")

    def settled(self, look: RepositoryLook, *, now: float, now_time: float) -> RepositoryLook:
        """Return the look with complete versions only; the others are named in `unsettled`.

        Args:
            look: what is there now.
            now: monotonic seconds.
            now_time: seconds since the Unix epoch.
        """
        self._note(look, now)
        models: dict[str, ModelFolder] = {}
        unsettled: dict[str, frozenset[str]] = {}
        for name, model in look.models.items():
            complete = {version: one for version, one in model.versions.items() if self._is_complete(one, now, now_time)}
            if len(complete) < len(model.versions):
                unsettled[name] = frozenset(model.versions) - frozenset(complete)
            models[name] = replace(model, versions=complete)
        return replace(look, models=models, unsettled=unsettled)

    def _note(self, look: RepositoryLook, now: float) -> None:
        seen: dict[tuple[str, str], _Sighting] = {}
        for model in look.models.values():
            for version, artefact in model.versions.items():
                known = self._sightings.get((model.model, version))
                is_same = known is not None and known.artefact == artefact
                seen[model.model, version] = known if known and is_same else _Sighting(artefact=artefact, first_seen_at=now)
        self._sightings = seen

    def _is_complete(self, artefact: Artefact, now: float, now_time: float) -> bool:
        if now_time - artefact.changed_time > QUIET_SECONDS:
            return True
        return now - self._sightings[artefact.model, artefact.version].first_seen_at >= self.settle_seconds


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str]:
    """Return the entries of `after` that `before` does not have, so that each is logged once."""
    return {key: value for key, value in after.items() if before.get(key) != value}
