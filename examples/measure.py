"""Latency of calls one after the other, and throughput of many at once."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

Request = TypeVar("Request")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed(Generic[Answer]):
    """Answers in the order of the calls, and the seconds each took."""

    answers: list[Answer]
    seconds: list[float]

    def percentile_ms(self, percent: float) -> float:
        """Return the latency that `percent` of the calls did not exceed, in milliseconds."""
        return float(np.percentile(self.seconds, percent)) * 1_000


def one_by_one(call: Callable[[Request], Answer], requests: Sequence[Request]) -> Timed[Answer]:
    """Make every call after the one before has been answered."""
    answers: list[Answer] = []
    seconds: list[float] = []
    for request in requests:
        started_at = time.perf_counter()
        answers.append(call(request))
        seconds.append(time.perf_counter() - started_at)
    return Timed(answers=answers, seconds=seconds)


def calls_per_second(call: Callable[[Request], object], requests: Sequence[Request], *, in_flight: int, seconds: float) -> float:
    """Return how many calls a second are answered when `in_flight` threads call without pause, each taking the requests in turn.

    Raises:
        Exception: whatever a call raised; one failure fails the measurement.
    """
    until = time.perf_counter() + seconds

    def keep_calling(first: int) -> int:
        count = 0
        for request in itertools.islice(itertools.cycle(requests), first, None):
            if time.perf_counter() >= until:
                return count
            call(request)
            count += 1
        return count

    started_at = time.perf_counter()
    with ThreadPoolExecutor(in_flight) as pool:
        counts = list(pool.map(keep_calling, range(in_flight)))
    return sum(counts) / (time.perf_counter() - started_at)
