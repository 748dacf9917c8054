"""The race by an open loop: what callers wait who do not wait for one another, at a rate that every server can bear."""

from __future__ import annotations

import grpc

from bench import bodies
from bench.arena import Arena
from bench.model import rows
from bench.open_loop import Answer, Offer, OpenLoop, late_share, percentile_ms
from bench.race import paddock
from bench.report import say
from bench.servers import Server
from penstock.oip.v2 import inference_pb2 as pb

RATE = 500.0
"""Calls a second: below half of what the slowest peer can."""
DEADLINE_SECONDS = 5.0
WARM_UP_SECONDS = 0.3
PLACES = {"penstock": "online.open", "triton": "peers.triton.open", "mlserver": "peers.mlserver.open", "grpc_aio": "peers.grpc_aio.open"}
"""Where the figures go; mosec speaks no gRPC, which this generator does."""


def open_race(arena: Arena) -> None:
    """Offer the same calls to one server after the other, round by round."""
    request = bodies.infer_request(rows()).SerializeToString()
    with paddock(arena) as servers:
        for number in range(arena.rounds):
            for name, place in PLACES.items():
                with servers.turn(name) as server:
                    if server is not None:
                        _offer(server, request, WARM_UP_SECONDS, number)
                        _note(arena, server, place, _offer(server, request, arena.seconds, number))
            say(f"open: round {number + 1} of {arena.rounds} is done")


def _offer(server: Server, request: bytes, seconds: float, seed: int) -> list[Answer]:
    offer = Offer(
        port=server.grpc_port or 0,
        request=request,
        headers=server.headers,
        rate=RATE,
        seconds=seconds,
        deadline_seconds=DEADLINE_SECONDS,
    )
    return OpenLoop(offer, seed).run()


def _note(arena: Arena, server: Server, place: str, answers: list[Answer]) -> None:
    failed = [answer.code.name for answer in answers if answer.code is not grpc.StatusCode.OK]
    if failed:
        raise SystemExit(f"{server.name}: {len(failed)} of {len(answers)} calls failed with {', '.join(sorted(set(failed)))}")
    if server.answers_truly:
        for content in {answer.content for answer in answers}:
            bodies.check(server.name, bodies.grpc_answer(pb.ModelInferResponse.FromString(content)), arena.expected)
    taken = [answer.seconds for answer in answers]
    arena.figures.add(f"{place}.r{RATE:g}.p50_ms", percentile_ms(taken, 50), "ms")
    arena.figures.add(f"{place}.r{RATE:g}.p99_ms", percentile_ms(taken, 99), "ms")
    arena.figures.add(f"{place}.r{RATE:g}.late_share", late_share(answers), "share")
