"""Which replica takes a chunk: power of two choices on rows in flight, among those in rotation.

Pure: the caller passes `now` and the source of random numbers. A replica leaves rotation after `FAILURES_TO_EJECT` failures in a
row, for a time that doubles with every ejection, and comes back by itself; when more than half of a deployment's replicas are out,
ejections are ignored, so that a fault they all share does not empty the rotation (Envoy's panic threshold). Workers that are silent
are not candidates at all: that is the link's to say.

Source: M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Protocol, TypeVar

FAILURES_TO_EJECT = 5
BASE_EJECTION_SECONDS = 2.0
MAX_EJECTION_SECONDS = 60.0


class Candidate(Protocol):
    """What placement must know of a link."""

    @property
    def rows_in_flight(self) -> int:
        """Rows sent and not answered."""
        ...

    @property
    def credit_rows(self) -> int:
        """Most rows that may be in flight."""
        ...


C = TypeVar("C", bound=Candidate)
R = TypeVar("R")


def choose(candidates: Sequence[C], rows: int, random: Random) -> C | None:
    """Return the candidate for a chunk of `rows` rows; None when none has credit for it.

    An idle candidate always has credit, so that a request larger than the whole credit can still be served.
    """
    if len(candidates) == 1:
        only = candidates[0]
        return only if _has_credit(only, rows) else None
    if not candidates:
        return None
    first, second = random.sample(range(len(candidates)), 2) if len(candidates) > 2 else (0, 1)
    one, other = candidates[first], candidates[second]
    if one.rows_in_flight == other.rows_in_flight:
        better = one if random.random() < 0.5 else other
    else:
        better = one if one.rows_in_flight < other.rows_in_flight else other
    if _has_credit(better, rows):
        return better
    return next((candidate for candidate in candidates if _has_credit(candidate, rows)), None)


def within_credit(candidate: Candidate, positions: Sequence[int], rows: int) -> Sequence[int]:
    """Return as many of the positions, each of `rows` rows, as a candidate has credit for; an idle one always has for the first."""
    room = (candidate.credit_rows - candidate.rows_in_flight) // rows
    return positions[: max(room, 0 if candidate.rows_in_flight else 1)]


def _has_credit(candidate: Candidate, rows: int) -> bool:
    in_flight = candidate.rows_in_flight
    return in_flight == 0 or in_flight + rows <= candidate.credit_rows


class Rotation:
    """Whether one replica takes part in placement, judged by its failures."""

    __slots__ = ("_ejected_until", "_ejections", "_failures_in_a_row")

    def __init__(self) -> None:
        """Start in rotation."""
        self._failures_in_a_row = 0
        self._ejections = 0
        self._ejected_until = 0.0

    def is_in(self, now: float) -> bool:
        """Whether it takes part at `now`."""
        return now >= self._ejected_until

    def succeed(self) -> None:
        """Note an answer: the row of failures ends."""
        self._failures_in_a_row = 0

    def fail(self, now: float) -> bool:
        """Note a failure that is the replica's; return True when it is ejected for it."""
        self._failures_in_a_row += 1
        if self._failures_in_a_row < FAILURES_TO_EJECT:
            return False
        self._failures_in_a_row = 0
        self._ejected_until = now + min(BASE_EJECTION_SECONDS * 2**self._ejections, MAX_EJECTION_SECONDS)
        self._ejections += 1
        return True


def in_rotation(replicas: Sequence[R], ejected: Sequence[R]) -> list[R]:
    """Return the replicas that take part: those not ejected, or all when more than half are, because then it is not the replicas' fault."""
    if len(ejected) * 2 > len(replicas):
        return list(replicas)
    return [replica for replica in replicas if replica not in ejected]
