"""The whole gRPC face for tests: a control side over fakes, a router that echoes or refuses, and a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from importlib.util import find_spec
from typing import Any, TypeVar

import grpc
import grpc.aio
import pytest

from penstock.contracts.errors import InvalidInput
from penstock.contracts.worker_status import ReplicaState
from penstock.oip.v2 import inference_pb2 as pb
from penstock.oip.v2.health_pb2_grpc import HealthStub
from penstock.oip.v2.inference_pb2_grpc import GRPCInferenceServiceStub
from services.chassis.clock import SystemClock
from services.router.column_front import MODULE
from services.router.front import Front
from services.router.grpc_engine import Engine
from services.router.grpc_front import GrpcFace, GrpcOptions, open_grpc
from tests.router.control_stand import ControlStand, control_stand, replica
from tests.router.front_cases import UNBOUNDED, Reader, Refusal, answer_to, refusal
from tests.router.test_statistics import statistics

M = TypeVar("M")

ENGINES = [Engine.PYGRPC, Engine.GRPCIO, *([Engine.COLUMNS] if find_spec(MODULE) is not None else [])]
"""Our own is an extension that only machines with cargo have built."""


class Face:
    """An open face, its client, and a router that echoes or refuses."""

    def __init__(self, stand: ControlStand, face: GrpcFace, channel: grpc.aio.Channel) -> None:
        self.stand = stand
        self.face = face
        self.channel = channel
        self.oip = GRPCInferenceServiceStub(channel)
        self.health = HealthStub(channel)
        self.waiting: list[tuple[Front, int, bytes]] = []
        self.is_holding = False
        self.deadlines: list[float] = []
        self.received = asyncio.Event()
        self.readers = [_EchoReader(self, front) for front in face.fronts]

    def release(self) -> None:
        """Answer what was held back, last first."""
        for front, call_id, payload in reversed(self.waiting):
            front.respond_many([call_id], [answer_to(payload)])
        self.waiting = []

    async def waits(self, count: int) -> None:
        """Return when the router holds that many requests back."""
        while len(self.waiting) < count:
            self.received.clear()
            await self.received.wait()


class _EchoReader(Reader):
    def __init__(self, face: Face, front: Front) -> None:
        self._face = face
        super().__init__(front)

    def _take(self) -> None:
        super()._take()
        for call_id, payload, _, deadline, _ in self.calls:
            self._face.deadlines.append(deadline)
            asked = pb.ModelInferRequest.FromString(payload)
            if asked.id.startswith("bad"):
                self._front.fail_many([call_id], [InvalidInput("this one is bad", retry_after_seconds=0.25)])
            elif self._face.is_holding:
                self._face.waiting.append((self._front, call_id, payload))
            else:
                self._front.respond_many([call_id], [answer_to(payload)])
        self.calls = []
        self._face.received.set()


async def opened(stack: AsyncExitStack, options: GrpcOptions, credentials: grpc.ChannelCredentials | None = None) -> Face:
    stand = control_stand()
    stand.report(replicas=[replica(), replica(version="2", state=ReplicaState.FAILED, reason="no file")])
    stand.workers.answers["unix:/nowhere/worker-0.control"] = [statistics()]
    face = await stack.enter_async_context(open_grpc(options, stand.control, SystemClock()))
    target = f"localhost:{face.port}"
    channel = (
        grpc.aio.insecure_channel(target, options=UNBOUNDED)
        if credentials is None
        else grpc.aio.secure_channel(target, credentials, options=UNBOUNDED)
    )
    await stack.enter_async_context(channel)
    made = Face(stand, face, channel)
    stack.callback(lambda: [reader.stop() for reader in made.readers])
    return made


async def refused(call: Any) -> Refusal:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return refusal(error.value)


async def stream(face: Face, requests: list[bytes], *, is_left_open: bool = False, **metadata: str) -> list[pb.ModelStreamInferResponse]:
    """Send requests and return the responses; where the server is to end the stream, leave the client's side open.

    A grpc.aio client that still writes when the server ends a stream may report an error of its own instead of the server's.
    """
    asked = [pb.ModelInferRequest.FromString(one) for one in requests]
    call = face.oip.ModelStreamInfer(lingering(asked) if is_left_open else iter(asked), metadata=tuple(metadata.items()))
    return [response async for response in call]


async def lingering(messages: Sequence[M]) -> AsyncIterator[M]:
    """Give messages and never end."""
    for message in messages:
        yield message
    await asyncio.Event().wait()
