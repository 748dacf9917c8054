"""What a router did not get to tell of what it saw, as `/metrics` shows it."""

from __future__ import annotations

from services.chassis.metrics import Asked, Collected
from services.router.observing import Observing


def observation_metrics(observing: Observing) -> tuple[Collected, ...]:
    """Return the collectors."""

    def pairs() -> int:
        return 0 if observing.shadowing is None else observing.shadowing.dropped_pairs

    return (
        Asked("penstock_notes_dropped", "Groups of requests that no window counts.", lambda: observing.dropped_notes, is_counter=True),
        Asked("penstock_exposures_dropped", "Exposures that were not sent.", lambda: observing.exposures.dropped, is_counter=True),
        Asked("penstock_shadow_pairs_dropped", "Answers of shadows that were not compared.", pairs, is_counter=True),
    )
