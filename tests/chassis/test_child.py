"""One child process over its lives."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest
import uvloop

from services.chassis.child import Child, ChildSpec, kept, stop_all
from services.chassis.clock import SystemClock
from services.chassis.death import Death, Exit, describe
from services.chassis.process import CannotStart, running
from services.chassis.restart_delays import RestartDelays, RestartPolicy
from tests.chassis.children import is_alive
from tests.chassis.manual_clock import ManualClock

SLEEPING = "import sys, time, signal, os; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
DEAF = "import sys, time, signal, os; signal.signal(signal.SIGTERM, signal.SIG_IGN); open(sys.argv[1], 'w').write('up'); time.sleep(60)"
POLITE = (
    "import sys, time, signal, os; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); "
    "open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
)


class LateClock(ManualClock):
    """A clock on which every life has lasted a minute, and on which nobody who sleeps wakes."""

    def now(self) -> float:
        self._now += 60.0
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds:
            await super().sleep(seconds)


class Longest(random.Random):
    def uniform(self, a: float, b: float) -> float:
        return b


def child(*command: str, clock=None, on_exit=None, name: str = "worker-0", **environment: str) -> Child:
    spec = ChildSpec(name=name, command=command, environment=environment)
    return Child(spec, RestartDelays(RestartPolicy(), Longest()), clock or SystemClock(), on_exit=on_exit)


def content(path: Path) -> str:
    return path.read_text() if path.exists() else ""


async def written(path: Path) -> str:
    async with asyncio.timeout(20):
        while not (text := content(path)):
            await asyncio.sleep(0.01)
    return text


async def test_a_child_is_started_again_after_each_death_later_and_later():
    clock, exits = ManualClock(), []

    async def on_exit(ended: Exit) -> None:
        exits.append(ended.status)

    async with running(child(sys.executable, "-c", "raise SystemExit(3)", clock=clock, on_exit=on_exit).keep()):
        delays = []
        for _ in range(4):
            await asyncio.wait_for(clock.asleep(), 20)
            delays.append(round(clock.next_wake_in(), 3))
            clock.advance(clock.next_wake_in())

    assert delays == [0.2, 0.4, 0.8, 1.6]
    assert exits == [3, 3, 3, 3]


async def test_a_child_that_ended_because_it_was_asked_to_is_started_again_at_once(tmp_path: Path):
    one = child(sys.executable, "-c", POLITE, str(tmp_path / "pid"), clock=LateClock())
    async with running(one.keep()):
        former = await written(tmp_path / "pid")
        os.kill(int(former), signal.SIGTERM)
        async with asyncio.timeout(20):
            while content(tmp_path / "pid") in {"", former}:
                await asyncio.sleep(0.01)

        assert one.deaths == {Death.ENDED: 1}


async def test_a_child_that_ends_as_soon_as_it_began_is_not_started_again_at_once():
    clock = ManualClock()
    async with running(child(sys.executable, "-c", "", clock=clock).keep()):
        await asyncio.wait_for(clock.asleep(), 20)

        assert clock.next_wake_in() == 0.2


async def test_the_environment_names_the_parent_and_what_is_set(tmp_path: Path):
    text = "import os, sys; open(sys.argv[1], 'w').write(os.environ['PENSTOCK_PARENT_PID'] + ' ' + os.environ['COLOUR'])"
    async with running(child(sys.executable, "-c", text, str(tmp_path / "out"), COLOUR="blue").keep()):
        assert await written(tmp_path / "out") == f"{os.getpid()} blue"


async def test_a_child_leads_a_session_of_its_own(tmp_path: Path):
    async with running(child(sys.executable, "-c", SLEEPING, str(tmp_path / "pid")).keep()):
        pid = int(await written(tmp_path / "pid"))

        assert os.getsid(pid) == pid


async def test_leaving_the_block_asks_children_to_end(tmp_path: Path):
    one, other = (child(sys.executable, "-c", SLEEPING, str(tmp_path / name), name=name) for name in ("a", "b"))
    async with kept((one, other), stop_seconds=10):
        pids = [int(await written(tmp_path / name)) for name in ("a", "b")]

    assert not any(is_alive(pid) for pid in pids)
    assert one.process_id is None


async def test_a_child_that_does_not_end_is_killed(tmp_path: Path):
    deaf = child(sys.executable, "-c", DEAF, str(tmp_path / "up"))
    async with running(deaf.keep()):
        await written(tmp_path / "up")
        pid = deaf.process_id

        await asyncio.wait_for(deaf.stop(0.05), 5)

        assert not is_alive(pid)


async def test_a_cancelled_keeper_leaves_no_process(tmp_path: Path):
    kept_child = child(sys.executable, "-c", DEAF, str(tmp_path / "up"))
    async with running(kept_child.keep()):
        await written(tmp_path / "up")
        pid = kept_child.process_id

    assert not is_alive(pid)


async def test_stopping_while_it_is_down_is_done_at_once():
    clock = ManualClock()
    crashing = child(sys.executable, "-c", "raise SystemExit(3)", clock=clock)
    async with running(crashing.keep()):
        await asyncio.wait_for(clock.asleep(), 20)

        await asyncio.wait_for(stop_all([crashing], 10), 5)

    assert crashing.lives == 1


async def test_refused_settings_of_a_first_life_end_the_keeping():
    with pytest.raises(CannotStart, match="worker-0 refuses its settings"):
        await asyncio.wait_for(child(sys.executable, "-c", "raise SystemExit(78)").keep(), 20)


def test_children_are_kept_on_uvloop_too(tmp_path: Path):
    async def keep() -> int:
        sleeping = child(sys.executable, "-c", SLEEPING, str(tmp_path / "pid"))
        async with kept((sleeping,), stop_seconds=10):
            former = int(await written(tmp_path / "pid"))
            (tmp_path / "pid").unlink()
            os.kill(former, signal.SIGKILL)
            assert int(await written(tmp_path / "pid")) != former
            return former

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert not is_alive(runner.run(keep()))


@pytest.mark.parametrize(("status", "words"), [(0, "exit code 0"), (-11, "SIGSEGV"), (-64, "SIGRTMAX"), (-99, "signal 99")])
def test_an_end_is_described(status: int, words: str):
    assert describe(status) == words


async def test_a_child_that_cannot_be_started_for_a_while_is_tried_again(tmp_path: Path):
    program = tmp_path / "program"
    program.symlink_to("/bin/false")
    clock = ManualClock()
    one = child(str(program), clock=clock)
    async with running(one.keep()):
        await asyncio.wait_for(clock.asleep(), 20)
        program.unlink()
        delays = []
        for _ in range(2):
            clock.advance(clock.next_wake_in())
            await asyncio.wait_for(clock.asleep(), 20)
            delays.append(round(clock.next_wake_in(), 3))
        assert (one.lives, delays) == (1, [0.4, 0.8])

        program.symlink_to("/bin/false")
        clock.advance(clock.next_wake_in())
        await asyncio.wait_for(clock.asleep(), 20)
        assert one.lives == 2


async def test_a_child_that_cannot_be_started_at_all_ends_the_keeping(tmp_path: Path):
    with pytest.raises(FileNotFoundError):
        await asyncio.wait_for(child(str(tmp_path / "missing")).keep(), 20)
