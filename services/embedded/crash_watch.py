"""What follows from the death of a worker: the black box is read, and a version that kills workers is given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import structlog

from services.chassis.clock import Clock
from services.chassis.crash_ledger import Crash, CrashLedger, GivenUp
from services.chassis.death import Death, Exit
from services.chassis.last_words import LastWords

_FROM_OUTSIDE = frozenset({Death.ENDED, Death.KILLED, Death.STOPPED})
"""Deaths for which no version is to blame."""

log = structlog.get_logger(__name__)


class FailedVersions(Protocol):
    """Where versions are marked so that no worker loads them again."""

    async def give_up(self, version: GivenUp) -> None:
        """Mark the version as failed.

        Raises:
            OSError: it could not be written.
        """
        ...


class CrashWatch:
    """Judges every death of every worker."""

    def __init__(self, read_words: Callable[[str], LastWords], failed: FailedVersions, clock: Clock) -> None:
        """Store the arguments; `read_words` reads a worker's black box by its name."""
        self._read_words = read_words
        self._failed = failed
        self._clock = clock
        self._ledger = CrashLedger()
        self.versions_failed = 0
        """Versions given up."""

    async def on_exit(self, ended: Exit) -> bool:
        """Take a death into account before the worker is started again; say whether a version was being loaded or run."""
        words = self._read_words(ended.name)
        for suspect in words.suspects:
            log.info("crash_suspect", child=ended.name, version=str(suspect.version), phase=suspect.phase.name.lower())
        crash = crash_of(ended, words)
        given_up = self._ledger.record(crash, self._clock.now()) if crash else None
        if given_up is not None:
            await self._give_up(given_up)
        return bool(words.suspects) or words.verdict is not None

    async def _give_up(self, given_up: GivenUp) -> None:
        model, version = given_up.version.model, given_up.version.version
        try:
            await self._failed.give_up(given_up)
        except (OSError, ValueError) as error:
            log.exception("version_not_marked", model=model, version=version, reason=str(error))
            return
        self.versions_failed += 1
        log.error("version_failed", model=model, version=version, reason=given_up.reason)


def crash_of(ended: Exit, words: LastWords) -> Crash | None:
    """Return the death as a crash that a version may have caused; None when it was asked for from outside."""
    if words.verdict is not None:
        return Crash(words=words, cause=words.reason or ended.cause)
    if ended.death in _FROM_OUTSIDE:
        return None
    return Crash(words=words, cause=ended.cause)
