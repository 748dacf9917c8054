"""Three times more than can be served, with deadlines of 30 ms: what is served must not become less, and a refusal must come soon.

Capacity is what a closed loop gets. The offers rise from below it to three times it and fall again, so that a machine that gets slower or
quicker meanwhile does not judge. Goodput is what three times the capacity still gets in time, over the best that an offer of at most the
capacity got in the same round. The best of several is a strict mark: chance makes it higher, never lower. What ends after the last call
was due counts nowhere: under overload a queue is left then, otherwise none.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from statistics import mean

import grpc
import numpy as np

from bench import bodies, model
from bench.arena import Arena
from bench.closed_loop import closed_loop
from bench.model import Floats
from bench.open_loop import Answer, Offer, OpenLoop, late_share, percentile_ms
from bench.report import say
from bench.servers import Server, penstock_server
from bench.workloads import conv_graph
from penstock.oip.v2 import inference_pb2 as pb

NAME = "heavy"
SIDE = 16
CHANNELS = (128, 256, 256)
DEADLINE_SECONDS = 0.03
OFFERS = (0.85, 1.0, 1.5, 2.0, 3.0)
"""Times the capacity; the last is the overload that is judged."""
CAPACITY_IN_FLIGHT = 8
CONFIG = "max_batch_size = 4\n\n[dynamic_batching]\n"
"""A row takes 1 to 3 ms, so a full batch stays below 10 ms."""


def overload(arena: Arena) -> None:
    """Measure capacity, then every offer, round by round."""
    folder = arena.work / "overload"
    path = model.save(conv_graph(NAME, side=SIDE, channels=CHANNELS), folder / NAME)
    (folder / NAME / "model.toml").write_text(CONFIG)
    image = np.random.default_rng(19).random((1, 3, SIDE, SIDE), np.float32)
    (expected,) = model.session(path).run(None, {"x": image})
    request = bodies.infer_request(image, model=NAME).SerializeToString()
    with penstock_server(arena.work, models=Path(folder), is_plain=arena.is_plain) as server:
        for number in range(arena.rounds):
            _round(arena, server, request, expected, number)
            say(f"overload: round {number + 1} of {arena.rounds} is done")


def _round(arena: Arena, server: Server, request: bytes, expected: Floats, number: int) -> None:
    port = server.grpc_port or 0
    run = closed_loop(port, [request], server.headers, in_flight=CAPACITY_IN_FLIGHT, seconds=arena.seconds)
    capacity = run.requests / run.seconds
    arena.figures.add("overload.capacity_per_second", capacity, "1/s")
    goodputs = {factor: list[float]() for factor in OFFERS}
    late: list[float] = []
    for turn, factor in enumerate((*OFFERS, *reversed(OFFERS))):
        offer = Offer(
            port=port,
            request=request,
            headers=server.headers,
            rate=capacity * factor,
            seconds=arena.seconds,
            deadline_seconds=DEADLINE_SECONDS,
        )
        answers = OpenLoop(offer, seed=number * 100 + turn).run()
        check(answers, expected)
        goodputs[factor].append(in_time(answers, arena.seconds) / arena.seconds)
        late.append(late_share(answers))
        if factor == OFFERS[-1]:
            note_refusals(arena, answers)
    _judge(arena, {factor: mean(found) for factor, found in goodputs.items()}, capacity)
    arena.figures.add("overload.late_share", max(late), "share")


def _judge(arena: Arena, goodputs: Mapping[float, float], capacity: float) -> None:
    """Keep what each offer got, and the last one's over the best of those that could be served."""
    for factor, goodput in goodputs.items():
        arena.figures.add(f"overload.x{factor:g}.goodput_per_second", goodput, "1/s")
    best = max(1.0, *(goodput for factor, goodput in goodputs.items() if factor <= 1))
    arena.figures.add("overload.goodput", goodputs[OFFERS[-1]] / best, "share")
    arena.figures.add("overload.times_best", capacity * OFFERS[-1] / best, "ratio")


def check(answers: list[Answer], expected: Floats) -> None:
    """Compare every answer, and refuse codes that overload does not explain.

    Raises:
        WrongAnswer, SystemExit: a wrong value, or another error.
    """
    allowed = {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    strange = {answer.code for answer in answers} - allowed
    if strange:
        raise SystemExit(f"overload was answered with {', '.join(code.name for code in strange)}")
    for content in {answer.content for answer in answers if answer.is_ok}:
        bodies.check("penstock (overload)", bodies.grpc_answer(pb.ModelInferResponse.FromString(content)), expected)


def in_time(answers: list[Answer], end: float) -> int:
    """Count the answers that came before their deadlines, and before the end of the run."""
    return sum(answer.is_ok and answer.seconds <= DEADLINE_SECONDS and answer.due_at + answer.seconds <= end for answer in answers)


def note_refusals(arena: Arena, answers: list[Answer]) -> None:
    """Keep how soon calls were shed, and how many were left to their deadline instead; calls that never left are the generator's."""
    refused = [answer for answer in answers if not answer.is_ok]
    unsent = sum(answer.left_at - answer.due_at >= DEADLINE_SECONDS for answer in refused)
    shed = [answer.seconds - (answer.left_at - answer.due_at) for answer in refused if answer.seconds < DEADLINE_SECONDS]
    if shed:
        arena.figures.add("overload.shed_p50_ms", percentile_ms(shed, 50), "ms")
        arena.figures.add("overload.shed_p99_ms", percentile_ms(shed, 99), "ms")
    arena.figures.add("overload.shed_share", len(shed) / len(answers), "share")
    arena.figures.add("overload.expired_share", (len(refused) - len(shed) - unsent) / len(answers), "share")
    arena.figures.add("overload.unsent_share", unsent / len(answers), "share")
