"""How long a crashed process stays down. Pure: the caller passes the source of chance.

Exponential backoff with full jitter (Marc Brooker, "Exponential Backoff and Jitter"): children that crash together do not come back
together. A life that lasted long enough was healthy, and the count begins anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """Limits of the delays, in seconds."""

    first_seconds: float = 0.2
    longest_seconds: float = 10.0
    healthy_seconds: float = 60.0
    """A life of this length forgives all crashes before it."""


class RestartDelays:
    """Counts the crashes of one child."""

    def __init__(self, policy: RestartPolicy, random: Random) -> None:
        """Store the arguments."""
        self._policy = policy
        self._random = random
        self._crashes = 0

    def after(self, lived_seconds: float) -> float:
        """Count a death after a life of this length and return the seconds until the next start."""
        if lived_seconds >= self._policy.healthy_seconds:
            self._crashes = 0
        # 2.0**64 is far over any limit; without the bound the power would overflow after a thousand crashes.
        ceiling = min(self._policy.longest_seconds, self._policy.first_seconds * 2.0 ** min(self._crashes, 64))
        self._crashes += 1
        return self._random.uniform(0.0, ceiling)
