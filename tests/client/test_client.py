"""Both clients against a real gRPC server that answers what each test decides."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import grpc
import numpy as np
import pytest

from penstock import AsyncClient, Client, ClientOptions
from penstock.client.retry import RetryPolicy
from penstock.contracts.errors import (
    CallerLeft,
    DeadlineExceeded,
    Internal,
    InvalidInput,
    ModelNotFound,
    NoReadyReplica,
    QuotaExceeded,
    Unavailable,
)
from penstock.oip.v2 import inference_pb2 as pb
from tests.client.far import Far, Predict, doubled, refusing


async def test_arrays_come_back_as_arrays(predict: Predict):
    prediction = await predict("m", {"x": np.array([[1, 2], [3, 4]], dtype=np.float32)}, request_id="r1")

    assert prediction["y"].tolist() == [[2, 4], [6, 8]]
    assert (prediction.model, prediction.version, prediction.request_id) == ("m", "7", "r1")


@pytest.mark.parametrize("inputs", [{"x": [[1, 2]]}, [[1, 2]], np.array([[1, 2]], dtype=np.float32)])
async def test_lists_and_bare_values_take_name_and_type_from_the_model(predict: Predict, far: Far, inputs: Any):
    assert (await predict("m", inputs))["y"].tolist() == [[2, 4]]
    assert (far.requests[0].inputs[0].name, far.requests[0].inputs[0].datatype) == ("x", "FP32")


async def test_everything_asked_for_reaches_the_server(predict: Predict, far: Far):
    wanted = {"version": "v3", "outputs": ["y"], "routing_key": "user-1", "priority": 2, "parameters": {"a": True, "b": 1.5}}
    await predict("m", {"x": np.ones((1, 2), np.float32)}, **wanted, traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    asked = far.requests[0]

    assert asked.model_version == "v3"
    assert [output.name for output in asked.outputs] == ["y"]
    assert asked.parameters["routing_key"].string_param == "user-1"
    assert asked.parameters["priority"].uint64_param == 2
    assert asked.parameters["a"].bool_param
    assert asked.parameters["b"].double_param == 1.5
    assert far.metadata[0]["x-api-key"] == "secret"
    assert far.metadata[0]["traceparent"].startswith("00-1111")


async def test_errors_are_of_the_class_the_server_meant(predict: Predict, far: Far):
    far.infer = refusing(1, "MODEL_NOT_FOUND")

    with pytest.raises(ModelNotFound, match="not now"):
        await predict("m", {"x": np.ones((1, 2), np.float32)})
    assert len(far.requests) == 1


@pytest.mark.parametrize("name", ["grpc-retry-pushback-ms", "penstock-retry-after-ms"])
async def test_a_retryable_refusal_is_tried_again_and_the_advice_is_obeyed(predict: Predict, far: Far, name: str):
    far.infer = refusing(1, "QUOTA", pushback_ms=120, name=name)
    started = time.monotonic()

    assert (await predict("m", {"x": np.ones((1, 2), np.float32)}))["y"].tolist() == [[2, 2]]
    assert len(far.requests) == 2
    assert time.monotonic() - started >= 0.12


async def test_advice_beyond_the_deadline_is_the_end(predict: Predict, far: Far):
    far.infer = refusing(9, "QUOTA", pushback_ms=60_000)

    with pytest.raises(QuotaExceeded) as refused:
        await predict("m", {"x": np.ones((1, 2), np.float32)})
    assert refused.value.retry_after_seconds == 60.0
    assert len(far.requests) == 1


async def test_tries_are_bounded(predict: Predict, far: Far):
    far.infer = refusing(99, "NO_READY_REPLICA")

    with pytest.raises(NoReadyReplica):
        await predict("m", {"x": np.ones((1, 2), np.float32)})
    assert len(far.requests) == 3


async def test_a_server_that_does_not_answer_costs_the_deadline_and_no_more(predict: Predict, far: Far):
    release = threading.Event()

    def stuck(request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:
        release.wait(30)
        return doubled(request)

    far.infer = stuck
    with pytest.raises(DeadlineExceeded):
        await predict("m", {"x": np.ones((1, 2), np.float32)}, timeout_seconds=0.2)
    release.set()


@pytest.mark.parametrize("inputs", [{"q": [[1, 2]]}, {"x": [[1], [2, 3]]}, {"x": [["a", "b"]]}])
async def test_values_that_cannot_be_sent_are_refused_here(predict: Predict, inputs: Any):
    with pytest.raises(InvalidInput):
        await predict("m", inputs)


def test_a_server_that_is_not_there_is_unavailable():
    options = ClientOptions(timeout_seconds=1.0, retries=RetryPolicy(attempts=1))
    with Client("127.0.0.1:9", options) as client:
        assert not client.is_ready()
        with pytest.raises(Unavailable):
            client.predict("m", {"x": np.ones((1, 2), np.float32)})


@pytest.mark.parametrize(
    "asked",
    [
        {"request_id": "\ud800"},
        {"version": "\ud800"},
        {"outputs": ["\ud800"]},
        {"priority": -1},
        {"parameters": {"a": 2**64}},
        {"parameters": {"a": None}},
        {"parameters": {"a": "\ud800"}},
    ],
)
async def test_what_no_request_can_hold_is_refused_here(predict: Predict, far: Far, asked: Any):
    with pytest.raises(InvalidInput):
        await predict("m", {"x": np.ones((1, 2), np.float32)}, **asked)
    assert not far.requests


@pytest.mark.parametrize(("datatype", "raws"), [("FP32", [b"123"]), ("FP32", []), ("FP31", [b"1234"])])
async def test_an_answer_that_breaks_the_protocol_is_nobodys_input(predict: Predict, far: Far, datatype: str, raws: list[bytes]):
    def infer(request: pb.ModelInferRequest, _context: grpc.ServicerContext) -> pb.ModelInferResponse:
        answer = pb.ModelInferResponse(raw_output_contents=raws)
        answer.outputs.add(name="y", datatype=datatype, shape=[1])
        return answer

    far.infer = infer
    with pytest.raises(Internal, match="answer"):
        await predict("m", {"x": np.ones((1, 2), np.float32)})


async def test_numbers_of_64_bits_reach_the_server(predict: Predict, far: Far):
    await predict("m", {"x": np.ones((1, 2), np.float32)}, parameters={"a": 2**64 - 1, "b": -(2**63)})

    assert far.requests[0].parameters["a"].uint64_param == 2**64 - 1
    assert far.requests[0].parameters["b"].int64_param == -(2**63)


async def test_a_call_without_any_time_is_not_made(predict: Predict, far: Far):
    with pytest.raises(DeadlineExceeded):
        await predict("m", {"x": np.ones((1, 2), np.float32)}, timeout_seconds=0)
    assert not far.requests


@pytest.mark.parametrize("coalesce", [False, True])
async def test_a_closed_client_says_so_to_calls_under_way_and_to_later_ones(far: Far, coalesce: bool):
    release = threading.Event()

    def stuck(request: pb.ModelInferRequest, _context: grpc.ServicerContext) -> pb.ModelInferResponse:
        release.wait(30)
        return doubled(request)

    far.infer = stuck
    options, given = ClientOptions(timeout_seconds=600.0, coalesce=coalesce), {"x": np.ones((1, 2), np.float32)}
    in_threads, in_loop = Client(far.target, options), AsyncClient(far.target, options)
    under_way = [asyncio.create_task(asyncio.to_thread(in_threads.predict, "m", given)), asyncio.create_task(in_loop.predict("m", given))]
    while len(far.requests) < 2:
        await asyncio.sleep(0.001)
    in_threads.close()
    await in_loop.close()
    ended = await asyncio.wait_for(asyncio.gather(*under_way, return_exceptions=True), 30)
    release.set()

    assert [type(error) for error in ended] == [CallerLeft, CallerLeft]
    with pytest.raises(CallerLeft, match="closed"):
        await asyncio.to_thread(in_threads.predict, "m", given)
    with pytest.raises(CallerLeft, match="closed"):
        await in_loop.predict("m", given)
    assert not await asyncio.to_thread(in_threads.is_ready)
    assert not await in_loop.is_ready()


def test_both_clients_have_the_same_calls():
    def calls(kind: type) -> set[str]:
        return {name for name in vars(kind) if not name.startswith("_")}

    assert calls(AsyncClient) == calls(Client)
