"""A few short random schedules; `make faults` plays hundreds of longer ones."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.ledger import Ledger
from tests.faults.playing import Play
from tests.faults.schedules import Fault, FaultKind, Schedule, draw
from tests.faults.world import World


def hand_made(*faults: tuple[float, FaultKind, str, float]) -> Schedule:
    made = tuple(Fault(at=at, kind=kind, target=target, seconds=seconds) for at, kind, target, seconds in faults)
    return Schedule(seed=0, seconds=1.5, rate=100.0, faults=made)


SCHEDULES = {
    "a reset while a version is swapped": hand_made((0.2, FaultKind.SWAP, "alpha", 0), (0.4, FaultKind.RESET, "worker-1", 0.3)),
    "a bad version while a worker hangs": hand_made((0.1, FaultKind.BAD_VERSION, "alpha", 1.0), (0.3, FaultKind.STOP, "worker-0", 0.8)),
    "an unload while a link is silent": hand_made((0.1, FaultKind.HANG, "worker-0", 1.0), (0.2, FaultKind.UNLOAD, "beta", 0.5)),
    "a forgotten link while a worker is killed": hand_made((0.1, FaultKind.FORGET, "worker-0", 0), (0.5, FaultKind.KILL, "worker-0", 0)),
    "seed 4": draw(4, 1.5),
}


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
async def test_a_schedule_of_faults_breaks_no_invariant(running: World, schedule: Schedule):
    result = await Play(running, schedule, Ledger()).run()

    assert result.violations == ()
    assert result.figures["answered"] > 100
    assert await asyncio.to_thread(running.is_settled)
