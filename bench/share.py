"""How much of what ONNX Runtime can do on one core arrives at callers, for models that are worth more than their transport."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import grpc

from bench import bodies
from bench.arena import Arena
from bench.bodies import GRPC_PATH
from bench.closed_loop import closed_loop
from bench.generators import WARM_UP_SECONDS, Load, Run, grpc_body, h2load
from bench.limit import best_rows_per_second, write_feeds
from bench.race import compare_counts
from bench.report import say
from bench.servers import Server, penstock_server
from bench.workloads import WORKLOADS, Workload
from penstock.oip.v2 import inference_pb2 as pb

READY_SECONDS = 60.0


def shares(arena: Arena) -> None:
    """Measure each workload beside its raw loop, turn by turn."""
    folder = arena.work / "workloads"
    folder.mkdir()
    workloads = [build(folder) for build in WORKLOADS.values()]
    for workload in workloads:
        write_feeds(_feeds(folder, workload), workload.feeds)
    with penstock_server(arena.work, models=folder, is_plain=arena.is_plain) as server:
        for workload in workloads:
            check(server, workload)
        for number in range(arena.rounds):
            for workload in workloads:
                _one(arena, server, workload, best_rows_per_second(workload.path, _feeds(folder, workload), arena.seconds))
            say(f"of_limit: round {number + 1} of {arena.rounds} is done")


def check(server: Server, workload: Workload) -> None:
    """Compare the first answers with those of ONNX Runtime.

    Raises:
        WrongAnswer: one differs.
    """
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        call = channel.unary_unary(
            GRPC_PATH, request_serializer=pb.ModelInferRequest.SerializeToString, response_deserializer=pb.ModelInferResponse.FromString
        )
        for request, expected in zip(workload.requests, workload.answers, strict=False):
            answer = call(request, timeout=READY_SECONDS, metadata=tuple(server.headers.items()))
            bodies.check(f"{server.name} ({workload.name})", bodies.grpc_answer(answer), expected)


def _one(arena: Arena, server: Server, workload: Workload, limit: float) -> None:
    place = f"online.{workload.name}"
    _ask(server, workload, WARM_UP_SECONDS)
    _share(arena, server, workload, limit, place)
    arena.figures.add(f"{place}.limit_rows_per_second", limit, "1/s")
    if workload.wide_in_flight:
        wide = replace(workload, in_flight=workload.wide_in_flight)
        _share(arena, server, wide, limit, f"{place}.c{wide.in_flight}")


def _share(arena: Arena, server: Server, workload: Workload, limit: float, place: str) -> None:
    counted = server.answered()
    run = _ask(server, workload, arena.seconds)
    compare_counts(server, run, counted, workload.in_flight)
    rows_per_second = run.requests * workload.rows / run.seconds
    arena.figures.add(f"{place}.rows_per_second", rows_per_second, "1/s")
    arena.figures.add(f"{place}.of_limit", rows_per_second / limit, "share")


def _ask(server: Server, workload: Workload, seconds: float) -> Run:
    """Ask by h2load when there is but one request, which may be quick; by Python when there are many, which are slow."""
    port = server.grpc_port or 0
    if len(workload.requests) == 1:
        body = grpc_body(bodies.grpc_message(workload.requests[0]))
        return h2load(Load(port=port, body=body, in_flight=workload.in_flight, seconds=seconds, headers=server.headers))
    messages = [request.SerializeToString() for request in workload.requests]
    return closed_loop(port, messages, server.headers, in_flight=workload.in_flight, seconds=seconds)


def _feeds(folder: Path, workload: Workload) -> Path:
    return folder.parent / f"{workload.name}.npz"
