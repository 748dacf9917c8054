"""Children that are alive and do nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from services.chassis.child import Child, ChildSpec
from services.chassis.clock import SystemClock
from services.chassis.death import Death, Exit
from services.chassis.heartbeat import Beat
from services.chassis.process import running
from services.chassis.restart_delays import RestartDelays, RestartPolicy
from services.embedded.hang_watch import LOOK_SECONDS, HangWatch, Pulse, is_stopped
from tests.chassis.manual_clock import ManualClock
from tests.chassis.test_child import SLEEPING, Longest, written


def test_a_pulse_counts_looks_without_a_new_beat():
    pulse = Pulse()

    looks = [pulse.look(7, Beat(process_id=7, count=count)) for count in (1, 1, 1, 2, 2)]

    assert looks == [0.0, LOOK_SECONDS, 2 * LOOK_SECONDS, 0.0, LOOK_SECONDS]


def test_a_life_that_has_not_begun_to_beat_is_not_silent():
    pulse = Pulse()

    assert [pulse.look(7, None) for _ in range(5)] == [0.0] * 5
    assert [pulse.look(8, Beat(process_id=7, count=1)) for _ in range(5)] == [0.0] * 5
    assert pulse.look(None, Beat(process_id=7, count=1)) == 0.0


async def test_a_child_that_stopped_beating_is_killed_and_the_death_says_so(tmp_path: Path):
    clock, exits = ManualClock(), []

    async def on_exit(ended: Exit) -> None:
        exits.append(ended)

    spec = ChildSpec(name="worker-0", command=(sys.executable, "-c", SLEEPING, str(tmp_path / "pid")))
    child = Child(spec, RestartDelays(RestartPolicy(), Longest()), SystemClock(), on_exit=on_exit)
    watch = HangWatch([child], lambda _: Beat(process_id=child.process_id or 0, count=1), clock, limit_seconds=1.0)
    async with running(child.keep()):
        await written(tmp_path / "pid")
        async with running(watch.run()), asyncio.timeout(20):
            while not exits:
                await clock.asleep()
                clock.advance(LOOK_SECONDS)
                await asyncio.sleep(0.001)

    assert (exits[0].status, exits[0].death) == (-signal.SIGKILL, Death.HUNG)
    assert child.deaths[Death.HUNG] == 1


async def test_without_a_limit_nobody_is_killed():
    watch = HangWatch([], lambda _: None, ManualClock(), limit_seconds=0.0)

    await asyncio.wait_for(watch.run(), 10)


async def test_a_stopped_process_is_known_as_such():
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    try:
        assert not is_stopped(process.pid)
        os.kill(process.pid, signal.SIGSTOP)
        async with asyncio.timeout(30):
            while not is_stopped(process.pid):
                await asyncio.sleep(0.005)
    finally:
        process.kill()
        await process.wait()
    assert not is_stopped(process.pid)
