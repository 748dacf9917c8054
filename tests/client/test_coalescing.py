"""Calls that wait at the same time travel as one request, and none of them pays for the others."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from penstock import AsyncClient, Client, ClientOptions
from penstock.contracts.errors import InvalidInput
from penstock.oip.v2 import inference_pb2 as pb
from tests.client.far import Far, Infer, Together, doubled


def gated(gate: threading.Event) -> Infer:
    def infer(request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:
        if request.raw_input_contents[0] == np.zeros((1, 2), np.float32).tobytes():
            gate.wait(30)
        return doubled(request)

    return infer


async def test_calls_that_wait_together_travel_together(far: Far):
    gate = threading.Event()
    far.infer = gated(gate)
    async with AsyncClient(far.target, ClientOptions(coalesce=True)) as client:
        first = asyncio.create_task(client.predict("m", {"x": np.zeros((1, 2), np.float32)}))
        while not far.requests:
            await asyncio.sleep(0.001)
        rest = [asyncio.create_task(client.predict("m", {"x": np.full((1, 2), n, np.float32)}, request_id=str(n))) for n in range(1, 21)]
        await asyncio.sleep(0)
        gate.set()
        await first
        answers = await asyncio.gather(*rest)

    assert [answer["y"].tolist() for answer in answers] == [[[2 * n, 2 * n]] for n in range(1, 21)]
    assert [answer.request_id for answer in answers] == [str(n) for n in range(1, 21)]
    assert len(far.requests) < 10


def test_threads_that_wait_together_travel_together(far: Far):
    gate = threading.Event()
    far.infer = gated(gate)
    with Client(far.target, ClientOptions(coalesce=True)) as client, ThreadPoolExecutor(24) as pool:
        first = pool.submit(client.predict, "m", {"x": np.zeros((1, 2), np.float32)})
        while not far.requests:
            time.sleep(0.001)
        rest = [pool.submit(client.predict, "m", {"x": np.full((1, 2), n, np.float32)}) for n in range(1, 21)]
        while sum(len(waiting) for waiting in client._waiting.values()) < 20:
            time.sleep(0.001)
        gate.set()
        first.result(30)
        answers = [future.result(30) for future in rest]

    assert [answer["y"].tolist() for answer in answers] == [[[2 * n, 2 * n]] for n in range(1, 21)]
    assert len(far.requests) < 10


def refusing_more_than(rows: int, inner: Infer) -> Infer:
    """Refuse what a model of so many rows a batch refuses, and rows below zero."""

    def infer(request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:
        given = np.frombuffer(request.raw_input_contents[0], "<f4")
        if request.inputs[0].shape[0] > rows or (given < 0).any():
            context.set_trailing_metadata((("penstock-reason", "BATCH_TOO_LARGE"),))
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "too many rows, or below zero")
        return inner(request, context)

    return infer


async def test_nobody_is_refused_for_how_many_rows_all_have_together(far: Far, together: Together):
    far.infer = refusing_more_than(4, gated(together.gate))
    answers = await together.ask(range(1, 21))

    assert [answer["y"].tolist() for answer in answers] == [[[2 * n, 2 * n]] for n in range(1, 21)]
    assert max(len(request.raw_input_contents[0]) // 8 for request in far.requests) > 4


async def test_nobody_is_refused_for_the_rows_of_others(far: Far, together: Together):
    far.infer = refusing_more_than(32, gated(together.gate))
    answers = await together.ask([1, 2, -3, 4, 5])

    assert [None if isinstance(answer, InvalidInput) else answer["y"].tolist() for answer in answers] == [
        [[2, 2]],
        [[4, 4]],
        None,
        [[8, 8]],
        [[10, 10]],
    ]


@pytest.mark.parametrize("kind", ["threads", "asyncio"])
async def test_a_call_that_cannot_be_sent_leaves_the_next_ones_alone(far: Far, kind: str):
    unsendable = {"x": np.array([["\ud800"]], dtype=object)}
    sendable = {"x": np.array([["text"]], dtype=object)}
    far.infer = lambda request, _context: pb.ModelInferResponse(model_name=request.model_name)
    options = ClientOptions(coalesce=True)
    if kind == "threads":
        with Client(far.target, options) as client:
            with pytest.raises(InvalidInput, match="UTF-8"):
                await asyncio.to_thread(client.predict, "m", unsendable)
            answer = await asyncio.to_thread(client.predict, "m", sendable)
    else:
        async with AsyncClient(far.target, options) as client:
            with pytest.raises(InvalidInput, match="UTF-8"):
                await client.predict("m", unsendable)
            answer = await client.predict("m", sendable)

    assert answer.model == "m"


async def test_a_joined_request_has_the_time_that_its_callers_have(far: Far):
    told: list[float] = []

    def infer(request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:
        told.append(context.time_remaining())
        return doubled(request)

    far.infer = infer
    options = ClientOptions(timeout_seconds=20.0, coalesce=True)
    async with AsyncClient(far.target, options) as client:
        await client.predict("m", {"x": np.ones((1, 2), np.float32)}, timeout_seconds=500.0)
    with Client(far.target, options) as client:
        await asyncio.to_thread(client.predict, "m", {"x": np.ones((1, 2), np.float32)}, timeout_seconds=500.0)

    assert min(told) > 100
