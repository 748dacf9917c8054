"""A sink that keeps every outcome, and a dispatch with its links up."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random

from penstock.contracts.errors import ServingError
from services.mesh.chunk import Answered, Chunk, Template
from services.mesh.dispatch import Dispatch
from services.mesh.route_table import Deployment, RouteTable
from tests.mesh.conftest import FakeWorker

ONE_ROW = Template(
    input_positions=(0,),
    shapes=((1, 2),),
    rows=1,
    outputs=(0,),
    wire_inputs=((0, struct.pack("<2q", 1, 2)),),
    wire_outputs=b"",
)


class Ledger:
    """A sink that notes every outcome of every request, by the request's own number."""

    def __init__(self) -> None:
        self.answers: dict[int, bytes] = {}
        self.failures: dict[int, ServingError] = {}
        self.settled = asyncio.Condition()

    def answered(self, chunk: Chunk, answer: Answered, released: Sequence[int] | None) -> None:
        _, raw, _ = answer.outputs[0]
        size = len(raw) // answer.count
        positions = answer.positions()
        for offset in range(answer.count) if released is None else released:
            number = chunk.context.numbers[positions[offset]]  # type: ignore[attr-defined]
            assert number not in self.answers
            assert number not in self.failures
            self.answers[number] = raw[offset * size : (offset + 1) * size]

    def failed(self, chunk: Chunk, positions: Sequence[int], error: ServingError) -> None:
        for position in positions:
            number = chunk.context.numbers[position]  # type: ignore[attr-defined]
            assert number not in self.answers
            assert number not in self.failures
            self.failures[number] = error

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.answers) + len(self.failures) < count:
                await asyncio.sleep(0.001)


class Numbered:
    """A context that remembers which request is which."""

    def __init__(self, deployment: Deployment, numbers: list[int]) -> None:
        self.deployment = deployment
        self.numbers = numbers

    def part(self, positions: Sequence[int]) -> Numbered:
        return Numbered(self.deployment, [self.numbers[position] for position in positions])


def chunk_of(ledger: Ledger, deployment: Deployment, numbers: Sequence[int], *, deadline: float = float("inf")) -> Chunk:
    chunk = Chunk(ledger, ONE_ROW, Numbered(deployment, list(numbers)))
    for number in numbers:
        chunk.columns[0].append(struct.pack("<2f", number, -number))
        chunk.deadlines.append(deadline)
        chunk.tenants.append(0)
    chunk.seal()
    return chunk


@asynccontextmanager
async def dispatching(workers: Sequence[FakeWorker], *, wait_for: int | None = None) -> AsyncIterator[tuple[Dispatch, RouteTable]]:
    table = RouteTable()
    dispatch = Dispatch(table, router_id="router-under-test", clock=time.monotonic, random=Random(1))
    task = asyncio.create_task(dispatch.run())
    await asyncio.sleep(0)
    for worker in workers:
        dispatch.follow(worker.worker_id, worker.status())
    async with asyncio.timeout(30):
        while sum(link.is_up for link in dispatch.links) < (len(workers) if wait_for is None else wait_for):
            await asyncio.sleep(0.001)
    try:
        yield dispatch, table
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
