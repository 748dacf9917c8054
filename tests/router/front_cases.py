"""What the front port suite needs of a front: the front itself, and a client that calls it over its own protocol.

A case is an async context manager that takes Limits and gives a FrontCase; `CASES` names them all. `call` takes an OIP request as
bytes and gives the OIP response as bytes, so a front that speaks something else translates in its case. Cancelling the task that runs
`call` is how a client leaves. A refusal is raised as `Refusal`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from penstock.contracts.errors import ServingError
from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2.services import INFERENCE_SERVICE
from services.chassis.clock import SystemClock
from services.router.call_buffer import CallBuffer
from services.router.column_front import MODULE, ColumnFront, ColumnFrontOptions
from services.router.front import NO_DEADLINE, Front, Wave
from services.router.grpcio_front import GrpcioFront, GrpcioOptions
from services.router.health_servicer import HealthServicer
from services.router.native_front import NativeFront, NativeFrontOptions
from services.router.oip_servicer import OipServicer
from tests.router.control_stand import control_stand
from tests.router.http_case import HttpRefusal, http_face

MODEL_INFER = f"/{INFERENCE_SERVICE}/ModelInfer"
UNBOUNDED = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]


@dataclass(frozen=True)
class Limits:
    """Limits that a case's front is opened with."""

    message_bytes: int = 1 << 20
    open_calls: int = 4096


@dataclass
class Refusal(Exception):
    """What a client sees of a refused call; None for what the protocol does not carry."""

    code: int
    """gRPC status code; for HTTP the one of the same row of the status table."""
    reason: str | None = None
    message: str | None = None
    retry_after_ms: int | None = None


class Call(Protocol):
    def __call__(
        self, payload: bytes, *, key: str | None = None, timeout_seconds: float | None = None, trace: str | None = None
    ) -> Awaitable[bytes]: ...


@dataclass
class FrontCase:
    front: Front
    call: Call
    disconnect: Callable[[], Awaitable[None]]
    """Break the client's connection, with everything that is open on it."""
    carries_details: bool = True
    """Whether a refusal's field and retry delay reach the client in structured form."""
    reader: Reader = field(init=False)

    def __post_init__(self) -> None:
        self.reader = Reader(self.front)


class Reader:
    """The router's side: takes waves whenever the front's descriptor is readable."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._arrived = asyncio.Event()
        self.calls: list[tuple[int, bytes, str | None, float, str | None]] = []
        self.cancelled: list[int] = []
        asyncio.get_running_loop().add_reader(front.fileno(), self._take)

    def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._front.fileno())

    def _take(self) -> None:
        wave = self._front.recv_wave(256)
        check_columns(wave)
        self.calls += zip(wave.call_ids, wave.payloads, wave.keys, wave.deadlines, wave.traces, strict=True)
        self.cancelled += wave.cancelled
        self._arrived.set()

    async def receive(self, count: int = 1) -> list[tuple[int, bytes, str | None, float, str | None]]:
        """Return the first `count` calls, as soon as they are there."""
        while len(self.calls) < count:
            self._arrived.clear()
            await self._arrived.wait()
        taken, self.calls = self.calls[:count], self.calls[count:]
        return taken

    async def cancellations(self, count: int = 1) -> list[int]:
        while len(self.cancelled) < count:
            self._arrived.clear()
            await self._arrived.wait()
        return self.cancelled


def check_columns(wave: Wave) -> None:
    assert {len(wave.payloads), len(wave.keys), len(wave.deadlines), len(wave.traces)} == {len(wave.call_ids)}


def request(name: str = "a", size: int = 8) -> bytes:
    """Return a valid request whose id is `name` and whose one tensor holds `size` bytes."""
    tensor = pb.ModelInferRequest.InferInputTensor(name="x", datatype="UINT8", shape=[1, size])
    return pb.ModelInferRequest(model_name="echo", id=name, inputs=[tensor], raw_input_contents=[bytes(size)]).SerializeToString()


def answer_to(payload: bytes) -> bytes:
    """Return a response that repeats the request's id and tensor."""
    asked = pb.ModelInferRequest.FromString(payload)
    outputs = [pb.ModelInferResponse.InferOutputTensor(name="y", datatype=each.datatype, shape=each.shape) for each in asked.inputs]
    answer = pb.ModelInferResponse(
        model_name=asked.model_name, model_version="1", id=asked.id, outputs=outputs, raw_output_contents=asked.raw_input_contents
    )
    return answer.SerializeToString()


def id_of(response: bytes) -> str:
    return pb.ModelInferResponse.FromString(response).id


