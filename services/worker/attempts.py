"""Which attempt at an assigned version is due: what failed for a cause that passes is tried again, later each time. Pure.

The store is away, the version is not in it yet, the disk is full: such causes pass, and are waited for without end, with back-off and
with jitter, so that workers do not come back together. Files that were spoilt are fetched anew once; spoilt twice, refused by ONNX Runtime,
too slow or too large are causes that only another assignment changes (or, for memory, an unload).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from penstock.contracts.errors import ArtifactCorrupt, NotFound, ServingError, Unavailable

Key = tuple[str, str]
"""Model and version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryTimes:
    """How long the next attempt is waited for, in seconds; each wait is half of this to all of it."""

    first_seconds: float = 1.0
    longest_seconds: float = 60.0


@dataclass(slots=True, kw_only=True)
class _Attempt:
    identity: object
    number: int = 0
    failures: int = 0
    corruptions: int = 0
    due_at: float | None = None


class Attempts:
    """Numbers the attempts at every assigned version; an attempt of a higher number may be made although the last one failed."""

    def __init__(self, times: RetryTimes, random: Random) -> None:
        """Store the arguments."""
        self._times = times
        self._random = random
        self._attempts: dict[Key, _Attempt] = {}

    def number(self, key: Key, identity: object, now: float) -> int:
        """Return the number of the attempt that may be made at `now`; another identity is another thing to try, at once."""
        attempt = self._attempts.get(key)
        if attempt is None:
            attempt = self._attempts[key] = _Attempt(identity=identity)
        elif attempt.identity != identity:
            attempt = self._attempts[key] = _Attempt(identity=identity, number=attempt.number + 1)
        elif attempt.due_at is not None and attempt.due_at <= now:
            attempt.number += 1
            attempt.due_at = None
        return attempt.number

    def failed(self, key: Key, number: int, error: ServingError, now: float) -> bool:
        """Note that an attempt failed, and say whether there will be another one."""
        attempt = self._attempts.get(key)
        if attempt is None or attempt.number != number:
            return False
        attempt.corruptions += isinstance(error, ArtifactCorrupt)
        if not (isinstance(error, Unavailable | NotFound) or (isinstance(error, ArtifactCorrupt) and attempt.corruptions == 1)):
            return False
        attempt.failures += 1
        # 2.0**64 is far over any limit; without the bound the power would overflow after a thousand failures.
        ceiling = min(self._times.longest_seconds, self._times.first_seconds * 2.0 ** min(attempt.failures - 1, 64))
        attempt.due_at = now + self._random.uniform(ceiling / 2, ceiling)
        return True

    def keep_only(self, keys: Iterable[Key]) -> None:
        """Forget all others: they are not assigned any more."""
        kept = set(keys)
        self._attempts = {key: attempt for key, attempt in self._attempts.items() if key in kept}
