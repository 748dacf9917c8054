"""A real gRPC server that answers what each test decides."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np

from penstock import AsyncClient, Client, ClientOptions, Prediction
from penstock.contracts.errors import error_from
from penstock.oip.v2 import inference_pb2 as pb

Predict = Callable[..., Awaitable[Prediction]]
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


class Together:
    """Calls of one client that wait while the one before them, a row of zeros, is held at the gate."""

    def __init__(self, far: Far, kind: str) -> None:
        self.gate = threading.Event()
        self._far = far
        self._kind = kind

    async def ask(self, numbers: Iterable[int]) -> list[Any]:
        """Ask for a row of each number; return answers and errors, in the same order."""
        options = ClientOptions(coalesce=True)
        if self._kind == "asyncio":
            async with AsyncClient(self._far.target, options) as client:
                return await self._asked(client.predict, client._waiting, numbers)
        loop = asyncio.get_running_loop()
        with Client(self._far.target, options) as client, ThreadPoolExecutor(32) as pool:
            return await self._asked(lambda *given: loop.run_in_executor(pool, client.predict, *given), client._waiting, numbers)

    async def _asked(self, predict: Predict, waiting: Mapping[object, list[Any]], numbers: Iterable[int]) -> list[Any]:
        first = asyncio.ensure_future(predict("m", {"x": np.zeros((1, 2), np.float32)}))
        while not self._far.requests:
            await asyncio.sleep(0.001)
        rest = [asyncio.ensure_future(predict("m", {"x": np.full((1, 2), number, np.float32)})) for number in numbers]
        while sum(map(len, waiting.values())) < len(rest):
            await asyncio.sleep(0.001)
        self.gate.set()
        await first
        return await asyncio.gather(*rest, return_exceptions=True)