@asynccontextmanager
async def buffer_case(limits: Limits) -> AsyncIterator[FrontCase]:
    buffer = CallBuffer(limit=limits.open_calls)
    calls: set[asyncio.Task[bytes]] = set()

    async def call(payload: bytes, *, key: str | None = None, timeout_seconds: float | None = None, trace: str | None = None) -> bytes:
        deadline = NO_DEADLINE if timeout_seconds is None else asyncio.get_running_loop().time() + timeout_seconds
        mine = asyncio.current_task()
        assert mine is not None
        calls.add(mine)
        try:
            return await buffer.submit(payload, key=key, deadline=deadline, trace=trace)
        except ServingError as error:
            retry = error.retry_after_seconds
            raise Refusal(int(error.status.grpc), error.reason, error.message, None if retry is None else round(retry * 1000)) from None
        finally:
            calls.discard(mine)

    async def disconnect() -> None:
        for each in calls:
            each.cancel()

    case = FrontCase(front=buffer, call=call, disconnect=disconnect)
    yield case
    case.reader.stop()
    buffer.close()


@asynccontextmanager
async def native_case(limits: Limits) -> AsyncIterator[FrontCase]:
    options = NativeFrontOptions(port=0, message_limit_bytes=limits.message_bytes, open_calls_limit=limits.open_calls)
    async with NativeFront(options) as front, grpc_client(f"127.0.0.1:{front.port}") as (call, disconnect):
        case = FrontCase(front=front, call=call, disconnect=disconnect)
        yield case
        case.reader.stop()


@asynccontextmanager
async def column_case(limits: Limits) -> AsyncIterator[FrontCase]:
    options = ColumnFrontOptions(port=0, message_limit_bytes=limits.message_bytes, open_calls_limit=limits.open_calls)
    async with ColumnFront(options) as front, grpc_client(f"127.0.0.1:{front.port}") as (call, disconnect):
        case = FrontCase(front=front, call=call, disconnect=disconnect)
        yield case
        case.reader.stop()


@asynccontextmanager
async def grpcio_case(limits: Limits) -> AsyncIterator[FrontCase]:
    stand = control_stand()
    buffer = CallBuffer(limit=limits.open_calls)
    services = (OipServicer(buffer, stand.control), HealthServicer(stand.control.directory, SystemClock()))
    with TemporaryDirectory(prefix="ps-", dir="/tmp") as folder:
        options = GrpcioOptions(target=f"unix:{Path(folder) / 's'}", message_limit_bytes=limits.message_bytes)
        async with (
            GrpcioFront(options, buffer, services, stand.control.tenants) as front,
            grpc_client(options.target) as (call, disconnect),
        ):
            case = FrontCase(front=front, call=call, disconnect=disconnect)
            yield case
            case.reader.stop()


@asynccontextmanager
async def http_case(limits: Limits) -> AsyncIterator[FrontCase]:
    async with http_face(message_bytes=limits.message_bytes, open_calls=limits.open_calls) as (front, client):

        async def call(payload: bytes, *, key: str | None = None, timeout_seconds: float | None = None, trace: str | None = None) -> bytes:
            try:
                return await client.call(payload, key=key, timeout_seconds=timeout_seconds, trace=trace)
            except HttpRefusal as error:
                raise Refusal(error.code, error.reason, error.message, error.retry_after_ms) from None

        case = FrontCase(front=front, call=call, disconnect=client.disconnect)
        yield case
        case.reader.stop()


@asynccontextmanager
async def grpc_client(target: str) -> AsyncIterator[tuple[Call, Callable[[], Awaitable[None]]]]:
    """Give a caller of ModelInfer over a plain grpcio channel of its own."""
    async with grpc.aio.insecure_channel(target, options=UNBOUNDED) as channel:
        infer = channel.unary_unary(MODEL_INFER)

        async def call(payload: bytes, *, key: str | None = None, timeout_seconds: float | None = None, trace: str | None = None) -> bytes:
            metadata = [(name, value) for name, value in (("x-api-key", key), ("traceparent", trace)) if value is not None]
            try:
                return await infer(payload, metadata=metadata, timeout=timeout_seconds)
            except grpc.aio.AioRpcError as error:
                raise refusal(error) from None

        async def disconnect() -> None:
            await channel.close()

        yield call, disconnect


def refusal(error: grpc.aio.AioRpcError) -> Refusal:
    """Read a gRPC error with its trailers; the structured details must agree with the plain ones."""
    trailers = dict(error.trailing_metadata() or ())
    reason, pushback = trailers.get("penstock-reason"), trailers.get("penstock-retry-after-ms")
    assert trailers.get("grpc-retry-pushback-ms", pushback) == pushback
    if reason is not None:
        status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
        info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
        for detail in status.details:
            detail.Unpack(info)
            detail.Unpack(retry)
        assert (status.code, status.message) == (error.code().value[0], error.details())
        assert (info.reason, info.domain) == (reason, "penstock")
        assert retry.retry_delay.ToMilliseconds() == int(pushback or 0)
    return Refusal(error.code().value[0], reason, error.details(), None if pushback is None else int(pushback))


CASES: dict[str, Callable[[Limits], AbstractAsyncContextManager[FrontCase]]] = {
    "call_buffer": buffer_case,
    "native": native_case,
    "grpcio": grpcio_case,
    "http": http_case,
}
if find_spec(MODULE) is not None:  # an extension of its own, which only machines with cargo have built
    CASES["columns"] = column_case
