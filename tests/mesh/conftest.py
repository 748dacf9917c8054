"""A worker that speaks the link protocol and computes nothing: the far end for tests of the near one."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.contracts.worker_status import ReplicaState, ReplicaStatus, WorkerStatus
from penstock.v1 import link_pb2 as pb
from services.mesh.route_table import RouteTable

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, 2)),),
    outputs=(TensorSpec(name="y", datatype=DataType.FP32, shape=(-1, 2)),),
    max_batch_size=64,
)


def replica(model: str = "echo", version: str = "1", *, replica_id: int = 7, state: ReplicaState = ReplicaState.READY) -> ReplicaStatus:
    return ReplicaStatus(replica_id=replica_id, model=model, version=version, state=state, signature=SIGNATURE, digest="d" + version)


def echo(chunk: pb.Chunk) -> pb.Answer:
    """Answer each request with its own input."""
    answer = pb.Answer(chunk_id=chunk.chunk_id, start=0, count=chunk.count)
    for column, template in zip(chunk.columns, chunk.inputs, strict=True):
        answer.outputs.add(shape=template.shape, raw=column.raw, lengths=column.lengths)
    return answer


@dataclass
class FarEnd(asyncio.Protocol):
    """One connection of a `FakeWorker`."""

    worker: FakeWorker
    transport: asyncio.Transport = None  # type: ignore[assignment]
    received: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.worker.connections.append(self)

    def send(self, frame: pb.WorkerFrame) -> None:
        body = frame.SerializeToString()
        self.transport.write(struct.pack("<I", len(body)) + body)

    def data_received(self, data: bytes) -> None:
        self.received += data
        while len(self.received) >= 4:
            (length,) = struct.unpack_from("<I", self.received)
            if len(self.received) - 4 < length:
                return
            frame = pb.RouterFrame.FromString(self.received[4 : 4 + length])
            self.received = self.received[4 + length :]
            self.worker.take(self, frame)


@dataclass
class FakeWorker:
    """Listens on a Unix socket, keeps what it was sent, answers as it is told to."""

    path: Path
    worker_id: str
    instance_id: str
    answer: Callable[[pb.Chunk], pb.Answer | None] = echo
    claims: str | None = None
    then_claims: str | None = None
    """Who it says it is in a second frame, right behind the first."""
    is_mute: bool = False
    credit_rows: int = 4096
    chunks: list[pb.Chunk] = field(default_factory=list)
    cancels: list[pb.Cancel] = field(default_factory=list)
    clocks: list[float] = field(default_factory=list)
    """What the router's clock said in each ping, seconds."""
    connections: list[FarEnd] = field(default_factory=list)
    held: list[tuple[FarEnd, pb.WorkerFrame]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    pinged: asyncio.Event = field(default_factory=asyncio.Event)
    server: asyncio.AbstractServer | None = None

    async def start(self) -> FakeWorker:
        self.server = await asyncio.get_running_loop().create_unix_server(lambda: FarEnd(self), str(self.path))
        return self

    def take(self, end: FarEnd, frame: pb.RouterFrame) -> None:
        reply = pb.WorkerFrame(pong=frame.ping)
        if frame.HasField("hello"):
            reply.welcome.worker_instance_id = self.claims or self.instance_id
            reply.welcome.protocol_version = 1
            reply.welcome.credit_rows = self.credit_rows
            if self.then_claims is not None:
                end.send(reply)
                reply.welcome.worker_instance_id = self.then_claims
        self.cancels += frame.cancels
        if frame.ping:
            self.clocks.append(frame.monotonic_microseconds * 1e-6)
            self.pinged.set()
        for chunk in frame.chunks:
            self.chunks.append(chunk)
            answered = self.answer(chunk)
            if answered is not None:
                reply.answers.append(answered)
        if frame.chunks or frame.cancels:
            self.arrived.set()
        if self.is_mute:
            self.held.append((end, reply))
        else:
            end.send(reply)

    def speak(self) -> None:
        """Send what was held back, as a process that was stopped and goes on."""
        self.is_mute = False
        held, self.held = self.held, []
        for end, reply in held:
            end.send(reply)

    def kill(self) -> None:
        """Close everything at once."""
        if self.server is not None:
            self.server.close()
        for end in self.connections:
            end.transport.abort()

    def status(self, *replicas: ReplicaStatus, revision: int = 1) -> WorkerStatus:
        return WorkerStatus(
            worker_id=self.worker_id,
            instance_id=self.instance_id,
            link_address=f"unix:{self.path}",
            revision=revision,
            replicas=replicas or (replica(),),
            settled=True,
        )


@pytest.fixture
async def workers(tmp_path: Path):
    """Two workers that listen."""
    started = [await FakeWorker(tmp_path / f"{number}.sock", f"worker-{number}", f"instance-{number}").start() for number in range(2)]
    yield started
    for worker in started:
        worker.kill()


def status(worker: str, *replicas: ReplicaStatus, revision: int = 1, instance: str = "", settled: bool = True) -> WorkerStatus:
    return WorkerStatus(
        worker_id=worker,
        instance_id=instance or worker,
        link_address="unix:/x",
        revision=revision,
        replicas=replicas,
        settled=settled,
    )


def table_of(*statuses: WorkerStatus) -> RouteTable:
    table = RouteTable()
    for one in statuses:
        table.apply(one.worker_id, one)
    return table
