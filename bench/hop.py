"""What the router adds: one call after the other through it, and straight to its worker over the same kind of link.

Both callers are as thin as can be had: h2load for gRPC, a blocking socket with ready-made frames for the link. So the difference holds
all that lies between: HTTP/2, TCP, admission, routing, validation, the wave, and one hop over a Unix socket.
"""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path

import numpy as np

from bench import bodies
from bench.arena import Arena
from bench.generators import WARM_UP_SECONDS, Load, grpc_body, h2load
from bench.model import NAME, rows
from bench.race import compare_counts
from bench.servers import Server, penstock_server
from penstock.contracts.worker_status import WorkerStatus
from penstock.v1 import link_pb2 as link
from penstock.v1 import worker_pb2 as worker
from services.mesh import frames

DIRECT_CALLS = 4_000
ANSWER_SECONDS = 10.0


def added_latency(arena: Arena) -> None:
    """Measure both ways in turn; the difference of the medians is what the router adds."""
    request = grpc_body(bodies.grpc_message(bodies.infer_request(rows())))
    with penstock_server(arena.work, is_plain=arena.is_plain) as server:
        server.check(rows(), arena.expected)
        for _ in range(arena.rounds):
            load = Load(port=server.grpc_port or 0, body=request, in_flight=1, seconds=arena.seconds, headers=server.headers)
            h2load(Load(port=load.port, body=request, in_flight=1, seconds=WARM_UP_SECONDS, headers=server.headers))
            counted = server.answered()
            run = h2load(load)
            compare_counts(server, run, counted, 1)
            direct = direct_ms(arena, server)
            arena.figures.add("router.through_p50_ms", run.p50_ms, "ms")
            arena.figures.add("router.through_p99_ms", run.p99_ms, "ms")
            arena.figures.add("router.direct_p50_ms", direct[len(direct) // 2], "ms")
            arena.figures.add("router.direct_p99_ms", direct[len(direct) * 99 // 100], "ms")
            arena.figures.add("router.added_p50_ms", run.p50_ms - direct[len(direct) // 2], "ms")


def direct_ms(arena: Arena, server: Server) -> list[float]:
    """Return the sorted latencies of calls straight to the worker, their answers checked."""
    status = _status(server)
    replica = next(one.replica_id for one in status.replicas if one.model == NAME)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(status.link_address.removeprefix("unix:"))
        connection.sendall(frames.hello(status.instance_id, "bench", time.monotonic()))
        _receive(connection)
        taken: list[float] = []
        for number in range(1, DIRECT_CALLS + 1):
            frame = _frame(number, replica)
            sent_at = time.perf_counter()
            connection.sendall(frame)
            answer = _answer_of(connection, number)
            taken.append((time.perf_counter() - sent_at) * 1000)
            if number % 100 == 1:
                bodies.check("worker", np.frombuffer(answer.outputs[0].raw, np.float32), arena.expected)
    return sorted(taken)


def _status(server: Server) -> WorkerStatus:
    path = next(((server.state or Path()) / "workers").glob("*.pb"))
    return WorkerStatus.from_proto(worker.WorkerStatus.FromString(path.read_bytes()))


def _frame(number: int, replica: int) -> bytes:
    content = rows()
    chunk = link.Chunk(
        chunk_id=number,
        replica_id=replica,
        priority_class=link.PRIORITY_CLASS_ONLINE,
        count=1,
        rows_per_request=1,
        inputs=[link.InputTemplate(input_index=0, shape=struct.pack("<2q", *content.shape))],
        columns=[link.InputColumn(raw=content.tobytes())],
    )
    return frames.framed(link.RouterFrame(chunks=[chunk]))


def _answer_of(connection: socket.socket, number: int) -> link.Answer:
    while True:
        for answer in _receive(connection).answers:
            if answer.chunk_id == number and answer.count == 1:
                return answer
            raise SystemExit(f"the worker refused a call: {answer}")


def _receive(connection: socket.socket) -> link.WorkerFrame:
    (length,) = struct.unpack("<I", connection.recv(4, socket.MSG_WAITALL))
    return link.WorkerFrame.FromString(connection.recv(length, socket.MSG_WAITALL))
