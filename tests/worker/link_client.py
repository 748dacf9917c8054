"""A router's end of a link, as small as a test needs it."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from penstock.contracts.worker_status import WorkerStatus
from penstock.v1 import link_pb2 as pb
from services.mesh import frames


@dataclass(slots=True)
class LinkClient:
    """Sends one-request chunks of FP32 and keeps what comes back."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    answers: dict[int, pb.Answer] = field(default_factory=dict)
    is_drain_announced: bool = False
    _last_id: int = 0

    def send(self, replica_id: int, array: np.ndarray) -> int:
        """Send a request; return its number."""
        self._last_id += 1
        chunk = pb.Chunk(
            chunk_id=self._last_id,
            replica_id=replica_id,
            priority_class=pb.PRIORITY_CLASS_ONLINE,
            count=1,
            rows_per_request=len(array),
            inputs=[pb.InputTemplate(input_index=0, shape=struct.pack(f"<{array.ndim}q", *array.shape))],
            columns=[pb.InputColumn(raw=array.astype(np.float32).tobytes())],
        )
        self.writer.write(frames.framed(pb.RouterFrame(chunks=[chunk])))
        return self._last_id

    async def read(self) -> None:
        """Take the next frame.

        Raises:
            asyncio.IncompleteReadError: the worker closed the link.
        """
        (length,) = struct.unpack("<I", await self.reader.readexactly(4))
        frame = pb.WorkerFrame.FromString(await self.reader.readexactly(length))
        self.is_drain_announced |= frame.draining
        for answer in frame.answers:
            self.answers[answer.chunk_id] = answer

    async def read_to_end(self) -> None:
        """Take frames until the worker closes the link."""
        with suppress(asyncio.IncompleteReadError):
            while True:
                await self.read()

    async def answer(self, number: int) -> pb.Answer:
        """Return the answer to a request."""
        async with asyncio.timeout(30):
            while number not in self.answers:
                await self.read()
        return self.answers[number]

    async def ask(self, replica_id: int, array: np.ndarray) -> list[float]:
        """Send a request and return the numbers of its first output; raise AssertionError for a failure."""
        answer = await self.answer(self.send(replica_id, array))
        assert not answer.failures, answer.failures
        return np.frombuffer(answer.outputs[0].raw, np.float32).tolist()

    async def answers_of(self, numbers: Sequence[int]) -> list[pb.Answer]:
        """Return the answers to requests, in their order."""
        return [await self.answer(number) for number in numbers]


@asynccontextmanager
async def connected(status: WorkerStatus) -> AsyncIterator[LinkClient]:
    """Open a link to the worker that published a status."""
    reader, writer = await asyncio.open_unix_connection(status.link_address.removeprefix("unix:"))
    client = LinkClient(reader, writer)
    try:
        writer.write(frames.hello(status.instance_id, "router-test", asyncio.get_running_loop().time()))
        await client.read()
        yield client
    finally:
        writer.close()
