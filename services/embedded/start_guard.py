"""Ends a start that cannot succeed, so that a broken installation is an error and not an endless wait."""

from __future__ import annotations

from collections import Counter

from services.chassis.death import Exit, describe
from services.chassis.process import CannotStart

MOST_DEATHS = 5
"""Deaths of one child, none of them explained by a version, before the start is given up."""


class StartGuard:
    """Counts deaths while the serve starts; afterwards children are started again for ever."""

    def __init__(self) -> None:
        """Begin with the start."""
        self._deaths: Counter[str] = Counter()
        self.is_starting = True

    def count(self, ended: Exit, *, is_explained: bool) -> None:
        """Count a death.

        Raises:
            CannotStart: it is one too many.
        """
        if not self.is_starting or is_explained:
            return
        self._deaths[ended.name] += 1
        if self._deaths[ended.name] >= MOST_DEATHS:
            times = f"{ended.name} ended {MOST_DEATHS} times before everything was ready (last: {describe(ended.status)})"
            raise CannotStart(f"{times}; its log stands above, `penstock doctor` checks the installation")
