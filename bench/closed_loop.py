"""A closed loop of different requests over gRPC, for models slow enough that a generator in Python is never the limit."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import grpc.aio

from bench.bodies import GRPC_PATH
from bench.generators import Run

LARGEST_BYTES = 64 * 1024 * 1024
CALL_SECONDS = 30.0
FAILURES = 100
"""So many end a load."""


def closed_loop(port: int, requests: Sequence[bytes], headers: Mapping[str, str], *, in_flight: int, seconds: float) -> Run:
    """Ask the requests in turn with so many in flight; a call that fails counts as failed.

    Measured are at least `seconds` and as many answers as there are requests, without the time in which the loop fills or runs empty:
    the server has less to do then.
    """
    return asyncio.run(_closed_loop(port, requests, headers, in_flight, seconds))


@dataclass(slots=True)
class Window:
    """Answers of the measured time; those around it are counted only.

    Answers come in bursts, one a batch. The window lasts from the end of one burst to the end of another, so that no batch at its
    beginning or end is cut: a batch whose time counts and whose answers do not is a fifth of a short measurement. A burst has at most
    `in_flight` answers and ends where the next answer takes longest.
    """

    in_flight: int
    seconds: float
    least: int = 0
    """So many answers it holds, and at least `in_flight`."""
    answered_at: list[float] = field(default_factory=list[float])
    latencies: list[float] = field(default_factory=list[float])
    begin: int = 0
    """Number of answers before it; 0 while it has not begun."""
    end: int = 0
    """Number of answers before its end; 0 while it has not ended."""
    failed: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more is measured."""
        return self.end > 0 or self.failed >= FAILURES

    @property
    def taken(self) -> list[float]:
        """The latencies of its answers, in seconds."""
        return self.latencies[self.begin : self.end]

    @property
    def length(self) -> float:
        """How long it lasted, in seconds."""
        return self.answered_at[self.end - 1] - self.answered_at[self.begin - 1]

    def answered(self, sent_at: float, now: float) -> None:
        """Take an answer."""
        self.answered_at.append(now)
        self.latencies.append(now - sent_at)
        if self.is_over or len(self.answered_at) <= self.in_flight:
            return
        end = self._burst_end()
        self.begin = self.begin or end
        is_long = self.answered_at[end - 1] >= self.answered_at[self.begin - 1] + self.seconds
        if is_long and end - self.begin >= max(self.in_flight, self.least):
            self.end = end

    def refused(self) -> None:
        """Count a failure; a server that only fails must not be asked for ever."""
        self.failed += 1

    def _burst_end(self) -> int:
        """Return how many answers had come when the last burst that is whole was over."""
        at = self.answered_at
        return max(range(len(at) - self.in_flight, len(at)), key=lambda place: at[place] - at[place - 1])


async def _closed_loop(port: int, requests: Sequence[bytes], headers: Mapping[str, str], in_flight: int, seconds: float) -> Run:
    window = Window(in_flight, seconds, least=len(requests))
    turns = itertools.cycle(requests)
    metadata = tuple(headers.items())
    options = [("grpc.max_send_message_length", LARGEST_BYTES), ("grpc.max_receive_message_length", LARGEST_BYTES)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        call = channel.unary_unary(GRPC_PATH)

        async def ask() -> None:
            while not window.is_over:
                sent_at = time.perf_counter()
                try:
                    await call(next(turns), timeout=CALL_SECONDS, metadata=metadata)
                except grpc.RpcError:
                    window.refused()
                else:
                    window.answered(sent_at, time.perf_counter())

        await asyncio.gather(*(ask() for _ in range(in_flight)))
    outside = len(window.latencies) - len(window.taken)
    if window.failed >= FAILURES:
        raise SystemExit(f"{window.failed} calls failed, {len(window.latencies)} were answered")
    taken = sorted(window.taken)
    return Run(
        requests=len(taken),
        failed=window.failed,
        seconds=window.length,
        p50_ms=taken[len(taken) // 2] * 1000,
        p99_ms=taken[len(taken) * 99 // 100] * 1000,
        outside=outside,
    )
