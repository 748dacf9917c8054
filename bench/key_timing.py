"""Whether the time in which a wrong key is refused tells how much of it is right: Welch's t over a million comparisons, as dudect does it.

Two classes of wrong keys are presented in random order to the code that routers and controllers themselves compare with: those of the one
are right but for their last characters, those of the other from the first character of the secret on. Keys of both are made in the same
way just before they are presented, so that neither class is warmer in a cache than the other. Times are taken whole and cut at
percentiles, because what interrupts a process hides small differences; the largest t counts.

Source: O. Reparaz, J. Balasch, I. Verbauwhede, "Dude, is my code constant time?", DATE 2017.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

import numpy as np

from bench.arena import Arena
from bench.report import say
from penstock.contracts.api_keys import CHARACTERS, SECRET_CHARACTERS, checksum, key_body
from penstock.contracts.errors import Unauthenticated
from penstock.contracts.tenant_records import KeyRecord
from services.controller.key_making import hash_of, is_hash_of
from services.router.admission import TenantPolicy
from services.router.tenant_policies import Admitted
from services.router.tenants import Tenants

COMPARISONS = 1_000_000
LEAKY_COMPARISONS = 20_000
BLOCK = 1000
"""Keys that are made before they are presented."""
RIGHT_CHARACTERS = 30
"""How much of the secret is right in one of the classes."""
SHARES = (1.0, 0.99, 0.95, 0.75)
"""Of the times, the fastest first, that t is computed of."""
KEY_ID = "k3yId0fTheNo"
PEPPER = b"a pepper of the bench"

_OF_BYTE = "".join(CHARACTERS[number % len(CHARACTERS)] for number in range(256)).encode()

Present = Callable[[str], object]
"""Presents a wrong key."""
Clock = Callable[[], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Times of presented keys, in the order of their presentation."""

    nanoseconds: np.ndarray
    is_nearly_right: np.ndarray

    def t(self) -> float:
        """Return the largest of Welch's t over all cuts, without its sign."""
        cuts = (np.quantile(self.nanoseconds, share) for share in SHARES)
        return max(self._cut_at(float(cut)) for cut in cuts)

    def _cut_at(self, most: float) -> float:
        kept = self.nanoseconds <= most
        return abs(welch_t(self.nanoseconds[kept & self.is_nearly_right], self.nanoseconds[kept & ~self.is_nearly_right]))


def welch_t(one: np.ndarray, other: np.ndarray) -> float:
    """Pure: return Welch's t of two samples; 0 where neither varies and both are the same."""
    difference = float(one.mean() - other.mean())
    spread = float(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
    if spread == 0.0:
        return 0.0 if difference == 0.0 else float("inf")
    return difference / spread**0.5


class Guesses:
    """Makes wrong keys of both classes."""

    def __init__(self, random: Random) -> None:
        """Draw the right key."""
        self._random = random
        self.secret = self._drawn()
        self.right = whole(self.secret)

    def block(self, count: int) -> tuple[list[str], list[bool]]:
        """Return so many wrong keys, and which of them are nearly right."""
        classes = [self._random.random() < 0.5 for _ in range(count)]
        return [self._key(is_nearly_right=is_nearly_right) for is_nearly_right in classes], classes

    def _key(self, *, is_nearly_right: bool) -> str:
        drawn = self._drawn()
        # Of the class that is wrong everywhere one key in 62 begins rightly by chance: drawn again.
        while drawn[0] == self.secret[0] or drawn[RIGHT_CHARACTERS:] == self.secret[RIGHT_CHARACTERS:]:
            drawn = self._drawn()
        kept = RIGHT_CHARACTERS if is_nearly_right else 0
        return whole(self.secret[:kept] + drawn[kept:])

    def _drawn(self) -> str:
        return self._random.randbytes(SECRET_CHARACTERS).translate(_OF_BYTE).decode()


def whole(secret: str) -> str:
    """Return the key of a secret, checksum and all."""
    body = key_body("live", KEY_ID, secret)
    return body + checksum(body)


def timed(ways: Mapping[str, Present], guesses: Guesses, comparisons: int, clock: Clock = time.perf_counter_ns) -> Mapping[str, Timed]:
    """Present keys in every way and take the time of each."""
    nanoseconds: dict[str, list[int]] = {name: [] for name in ways}
    classes: list[bool] = []
    for _ in range(comparisons // BLOCK):
        keys, drawn = guesses.block(BLOCK)
        classes += drawn
        gc.disable()
        for name, present in ways.items():
            note = nanoseconds[name].append
            for key in keys:
                began_at = clock()
                present(key)
                note(clock() - began_at)
        gc.enable()
    is_nearly_right = np.array(classes)
    return {
        name: Timed(nanoseconds=np.array(taken, dtype=np.float64), is_nearly_right=is_nearly_right) for name, taken in nanoseconds.items()
    }


def by_router(right: str) -> Present:
    """Return how a router looks a key up."""
    tenants = Tenants(pepper=PEPPER, require_keys=True)
    tenants.put("team", Admitted(policy=TenantPolicy(name="team"), keys=(KeyRecord(hash=hash_of(right, PEPPER), key_id=KEY_ID),)))
    tenants.of(right)

    def present(key: str) -> None:
        try:
            tenants.of(key)
        except Unauthenticated:
            return
        raise AssertionError("a wrong key was taken")

    return present


def by_controller(right: str) -> Present:
    """Return how a controller compares a key with the record of its id."""
    held, peppers = hash_of(right, PEPPER), {b"", PEPPER}
    if not is_hash_of(held, right, peppers):
        raise AssertionError("the right key was not taken")
    return lambda key: is_hash_of(held, key, peppers)


def by_characters(right: str) -> Present:
    """Return a comparison that stops at the first character that is wrong, for the instrument to find."""

    def present(key: str) -> bool:
        return all(one == other for one, other in zip(key, right, strict=True))

    return present


def figures(seed: int = 0) -> dict[str, float]:
    """Return Welch's t, without its sign, by the name of its figure."""
    guesses = Guesses(Random(seed))
    ours = timed({"router": by_router(guesses.right), "controller": by_controller(guesses.right)}, guesses, COMPARISONS)
    leaky = timed({"leaky": by_characters(guesses.right)}, guesses, LEAKY_COMPARISONS)
    found = {name: times.t() for name, times in {**ours, **leaky}.items()}
    worst = max(found[name] for name in ours)
    return {"security.key_timing_t": worst, **{f"security.key_timing_t.{name}": t for name, t in found.items()}}


def key_timing(arena: Arena) -> None:
    """Time the comparisons of keys."""
    for name, t in figures().items():
        arena.figures.add(name, t, "t")


def main() -> int:
    """Print the figures."""
    began_at = time.monotonic()
    for name, t in figures(seed=time.time_ns()).items():
        say(f"{name:36} {t:10.2f}")
    say(f"{COMPARISONS:,} comparisons each by router and controller in {time.monotonic() - began_at:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
