"""How long a serve takes to its first answer, and what a new version costs those who are calling."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench import bodies
from bench.arena import Arena
from bench.model import NAME, rows
from bench.open_loop import Answer, Offer, OpenLoop, late_share, percentile_ms
from bench.report import say
from bench.servers import Server, penstock_server
from penstock.oip.v2 import inference_pb2 as pb

RATE = 500.0
"""Calls a second during a swap: far below capacity, so that what is seen is the swap."""
LEAST_SECONDS = 1.5
"""Of each half of a swap's load: enough for the version to be found, loaded and warmed."""
DEADLINE_SECONDS = 5.0


def lifecycle(arena: Arena) -> None:
    """Start, swap and end a server, round by round."""
    for number in range(arena.rounds):
        repository = arena.work / f"lifecycle-{number}"
        shutil.copytree(arena.work / "models", repository)
        with penstock_server(arena.work, models=repository, is_plain=arena.is_plain) as server:
            while not server.is_right(rows()):
                time.sleep(0.01)
            arena.figures.add("lifecycle.cold_start_seconds", time.perf_counter() - server.tree.started_at, "s")
            server.check(rows(), arena.expected)
            _swap(arena, server, repository / NAME, number)
        say(f"lifecycle: round {number + 1} of {arena.rounds} is done")


def _swap(arena: Arena, server: Server, model: Path, number: int) -> None:
    half = max(arena.seconds, LEAST_SECONDS)
    offer = Offer(
        port=server.grpc_port or 0,
        request=bodies.infer_request(rows()).SerializeToString(),
        headers=server.headers,
        rate=RATE,
        seconds=2 * half,
        deadline_seconds=DEADLINE_SECONDS,
    )
    new = threading.Timer(half, _add_version, (model,))
    new.start()
    answers = OpenLoop(offer, seed=number).run()
    new.join()
    versions = _versions(arena, answers)
    if versions != ["1", "2"]:
        raise SystemExit(f"versions answered in the order {versions}; one change from 1 to 2 was asked for")
    before = [answer.seconds for answer in answers if answer.due_at < half]
    after = [answer.seconds for answer in answers if answer.due_at >= half]
    figures = arena.figures
    figures.add("lifecycle.hot_swap_failed", sum(not answer.is_ok for answer in answers), "calls")
    figures.add("lifecycle.hot_swap_p99_ratio", percentile_ms(after, 99) / percentile_ms(before, 99), "ratio")
    figures.add("lifecycle.hot_swap_late_share", late_share(answers), "share")


def _add_version(model: Path) -> None:
    """Put version 2, the same file, beside version 1, complete at once."""
    copy = model.with_name(f".{model.name}-2")
    shutil.copytree(model / "1", copy)
    copy.rename(model / "2")


def _versions(arena: Arena, answers: Sequence[Answer]) -> list[str]:
    """Return the versions that answered, in the order of their first answer by schedule; every answer is checked."""
    seen: list[str] = []
    for answer in answers:
        if answer.is_ok:
            response = pb.ModelInferResponse.FromString(answer.content)
            bodies.check("penstock (hot swap)", bodies.grpc_answer(response), arena.expected)
            if response.model_version not in seen:
                seen.append(response.model_version)
    return seen
