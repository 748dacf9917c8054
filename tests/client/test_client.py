"""Both clients against a real gRPC server that answers what each test decides."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest

from penstock import AsyncClient, Client, ClientOptions, Prediction
from penstock.client.retry import RetryPolicy
from penstock.contracts.errors import (
    DeadlineExceeded,
    InvalidInput,
    ModelNotFound,
    NoReadyReplica,
    QuotaExceeded,
    Unavailable,
    error_from,
)
from penstock.oip.v2 import inference_pb2 as pb

Infer = Callable[[pb.ModelInferRequest, grpc.ServicerContext], pb.ModelInferResponse]


def doubled(request: pb.ModelInferRequest, _context: Any = None) -> pb.ModelInferResponse:
    array = np.frombuffer(request.raw_input_contents[0], "<f4") * 2
    response = pb.ModelInferResponse(model_name=request.model_name, model_version="7", id=request.id)
    response.outputs.add(name="y", datatype="FP32", shape=request.inputs[0].shape)
    response.raw_output_contents.append(array.astype("<f4").tobytes())
    return response


class Far:
    """A server that keeps what it was asked."""

    def __init__(self) -> None:
        self.infer: Infer = doubled
        self.requests: list[pb.ModelInferRequest] = []
        self.metadata: list[dict[str, str]] = []
        handlers = {
            "ModelInfer": grpc.unary_unary_rpc_method_handler(
                self._infer, pb.ModelInferRequest.FromString, pb.ModelInferResponse.SerializeToString
            ),
            "ModelMetadata": grpc.unary_unary_rpc_method_handler(
                self._describe, pb.ModelMetadataRequest.FromString, pb.ModelMetadataResponse.SerializeToString
            ),
            "ServerReady": grpc.unary_unary_rpc_method_handler(
                lambda request, context: pb.ServerReadyResponse(ready=True),
                pb.ServerReadyRequest.FromString,
                pb.ServerReadyResponse.SerializeToString,
            ),
        }
        self.server = grpc.server(ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("inference.GRPCInferenceService", handlers),))
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    def _infer(self, request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:
        self.requests.append(request)
        self.metadata.append({key: value for key, value in context.invocation_metadata() if isinstance(value, str)})
        return self.infer(request, context)

    def _describe(self, request: pb.ModelMetadataRequest, context: grpc.ServicerContext) -> pb.ModelMetadataResponse:
        response = pb.ModelMetadataResponse(name=request.name, versions=["7"])
        response.inputs.add(name="x", datatype="FP32", shape=[-1, 2])
        return response


def refusing(times: int, reason: str, *, pushback_ms: int | None = None, name: str = "grpc-retry-pushback-ms") -> Infer:
    left = [times]

    def infer(request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:
        if left[0] > 0:
            left[0] -= 1
            error = error_from(reason, "not now")
            trailers = [("penstock-reason", reason)] + ([(name, str(pushback_ms))] if pushback_ms is not None else [])
            context.set_trailing_metadata(tuple(trailers))
            context.abort(next(code for code in grpc.StatusCode if code.value[0] == error.status.grpc), error.message)
        return doubled(request)

    return infer


@pytest.fixture
def far() -> Iterator[Far]:
    server = Far()
    yield server
    server.server.stop(0).wait()


Predict = Callable[..., Awaitable[Prediction]]


@pytest.fixture(params=["threads", "asyncio"])
async def predict(request: pytest.FixtureRequest, far: Far):
    """`Client.predict` in a thread, or `AsyncClient.predict`."""
    options = ClientOptions(api_key="secret", timeout_seconds=5.0)
    if request.param == "threads":
        with Client(far.target, options) as client:
            yield lambda *args, **kwargs: asyncio.to_thread(client.predict, *args, **kwargs)
    else:
        async with AsyncClient(far.target, options) as client:
            yield client.predict


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
