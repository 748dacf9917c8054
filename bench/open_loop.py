"""An open loop: calls leave at times drawn before the run, whatever became of those before, and latency counts from these times.

A caller that waits for answers slows down with the server and hides how long others would have waited; this one does not. A call that
left late is counted, and its lateness is part of its latency.
"""

from __future__ import annotations

import gc
import select
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import grpc

from bench.wire import Wire, connect

LATE_SECONDS = 0.001
SETTLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one call."""

    due_at: float
    """When it should have left, in seconds after the start of the run."""
    left_at: float
    seconds: float
    """From when it should have left to its answer."""
    code: grpc.StatusCode
    content: bytes = b""

    @property
    def is_ok(self) -> bool:
        """Whether it was answered."""
        return self.code is grpc.StatusCode.OK


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Calls to make."""

    port: int
    request: bytes
    headers: Mapping[str, str]
    rate: float
    """Calls a second, on average; the gaps are exponential."""
    seconds: float
    deadline_seconds: float


class OpenLoop:
    """One thread sends on schedule and takes the answers in between."""

    def __init__(self, offer: Offer, seed: int) -> None:
        """Draw the schedule."""
        self._offer = offer
        self._due = schedule(offer.rate, offer.seconds, Random(seed))
        self._message = b"\0" + len(offer.request).to_bytes(4, "big") + offer.request
        self._answers: list[Answer] = []
        self._sent: dict[int, tuple[float, float]] = {}
        """When each call that is open was due and when it left, by its stream; in the order of their deadlines."""
        self._started_at = 0.0

    def run(self) -> list[Answer]:
        """Make the calls and return what became of each, in the order of the schedule."""
        wire = connect(self._offer.port, self._offer.headers)
        with wire.socket:
            gc.collect()
            gc.disable()  # a collection would make calls leave late
            try:
                self._started_at = time.perf_counter()
                for due_at in self._due:
                    self._serve(wire, due_at)
                    while not wire.may_call(len(self._message)) and self._remaining(due_at) > 0:
                        self._serve(wire, due_at + self._offer.deadline_seconds, is_enough=True)
                    self._send(wire, due_at)
                self._serve(wire, self._now() + self._offer.deadline_seconds + SETTLE_SECONDS, is_ending=True)
            finally:
                gc.enable()
        if len(self._answers) != len(self._due):
            raise SystemExit(f"{len(self._due) - len(self._answers)} of {len(self._due)} calls were never answered")
        return sorted(self._answers, key=lambda answer: answer.due_at)

    def _now(self) -> float:
        return time.perf_counter() - self._started_at

    def _remaining(self, due_at: float) -> float:
        return due_at + self._offer.deadline_seconds - self._now()

    def _send(self, wire: Wire, due_at: float) -> None:
        left_at = self._now()
        timeout = due_at + self._offer.deadline_seconds - left_at
        if timeout <= 0:  # its caller would not have asked any more
            self._keep(due_at, left_at, grpc.StatusCode.DEADLINE_EXCEEDED, b"")
            return
        self._sent[wire.call(self._message, timeout)] = (due_at, left_at)

    def _serve(self, wire: Wire, until: float, *, is_enough: bool = False, is_ending: bool = False) -> None:
        """Take answers and end what is over its deadline, till a time; or till anything came; or till nothing is open."""
        while not (is_ending and not self._sent):
            self._expire(wire)
            wait = until - self._now()
            if not select.select([wire.socket], [], [], max(0.0, min(wait, self._first_deadline())))[0]:
                if wait <= 0:
                    return
                continue
            for ending in wire.receive():
                if ending.stream in self._sent:
                    self._keep(*self._sent.pop(ending.stream), ending.code, ending.content)
            if wire.is_closed:
                raise SystemExit(f"the server hung up with {len(self._sent)} calls open")
            if is_enough or self._now() >= until:
                return

    def _first_deadline(self) -> float:
        """Return the seconds until the call that was due first is over its deadline."""
        oldest = next(iter(self._sent.values()), None)
        return self._offer.deadline_seconds if oldest is None else self._remaining(oldest[0])

    def _expire(self, wire: Wire) -> None:
        """End the calls whose callers wait no longer."""
        while self._sent and self._first_deadline() <= 0:
            stream = next(iter(self._sent))
            wire.cancel(stream)
            self._keep(*self._sent.pop(stream), grpc.StatusCode.DEADLINE_EXCEEDED, b"")

    def _keep(self, due_at: float, left_at: float, code: grpc.StatusCode, content: bytes) -> None:
        seconds = self._now() - due_at
        self._answers.append(Answer(due_at=due_at, left_at=left_at, seconds=seconds, code=code, content=content))


def schedule(rate: float, seconds: float, random: Random) -> list[float]:
    """Return Poisson arrivals: when each call is due, in seconds after the start."""
    due: list[float] = []
    at = random.expovariate(rate)
    while at < seconds:
        due.append(at)
        at += random.expovariate(rate)
    return due


def late_share(answers: Sequence[Answer]) -> float:
    """Return the share of calls that left more than a millisecond late: above 0.001 the generator is part of what was measured."""
    return sum(answer.left_at - answer.due_at > LATE_SECONDS for answer in answers) / max(len(answers), 1)


def percentile_ms(seconds: Sequence[float], percent: int) -> float:
    """Return the latency that so many percent did not exceed.

    Raises:
        ValueError: there are no latencies.
    """
    if not seconds:
        raise ValueError("a percentile of nothing")
    ordered = sorted(seconds)
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)] * 1000
