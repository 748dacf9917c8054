"""Memory runs out in one execution; neighbours are answered, and the reason is told."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.faults import oracle
from tests.faults.caller import Caller
from tests.faults.figures import record
from tests.faults.ledger import Kind, Ledger, Outcome
from tests.faults.truths import held_true
from tests.faults.world import World, world

MEBI = 1 << 20
ROOM = 1000 * MEBI
NUMBER_BYTES = 8


@pytest.fixture
def single(tmp_path: Path, short_dir: Path) -> Iterator[World]:
    with world(short_dir, oracle.write_models(tmp_path / "models", ("alpha", "hungry")), workers=1) as served:
        served.settle()
        yield served


def asking(megabytes: int, nonce: int = 1) -> np.ndarray:
    """Return a row for which `hungry` fills so much memory."""
    x = oracle.rows_of(nonce, 1)
    x[0, 1] = megabytes * MEBI // NUMBER_BYTES
    return x


@contextmanager
def little_room(process_id: int) -> Iterator[None]:
    """Let a process grow by ROOM at most: what it asks for beyond is refused by the kernel, as malloc sees it."""
    size = int(Path(f"/proc/{process_id}/statm").read_text().split()[0]) * resource.getpagesize()
    former = resource.prlimit(process_id, resource.RLIMIT_AS, (size + ROOM, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(process_id, resource.RLIMIT_AS, former)


async def test_m5_a_batch_without_enough_memory_is_halved_and_what_never_fits_is_refused(single: World, ledger: Ledger):
    async with Caller(single.target, ledger) as caller, Caller(single.target, Ledger(), connections=1) as other:
        with little_room(single.served.child("worker-0")):
            before = single.metric('nv_inference_exec_count{model="hungry"')
            shared = await until_short(single, other)
            alone = await other.send("hungry", asking(4 * ROOM // MEBI), deadline_seconds=20.0)
            neighbours = [await caller.ask("alpha", nonce) for nonce in range(8)]
        after = await other.send("hungry", asking(500), deadline_seconds=20.0)
        spent = await asyncio.to_thread(single.metric, 'nv_inference_exec_count{model="hungry"')

    held_true(single, ledger)
    assert {one.kind for one in (*shared, *neighbours, after)} == {Kind.OK}
    assert (alone.code, alone.reason) == ("RESOURCE_EXHAUSTED", "OUT_OF_MEMORY")
    assert single.served.events("child_died") == []
    record("M5", executions=spent - before)


async def until_short(single: World, other: Caller) -> list[Outcome]:
    """Ask for 9 x 150 MB at once until they met in one batch, for which there is not enough room; each half fits."""
    outcomes: list[Outcome] = []
    while not single.served.events("execution_failed"):
        outcomes += await asyncio.gather(*[other.send("hungry", asking(150, nonce), deadline_seconds=20.0) for nonce in range(9)])
        assert len(outcomes) < 100
    return outcomes
