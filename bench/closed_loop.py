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

    Measured are the answers of `seconds` that begin when the first `in_flight` calls are answered: while the loop fills and runs
    empty, the server has less to do.
    """
    return asyncio.run(_closed_loop(port, requests, headers, in_flight, seconds))


@dataclass(slots=True)
class Window:
    """Answers of the measured time; those around it are counted only.

    It lasts from one answer to another, so that neither a batch at its beginning nor one at its end is cut, and holds at least
    `in_flight` answers.
    """

    in_flight: int
    seconds: float
    begins_at: float = float("inf")
    ends_at: float = float("inf")
    taken: list[float] = field(default_factory=list[float])
    outside: int = 0
    failed: int = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing more is measured."""
        return self.ends_at < float("inf")

    def answered(self, sent_at: float, now: float) -> None:
        """Take an answer."""
        if now < self.begins_at or self.is_over:
            self.outside += 1
            if self.outside == self.in_flight:
                self.begins_at = now
            return
        self.taken.append(now - sent_at)
        if now >= self.begins_at + self.seconds and len(self.taken) >= self.in_flight:
            self.ends_at = now

    def refused(self) -> None:
        """Count a failure; a server that only fails must not be asked for ever."""
        self.failed += 1
        if self.failed >= FAILURES:
            self.ends_at = 0.0


async def _closed_loop(port: int, requests: Sequence[bytes], headers: Mapping[str, str], in_flight: int, seconds: float) -> Run:
    window = Window(in_flight, seconds)
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
    taken = sorted(window.taken)
    if window.failed >= FAILURES:
        raise SystemExit(f"{window.failed} calls failed, {len(taken) + window.outside} were answered")
    return Run(
        requests=len(taken),
        failed=window.failed,
        seconds=window.ends_at - window.begins_at,
        p50_ms=taken[len(taken) // 2] * 1000,
        p99_ms=taken[len(taken) * 99 // 100] * 1000,
        outside=window.outside,
    )
