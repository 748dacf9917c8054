"""A router's end of a link, for tests."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from time import monotonic
from typing import Any

import numpy as np
import uvloop

from penstock.v1 import link_pb2 as pb
from services.worker.link_connection import LinkIdentity
from tests.worker.works import packed_shape

IDENTITY = LinkIdentity(instance_id="worker-0-abc", credit_rows=512)
REPLICA = 7


def on_uvloop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on the event loop that workers use."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        uvloop.run(test(*args, **kwargs))

    return run


class RouterEnd:
    """Speaks frames on a stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, address: str, **rest) -> RouterEnd:
        kind, _, place = address.partition(":")
        if kind == "unix":
            return cls(*await asyncio.open_unix_connection(place))
        host, _, port = place.rpartition(":")
        return cls(*await asyncio.open_connection(host, int(port), **rest))

    @classmethod
    async def meet(cls, address: str, **rest) -> RouterEnd:
        end = await cls.connect(address, **rest)
        end.send(hello())
        assert (await end.receive()).HasField("welcome")
        return end

    def send(self, frame: pb.RouterFrame) -> None:
        body = frame.SerializeToString()
        self.writer.write(struct.pack("<I", len(body)) + body)

    async def receive(self) -> pb.WorkerFrame:
        async with asyncio.timeout(30):
            (length,) = struct.unpack("<I", await self.reader.readexactly(4))
            return pb.WorkerFrame.FromString(await self.reader.readexactly(length))

    async def answers(self, requests: int) -> list[pb.Answer]:
        """Receive until so many requests are answered or failed."""
        found: list[pb.Answer] = []
        while sum(one.count + len(one.failures) for one in found) < requests:
            found += (await self.receive()).answers
        return found

    async def closed(self) -> bool:
        async with asyncio.timeout(30):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                return True
        return True

    async def close(self) -> None:
        self.writer.close()


def hello(instance: str = IDENTITY.instance_id, version: int = 1, at: float | None = None) -> pb.RouterFrame:
    now = int((monotonic() if at is None else at) * 1e6)
    return pb.RouterFrame(
        hello=pb.Hello(worker_instance_id=instance, router_instance_id="router-0", protocol_version=version, monotonic_microseconds=now)
    )


def chunk(chunk_id: int, values: Sequence[Sequence[float]], *, rows: int = 1, **rest) -> pb.Chunk:
    """FP32 requests of one input `x`, one flat list each."""
    fields = {
        "replica_id": REPLICA,
        "priority_class": pb.PRIORITY_CLASS_ONLINE,
        "count": len(values),
        "rows_per_request": rows,
        "inputs": [pb.InputTemplate(input_index=0, shape=packed_shape(rows, len(values[0]) // rows))],
        "columns": [pb.InputColumn(raw=np.float32(values).tobytes())],
    }
    return pb.Chunk(chunk_id=chunk_id, **(fields | rest))


def numbers(answer: pb.Answer, output: int = 0) -> list[float]:
    return np.frombuffer(answer.outputs[output].raw, dtype=np.float32).tolist()


def packed(kind: str, *values: int) -> bytes:
    return struct.pack(f"<{len(values)}{kind}", *values)
