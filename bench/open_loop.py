"""An open loop: calls leave at times drawn before the run, whatever became of those before, and latency counts from these times.

A caller that waits for answers slows down with the server and hides how long others would have waited; this one does not. A call that
left late is counted, and its lateness is part of its latency.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random

import grpc

from bench.bodies import GRPC_PATH

Metadata = tuple[tuple[str, str], ...]

LATE_SECONDS = 0.001
SWITCH_SECONDS = 0.0002
"""How long the threads that take answers may keep the interpreter from the one that sends; Python's own 5 ms would make calls late."""
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
    """One thread sends on schedule; grpcio's own threads take the answers."""

    def __init__(self, offer: Offer, seed: int) -> None:
        """Draw the schedule."""
        self._offer = offer
        self._due = schedule(offer.rate, offer.seconds, Random(seed))
        self._answers: list[Answer] = []
        self._settled = threading.Event()
        self._started_at = 0.0

    def run(self) -> list[Answer]:
        """Make the calls and return what became of each, in the order of the schedule."""
        offer = self._offer
        metadata = tuple(offer.headers.items())
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{offer.port}", options=options) as channel:
            grpc.channel_ready_future(channel).result(SETTLE_SECONDS)
            call = channel.unary_unary(GRPC_PATH)
            gc.collect()
            gc.disable()  # a collection would make calls leave late
            interval = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_SECONDS)
            try:
                self._started_at = time.perf_counter()
                for due_at in self._due:
                    self._wait_until(due_at)
                    self._send(call, due_at, metadata)
                self._settled.wait(offer.deadline_seconds + SETTLE_SECONDS)
            finally:
                sys.setswitchinterval(interval)
                gc.enable()
        if len(self._answers) != len(self._due):
            raise SystemExit(f"{len(self._due) - len(self._answers)} of {len(self._due)} calls were never answered")
        return sorted(self._answers, key=lambda answer: answer.due_at)

    def _send(self, call: grpc.UnaryUnaryMultiCallable, due_at: float, metadata: Metadata) -> None:
        left_at = time.perf_counter() - self._started_at
        timeout = due_at + self._offer.deadline_seconds - left_at
        if timeout <= 0:  # its caller would not have asked any more
            self._keep(Answer(due_at=due_at, left_at=left_at, seconds=left_at - due_at, code=grpc.StatusCode.DEADLINE_EXCEEDED))
            return
        future = call.future(self._offer.request, timeout=timeout, metadata=metadata)
        future.add_done_callback(lambda done: self._note(done, due_at, left_at))

    def _wait_until(self, due_at: float) -> None:
        wait = self._started_at + due_at - time.perf_counter()
        if wait > 0:
            time.sleep(wait)

    def _note(self, done: grpc.Future, due_at: float, left_at: float) -> None:
        code = done.code()
        content = done.result() if code is grpc.StatusCode.OK else b""
        seconds = time.perf_counter() - self._started_at - due_at
        self._keep(Answer(due_at=due_at, left_at=left_at, seconds=seconds, code=code, content=content))

    def _keep(self, answer: Answer) -> None:
        self._answers.append(answer)
        if len(self._answers) == len(self._due):
            self._settled.set()


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
