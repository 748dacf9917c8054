"""A front without a network and a stand that joins it to the inference path and a far end that speaks the link protocol."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np

from penstock.contracts.errors import ServingError
from penstock.oip.v2 import inference_pb2 as pb
from services.mesh.dispatch import Dispatch
from services.mesh.route_table import RouteTable
from services.router.asking import AskingWorkers
from services.router.fallback import FallbackChain, Surroundings
from services.router.front import NO_DEADLINE, Wave
from services.router.inference import Inference
from services.router.observing import Observing
from services.router.outcomes import RouterMetrics
from services.router.result_cache import ResultCache
from services.router.routes_in_force import RoutesInForce
from services.router.shadowing import Shadowing
from services.router.shared_answers import SharedAnswers
from services.router.tenants import Tenants
from services.router.understanding import Understanding
from tests.mesh.conftest import FakeWorker


@dataclass
class PaperFront:
    """Keeps what it is answered; every call may be answered once."""

    answers: dict[int, pb.ModelInferResponse] = field(default_factory=dict)
    errors: dict[int, ServingError] = field(default_factory=dict)

    def fileno(self) -> int:
        return -1

    def recv_wave(self, limit: int) -> Wave:
        return Wave()

    def respond_many(self, call_ids: Sequence[int], payloads: Sequence[bytes]) -> None:
        for call_id, payload in zip(call_ids, payloads, strict=True):
            assert call_id not in self.answers
            assert call_id not in self.errors
            self.answers[call_id] = pb.ModelInferResponse.FromString(payload)

    def fail_many(self, call_ids: Sequence[int], errors: Sequence[ServingError]) -> None:
        for call_id, error in zip(call_ids, errors, strict=True):
            assert call_id not in self.answers
            assert call_id not in self.errors
            self.errors[call_id] = error

    async def drain(self, deadline: float) -> None:
        return

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while len(self.answers) + len(self.errors) < count:
                await asyncio.sleep(0.001)


def request(values: Sequence[Sequence[float]], *, model: str = "echo", **fields: Any) -> pb.ModelInferRequest:
    array = np.array(values, dtype=np.float32)
    asked = pb.ModelInferRequest(model_name=model, **fields)
    asked.inputs.add(name="x", datatype="FP32", shape=array.shape)
    asked.raw_input_contents.append(array.tobytes())
    return asked


def wave_of(
    requests: Sequence[pb.ModelInferRequest | bytes], *, first_id: int = 1, key: str | None = None, deadline: float = NO_DEADLINE
) -> Wave:
    count = len(requests)
    return Wave(
        call_ids=list(range(first_id, first_id + count)),
        payloads=[one if isinstance(one, bytes) else one.SerializeToString() for one in requests],
        keys=[key] * count,
        deadlines=[deadline] * count,
        traces=[None] * count,
    )


@dataclass
class Stand:
    """Everything between a front and a worker's socket."""

    inference: Inference
    dispatch: Dispatch
    table: RouteTable
    tenants: Tenants
    shared: SharedAnswers
    metrics: RouterMetrics
    understanding: Understanding
    observing: Observing | None
    front: PaperFront = field(default_factory=PaperFront)

    def take(
        self, *requests: pb.ModelInferRequest | bytes, first_id: int = 1, key: str | None = None, deadline: float = NO_DEADLINE
    ) -> None:
        self.inference.take(self.front, wave_of(requests, first_id=first_id, key=key, deadline=deadline))


@asynccontextmanager
async def standing(
    workers: Sequence[FakeWorker],
    statuses: Sequence[Any] | None = None,
    *,
    routes: RoutesInForce | None = None,
    observing: Observing | None = None,
    shared: SharedAnswers | None = None,
) -> AsyncIterator[Stand]:
    table, tenants = RouteTable(None if routes is None else routes.plans), Tenants()
    dispatch = Dispatch(table, router_id="router", clock=time.monotonic, random=Random(1))
    metrics = RouterMetrics()
    understanding = Understanding(table, metrics)
    dispatch.on_change(understanding.forget)
    if routes is not None:
        routes.on_change(understanding.follow_route)
    shared = shared or SharedAnswers(ResultCache(), clock=time.monotonic)
    inference = Inference(understanding, dispatch, tenants, clock=time.monotonic, shared=shared, metrics=metrics, observing=observing)
    if routes is not None:
        around = Surroundings(table=table, understanding=understanding, dispatch=dispatch, cache=shared.cache, clock=time.monotonic)
        inference.fallback = FallbackChain(around)
        inference.shadowing = shadowing = Shadowing(table, dispatch, time.monotonic)
        routes.on_change(lambda _model: shadowing.follow_routes(routes.plans.values()))
        if observing is not None:
            observing.shadowing, shared.observing = shadowing, observing
    shared.ask_workers = AskingWorkers(inference, dispatch, time.monotonic)
    task = asyncio.create_task(dispatch.run())
    await asyncio.sleep(0)
    for worker, status in zip(workers, statuses or [worker.status() for worker in workers], strict=True):
        dispatch.follow(worker.worker_id, status)
    async with asyncio.timeout(30):
        while sum(link.is_up for link in dispatch.links) < len(workers):
            await asyncio.sleep(0.001)
    try:
        yield Stand(inference, dispatch, table, tenants, shared, metrics, understanding, observing)
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
