"""A real HTTP front on loopback, in front of models that are honest NumPy functions.

Everything from the socket to the call buffer and back is the real thing; only what stands behind the buffer is ours: it parses each
request, checks it against the model's signature and computes.
"""

from __future__ import annotations

import asyncio
import functools
import http.client
import json
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import uvloop

from penstock.contracts.errors import DeadlineExceeded, Internal, ServingError
from penstock.contracts.signature import GivenInput, check_inputs, check_outputs
from penstock.contracts.tensors import DataType, decode, encode
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2.model_config_pb2 import ModelConfig
from services.mesh.route_table import RouteTable
from services.router.classification import classify
from services.router.control import Control
from services.router.directory import Directory
from services.router.front import Wave
from services.router.http_front import HttpFront, HttpOptions, open_http
from services.router.runtime_settings import LogSettings, TraceSettings
from services.router.scan import interpret
from services.router.tenants import Tenants
from tests.router.http_models import Model, models


def on_uvloop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on the loop that routers run on."""

    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(test(*args, **named))

    return run


@dataclass
class Kept:
    """Settings that only remember."""

    values: list[Any] = field(default_factory=list)

    def set_level(self, level: Any) -> None:
        self.values.append(level)

    def set_ratio(self, ratio: float) -> None:
        self.values.append(ratio)


class Loop:
    """Takes waves off the buffer and computes; `hold` keeps calls open until `release`."""

    def __init__(self, front: HttpFront, table: RouteTable, tenants: Tenants) -> None:
        served = models()
        self.front = front
        self.table = table
        self.tenants = tenants
        self.by_version = {(model.name, model.version): model for model in served}
        self.newest = {model.name: model for model in reversed(served)}
        self.is_holding = False
        self.held: list[tuple[int, pb.ModelInferRequest]] = []
        self.cancelled: list[int] = []
        self.seen: list[pb.ModelInferRequest] = []
        self.waves: list[Wave] = []
        self.failure: ServingError | None = None
        asyncio.get_running_loop().add_reader(front.fileno(), self._on_wave)

    def _on_wave(self) -> None:
        wave = self.front.recv_wave(1024)
        self.waves.append(wave)
        self.cancelled += wave.cancelled
        for index, (call_id, payload) in enumerate(zip(wave.call_ids, wave.payloads, strict=True)):
            request = pb.ModelInferRequest.FromString(payload)
            self.seen.append(request)
            if self.is_holding:
                self.held.append((call_id, request))
            else:
                self.answer(call_id, request, wave.keys[index], wave.deadlines[index])

    def release(self) -> None:
        self.is_holding = False
        held, self.held = self.held, []
        for call_id, request in held:
            self.answer(call_id, request)

    def answer(self, call_id: int, request: pb.ModelInferRequest, key: str | None = None, deadline: float = float("inf")) -> None:
        try:
            self.tenants.of(key)
            if self.failure is not None:
                raise self.failure
            if deadline < time.monotonic():
                raise DeadlineExceeded("too late")
            self.front.respond_many([call_id], [self.compute(request).SerializeToString()])
        except ServingError as error:
            self.front.fail_many([call_id], [error])
        except Exception as error:
            self.front.fail_many([call_id], [Internal(f"internal error: {error}")])
            raise

    def compute(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        interpret(request)
        name, version = request.model_name, request.model_version
        self.table.resolve(name, version)
        model = self.by_version[name, version] if version else self.newest[name]
        signature = model.signature
        given = [GivenInput(name=one.name, datatype=one.datatype, shape=tuple(one.shape)) for one in request.inputs]
        check_inputs(signature, given)
        positions = check_outputs(signature, [one.name for one in request.outputs])
        raws = request.raw_input_contents
        arrays = {one.name: decode(one.name, DataType(one.datatype), one.shape, raw) for one, raw in zip(given, raws, strict=True)}
        computed = model.run(arrays)
        answer = pb.ModelInferResponse(model_name=name, model_version=model.version, id=request.id)
        for index, position in enumerate(positions):
            told = signature.outputs[position]
            if told.name not in computed:
                continue
            count = request.outputs[index].parameters["classification"].int64_param if request.outputs else 0
            array, kind = computed[told.name], told.datatype
            if count:
                array, kind = classify(array, told, count, has_batch_dimension=signature.has_batch_dimension), DataType.BYTES
            answer.outputs.add(name=told.name, datatype=kind.value, shape=array.shape)
            answer.raw_output_contents.append(bytes(encode(array, kind)))
        return answer


@dataclass
class Stand:
    """The running server, and clients of it. Blocking clients run in a thread, beside the loop."""

    front: HttpFront
    loop: Loop
    control: Control
    tenants: Tenants

    @property
    def port(self) -> int:
        return self.front.port

    async def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        return await asyncio.to_thread(self._ask, method, path, body, dict(headers or {}))

    async def post(self, path: str, document: Any, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.ask("POST", path, json.dumps(document), {"content-type": "application/json", **(headers or {})})

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Reply:
        return await self.ask("GET", path, headers=headers)

    async def raw(self, sent: bytes, *, until_close: bool = True, answers: int = 1) -> bytes:
        """Send bytes and return what comes back: until the server closes, or until that many answers are complete."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(sent)
            received = bytearray()
            async with asyncio.timeout(20):
                while until_close or received.count(b"HTTP/1.1 ") < answers or not _is_complete(received):
                    piece = await reader.read(65536)
                    if not piece:
                        break
                    received += piece
            return bytes(received)
        finally:
            writer.close()

    def _ask(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()


@dataclass
class Reply:
    """An answer as a client has it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def _is_complete(received: bytearray) -> bool:
    head, found, body = bytes(received).rpartition(b"HTTP/1.1 ")[2].partition(b"\r\n\r\n")
    if not found:
        return False
    length = next((line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), b"0")
    return len(body) >= int(length)


@asynccontextmanager
async def serving(options: HttpOptions | None = None, **more: Any) -> AsyncIterator[Stand]:
    table, tenants = RouteTable(), more.get("tenants") or Tenants()
    table.apply("w0", status_of(models()))
    directory = Directory(table)
    control = Control(
        tenants=tenants,
        directory=directory,
        statistics=more.get("statistics"),  # type: ignore[arg-type]
        repository=more.get("repository"),  # type: ignore[arg-type]
        log_settings=LogSettings(Kept()),
        trace_settings=TraceSettings(Kept()),
    )
    async with open_http(options or HttpOptions(port=0), control) as face:
        front = face.fronts[0]
        loop = Loop(front, table, tenants)
        try:
            yield Stand(front, loop, control, tenants)
        finally:
            asyncio.get_running_loop().remove_reader(front.fileno())


def status_of(served: Sequence[Model]) -> WorkerStatus:
    replicas = tuple(
        ReplicaStatus(
            replica_id=number,
            model=model.name,
            version=model.version,
            state=ReplicaState.READY,
            signature=model.signature,
            digest=f"{model.name}-{model.version}",
            model_config=ModelConfig(name=model.name, platform="onnxruntime_onnx", max_batch_size=model.max_batch_size).SerializeToString(),
        )
        for number, model in enumerate(served, 1)
    )
    return WorkerStatus(worker_id="w0", instance_id="i0", link_address="unix:/nowhere", replicas=replicas, settled=True)
