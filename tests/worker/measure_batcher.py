"""Measures the worker's own cost of a request: from the bytes of a frame to the bytes of its answers, without sockets.

    .venv/bin/python -m tests.worker.measure_batcher

A tiny model (FP32[-1,32] → [-1,8]), one-row requests. A wave of n requests in flight is one frame of chunks of up to 64 requests; the next
one is read when all are answered. Prints CPU-microseconds a request, the best of several rounds, beside the bare `session.run`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
import time
from typing import Any

import numpy as np
import uvloop

from penstock.contracts.signature import Signature, TensorSpec
from penstock.contracts.tensors import DataType
from penstock.contracts.worker_status import CostPoint
from penstock.v1 import link_pb2 as pb
from services.worker.batch_policy import BatchPolicy
from services.worker.batcher import Batcher, BatcherConfig, BatcherPorts
from services.worker.cost_model import CostModel
from services.worker.execution import ExecutionRules
from services.worker.inline_guard import InlineGuard
from services.worker.link_connection import LinkConnection
from services.worker.onnx_session import open_session
from services.worker.session import SessionConfig
from services.worker.turn_end import TurnEnd
from tests.worker import models
from tests.worker.links import IDENTITY, REPLICA, chunk, hello

WIDTH, CHUNK, ROUNDS, SECONDS = 32, 64, 7, 0.4
SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", datatype=DataType.FP32, shape=(-1, WIDTH)),),
    outputs=(TensorSpec(name="y", datatype=DataType.FP32, shape=(-1, 8)),),
    max_batch_size=64,
)


class Wire(asyncio.Transport):
    """Takes what the connection writes, and asks for the next wave when it is complete."""

    def __init__(self) -> None:
        super().__init__()
        self.written = 0
        self.on_write = lambda: None
        self._socket, self._other = socket.socketpair()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._socket

    def write(self, data: Any) -> None:
        self.written += 1
        self.on_write()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is buffered."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        self._socket.close()
        self._other.close()


def frame_of(in_flight: int, number: int, deadline: float) -> bytes:
    values = np.random.default_rng(3).normal(size=(in_flight, WIDTH)).tolist()
    deadlines = struct.pack("<Q", int(deadline * 1e6))
    chunks = [
        chunk(number + at, values[at : at + CHUNK], deadlines=deadlines * len(values[at : at + CHUNK])) for at in range(0, in_flight, CHUNK)
    ]
    body = pb.RouterFrame(chunks=chunks).SerializeToString()
    return struct.pack("<I", len(body)) + body


async def measure(in_flight: int) -> tuple[float, float]:
    session = open_session(models.dense(WIDTH, 8), SessionConfig())
    config = BatcherConfig(model="m", version="1", policy=BatchPolicy(max_batch_size=64), rules=ExecutionRules(signature=SIGNATURE))
    turn_end = TurnEnd()
    with InlineGuard(on_stuck=lambda: None) as guard:
        batcher = Batcher(config, [session], CostModel([CostPoint(rows=1, seconds=1e-5)]), BatcherPorts(guard=guard, soon=turn_end.soon))
        batcher.start()
        wire = Wire()
        connection = LinkConnection(IDENTITY, {REPLICA: batcher}.get, time.monotonic, set(), turn_end)
        connection.connection_made(wire)
        body = hello().SerializeToString()
        connection.data_received(struct.pack("<I", len(body)) + body)
        frame = frame_of(in_flight, 1, time.monotonic() + 1e4)
        best = min([await one_round(connection, wire, frame, in_flight) for _ in range(ROUNDS)])
        connection.connection_lost(None)
        await batcher.close()
        wire.close()
    return best, bare(session, min(in_flight, 64))


async def one_round(connection: LinkConnection, wire: Wire, frame: bytes, in_flight: int) -> float:
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    waves, end = 0, time.perf_counter() + SECONDS

    def wave() -> None:
        nonlocal waves
        waves += 1
        if connection._open:  # the answers of a wave may take several frames
            waves -= 1
        elif time.perf_counter() > end:
            wire.on_write = lambda: None
            done.set_result(None)
        else:
            loop.call_soon(connection.data_received, frame)

    wire.on_write = wave
    begun = time.process_time()
    connection.data_received(frame)
    await done
    return (time.process_time() - begun) / (waves * in_flight) * 1e6


def bare(session: Any, rows: int) -> float:
    feeds = {"x": np.zeros((rows, WIDTH), dtype=np.float32)}
    times = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(2000):
            session.run(feeds, ["y"])
        times.append((time.process_time() - begun) / 2000 / rows * 1e6)
    return min(times)


def main() -> None:
    for in_flight in [int(one) for one in sys.argv[1:]] or (1, 4, 16, 64, 256):
        ours, theirs = uvloop.run(measure(in_flight))
        print(f"{in_flight:4} in flight: {ours:6.2f} us a request, of it session.run {theirs:.2f}")


if __name__ == "__main__":
    main()
