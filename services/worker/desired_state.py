"""What is wanted of every model now: a port with two adapters, a watched folder and the assignment of a controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from penstock.contracts.errors import ServingError
from services.worker.overrides import Override
from services.worker.reconciliation import Desire, Offer


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything that is wanted, as of one look."""

    desires: Mapping[str, Desire] = field(default_factory=dict[str, Desire])
    unreadable: Mapping[str, str] = field(default_factory=dict[str, str])
    """Reason by model, of those about which nothing is known now: they are left as they are."""
    skipped: Mapping[str, str] = field(default_factory=dict[str, str])
    """Reason by path."""
    revisions: Mapping[str, int] = field(default_factory=dict[str, int])
    """Revision of the override that each desire includes, by model."""
    is_waiting: bool = False
    """Not everything that is wanted is known yet: look again soon."""
    assignment_revision: int = 0
    """Revision of the assignment that all this comes from; 0 where there is none."""


class DesiredState(Protocol):
    """Says what is wanted."""

    async def seen(self, overrides: Mapping[str, Override], *, now: float, now_time: float) -> Observation:
        """Return what is wanted now.

        Args:
            overrides: what was asked for beyond it, by model.
            now: monotonic seconds.
            now_time: seconds since the Unix epoch.

        Raises:
            OSError: nothing is known now, in particular not that anything is no longer wanted.
        """
        ...

    def will_retry(self, offer: Offer, error: ServingError, *, now: float) -> bool:
        """Note that an offer failed, and say whether it will be offered again, with a newer revision, because the cause passes."""
        ...
