"""One tenant asks for twenty times its quota: what others wait beside it, over what they wait without it, in turns.

The noise comes from a process of its own, on the generator's core like the calls that are measured, so some of what the others wait more is
the generator's: the share of calls that left late says how much.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import grpc

from bench import bodies
from bench.arena import Arena
from bench.model import rows
from bench.open_loop import Answer, Offer, OpenLoop, late_share, percentile_ms
from bench.report import say
from bench.servers import Server, penstock_server
from penstock.oip.v2 import inference_pb2 as pb

NOISY_KEY = "penstock_noisynoisynoisynoisynoisynoisy01"
QUOTA = 50
TIMES = 20
TENANT = """
[[tenants]]
name = "noisy"
requests_per_second = {quota}
keys = ["sha256:{digest}"]
"""
RATE = 500.0
"""Calls a second of the others."""
DEADLINE_SECONDS = 1.0
LEAD_SECONDS = 0.5
"""For how long the noise is there before the others are measured, and after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What became of the others' calls in a load, and of the noise beside it."""

    quiet: list[Answer]
    noise: list[Answer]


def neighbours(arena: Arena) -> None:
    """Measure alone, beside, beside and alone, round by round."""
    tenant = TENANT.format(quota=QUOTA, digest=hashlib.sha256(NOISY_KEY.encode()).hexdigest())
    # Spawned: a fork of a process with gRPC's threads in it may stand still for good.
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool,
        penstock_server(arena.work, is_plain=False, more_tenants=tenant) as server,
    ):
        for number in range(arena.rounds):
            _round(arena, server, pool, number)
            say(f"neighbours: round {number + 1} of {arena.rounds} is done")


def _round(arena: Arena, server: Server, pool: Executor, number: int) -> None:
    order = (False, True, True, False)
    turns = [
        (is_beside, _turn(arena, server, pool, is_beside=is_beside, seed=10 * number + place)) for place, is_beside in enumerate(order)
    ]
    alone = [answer for is_beside, turn in turns if not is_beside for answer in turn.quiet]
    beside = [answer for is_beside, turn in turns if is_beside for answer in turn.quiet]
    for turn in (turn for is_beside, turn in turns if is_beside):
        check_noise(turn.noise, arena.seconds + 2 * LEAD_SECONDS)
    note(arena, alone, beside)


def _turn(arena: Arena, server: Server, pool: Executor, *, is_beside: bool, seed: int) -> Turn:
    noise: Future[list[Answer]] | None = None
    if is_beside:
        noise = pool.submit(_run, _offer(server, NOISY_KEY, float(QUOTA * TIMES), arena.seconds + 2 * LEAD_SECONDS), seed)
    lead = _run(_offer(server, None, RATE, LEAD_SECONDS), seed + 1000)
    quiet = _run(_offer(server, None, RATE, arena.seconds), seed)
    told = noise.result() if noise is not None else []
    for content in {answer.content for answer in (*lead, *quiet, *told) if answer.is_ok}:
        bodies.check("penstock (neighbours)", bodies.grpc_answer(pb.ModelInferResponse.FromString(content)), arena.expected)
    return Turn(quiet=quiet, noise=told)


def _run(offer: Offer, seed: int) -> list[Answer]:
    return OpenLoop(offer, seed).run()


def _offer(server: Server, key: str | None, rate: float, seconds: float) -> Offer:
    return Offer(
        port=server.grpc_port or 0,
        request=bodies.infer_request(rows()).SerializeToString(),
        headers=server.headers if key is None else {"x-api-key": key},
        rate=rate,
        seconds=seconds,
        deadline_seconds=DEADLINE_SECONDS,
    )


def check_noise(noise: list[Answer], seconds: float) -> None:
    """Return when the noisy tenant got about its quota and was refused the rest for that reason.

    Raises:
        SystemExit: it was held to nothing, or to something else.
    """
    strange = {answer.code for answer in noise} - {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    answered = sum(answer.is_ok for answer in noise)
    # Its quota, a second's burst, and the seconds before the first call.
    if strange or not 0 < answered <= QUOTA * (seconds + 2) or answered == len(noise):
        codes = ", ".join(sorted(code.name for code in strange))
        raise SystemExit(f"the noisy tenant got {answered} of {len(noise)} calls in {seconds:g} s, and {codes or 'no other code'}")


def note(arena: Arena, alone: list[Answer], beside: list[Answer]) -> None:
    """Keep what the others got: latencies in both, their ratio, and the share that was answered beside the noise."""
    add: Callable[[str, float, str], None] = arena.figures.add
    slowest = {name: percentile_ms([answer.seconds for answer in found], 99) for name, found in (("alone", alone), ("beside", beside))}
    for name, milliseconds in slowest.items():
        add(f"neighbours.{name}_p99_ms", milliseconds, "ms")
    add("neighbours.p99_ratio", slowest["beside"] / slowest["alone"], "ratio")
    add("neighbours.answered_share", sum(answer.is_ok for answer in beside) / len(beside), "share")
    add("neighbours.late_share", late_share(beside), "share")
