"""Metrics of wrong API keys, the same for every process that looks keys up."""

from __future__ import annotations

from services.chassis.metrics import Asked
from services.chassis.wrong_keys import WrongKeys


def wrong_key_metrics(wrong_keys: WrongKeys) -> tuple[Asked, ...]:
    """Return the collectors."""
    return (
        Asked("penstock_wrong_keys", "Wrong API keys that were looked up.", lambda: wrong_keys.counted, is_counter=True),
        Asked(
            "penstock_wrong_keys_refused",
            "API keys that were refused without a look: their address had been wrong too often.",
            lambda: wrong_keys.refused,
            is_counter=True,
        ),
    )
