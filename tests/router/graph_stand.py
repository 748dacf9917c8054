"""A stand whose worker holds models that multiply, fail or say nothing, and graphs of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from penstock.contracts.declared_graphs import graph_config
from penstock.contracts.errors import (
    ServingError,
)
from penstock.contracts.graph_text import from_toml
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus
from penstock.v1 import link_pb2 as pb
from services.router.graph_runs import GraphRuns, graphs_of
from services.router.observing import Observing
from services.router.pump import pumping
from services.router.routes_in_force import RoutesInForce
from tests.mesh.conftest import FakeWorker, replica
from tests.router.inference_stand import Stand, request, standing

HEAD = """
max_batch_size = 8
[[input]]
name = "x"
data_type = "FP32"
dims = [2]
[[output]]
name = "y"
data_type = "FP32"
dims = [2]
from = "{origin}"
"""
DOUBLE, TRIPLE, FAILING, MUTE = 11, 12, 13, 14
PAIR = """
[[step]]
name = "pre"
model = "double"
inputs = { x = "x" }
[[step]]
name = "l"
model = "double"
version = "2"
inputs = { x = "pre.y" }
[[step]]
name = "r"
model = "triple"
inputs = { x = "pre.y" }
[[step]]
name = "mean"
combine = "mean"
of = ["l.y", "r.y"]
"""


def graph(steps: str, *, origin: str = "mean.output", model: str = "graph", replica_id: int = 90) -> ReplicaStatus:
    version = from_toml(HEAD.format(origin=origin) + steps)
    return ReplicaStatus(
        replica_id=replica_id,
        model=model,
        version="1",
        state=ReplicaState.READY,
        signature=version.graph.signature,
        digest="g",
        model_config=graph_config(version),
    )


def single(model: str, *more: str, name: str = "only") -> str:
    return "\n".join(("[[step]]", f'name = "{name}"', f'model = "{model}"', 'inputs = { x = "x" }', *more, ""))


def multiplied(chunk: pb.Chunk) -> pb.Answer | None:
    """Answer by the replica that was asked."""
    answer = pb.Answer(chunk_id=chunk.chunk_id, start=0, count=chunk.count)
    if chunk.replica_id == MUTE:
        return None
    if chunk.replica_id == FAILING:
        refusal = pb.Answer(chunk_id=chunk.chunk_id)
        for index in range(chunk.count):
            refusal.failures.add(index=index, reason="EXECUTION_FAILED", message="it broke")
        return refusal
    factor = {DOUBLE: 2, TRIPLE: 3}.get(chunk.replica_id, 1)
    for column, template in zip(chunk.columns, chunk.inputs, strict=True):
        answer.outputs.add(shape=template.shape, raw=(np.frombuffer(column.raw, "<f4") * factor).astype("<f4").tobytes())
    return answer


@dataclass
class GraphStand:
    """A stand whose worker holds models that multiply, fail, or say nothing, and graphs of them."""

    stand: Stand
    worker: FakeWorker
    runs: GraphRuns
    held: list[ReplicaStatus] = field(default_factory=list)
    revision: int = 1

    def hold(self, *graphs: ReplicaStatus) -> None:
        self.held += graphs
        self.revision += 1
        self.stand.dispatch.follow(self.worker.worker_id, self.worker.status(*self.held, revision=self.revision))

    async def ask(self, *rows: list[float], model: str = "graph", deadline: float = float("inf"), key: str | None = None, **fields: object):
        self.stand.take(request(rows or [[1.0, 2.0]], model=model, **fields), deadline=deadline, key=key)  # type: ignore[arg-type]
        front = self.stand.front
        await self.until(lambda: bool(front.answers or front.errors))
        return front.answers[1] if front.answers else front.errors[1]

    def replicas_asked(self) -> list[int]:
        return [chunk.replica_id for chunk in self.worker.chunks]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not holds():
                await asyncio.sleep(0.001)


@asynccontextmanager
async def graph_standing(
    folder: Path, *, routes: RoutesInForce | None = None, observing: Observing | None = None
) -> AsyncIterator[GraphStand]:
    worker = await FakeWorker(folder / "w.sock", "worker-0", "instance-0", answer=multiplied).start()
    held = [
        replica("double", "1", replica_id=DOUBLE),
        replica("double", "2", replica_id=DOUBLE + 100),
        replica("triple", "1", replica_id=TRIPLE),
        replica("failing", "1", replica_id=FAILING),
        replica("mute", "1", replica_id=MUTE),
    ]
    async with standing([worker], [worker.status(*held)], routes=routes, observing=observing) as stand:
        runs = graphs_of(stand.dispatch, time.monotonic)
        async with runs.open():
            with pumping((runs.calls,), stand.inference, stand.dispatch):
                yield GraphStand(stand, worker, runs, held)
    worker.kill()


def rows_of(answer: object) -> list[list[float]]:
    assert not isinstance(answer, ServingError), answer
    return np.frombuffer(answer.raw_output_contents[0], "<f4").reshape(tuple(answer.outputs[0].shape)).tolist()  # type: ignore[attr-defined]
