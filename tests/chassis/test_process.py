"""The life of a process: signals, background work, death with the parent."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis.process import running
from tests.chassis.children import ROOT, is_alive, script, wait_gone

APP = """
import asyncio, sys
from contextlib import asynccontextmanager
from services.chassis import logs
from services.chassis.process import CannotStart, Hooks, run

@asynccontextmanager
async def edge(name):
    print("open", name)
    try:
        yield
    finally:
        print("close", name)

@asynccontextmanager
async def app(mode):
    async with edge("database"):
        if mode == "slow":
            await asyncio.sleep(60)
        if mode == "full":
            with open("/dev/full", "w") as file:
                file.write("state")
        if mode == "refuses":
            raise CannotStart("port 8000 is taken")
        async with edge("front"):
            yield Hooks(reload=lambda: print("reload"), abandon=lambda: print("abandon"))
            print("leaving")
        if mode == "stuck":
            await asyncio.sleep(60)
        if mode == "fails":
            raise ValueError("closing failed")

with logs.started("app", sys.argv[2]):
    code = run(app, sys.argv[1])
sys.exit(code)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_in_mirror_order_and_exits_with_zero(number: int):
    with script(APP, "plain", "error") as app:
        assert [app.line(), app.line()] == ["open database", "open front"]
        app.signal(signal.SIGHUP)
        assert app.line() == "reload"

        app.signal(number)

        assert [app.line(), app.line(), app.line()] == ["leaving", "close front", "close database"]
        assert app.wait() == 0


def test_a_signal_while_opening_closes_what_is_open_and_exits_with_zero():
    with script(APP, "slow", "error") as app:
        assert app.line() == "open database"

        app.signal(signal.SIGTERM)

        assert app.line() == "close database"
        assert app.wait() == 0


def test_a_second_signal_abandons_at_once():
    with script(APP, "stuck", "error") as app:
        assert [app.line(), app.line()] == ["open database", "open front"]
        app.signal(signal.SIGTERM)
        assert [app.line(), app.line()] == ["leaving", "close front"]

        app.signal(signal.SIGINT)

        assert app.line() == "abandon"
        assert app.wait() == 128 + signal.SIGINT


def test_a_process_that_cannot_start_says_why_without_a_trace():
    with script(APP, "refuses", "error") as app:
        assert [app.line(), app.line()] == ["open database", "close database"]
        assert app.wait() == 1
        assert app.errors() == "error: port 8000 is taken\n"


def test_a_full_disk_is_told_although_the_log_may_lie_on_it():
    with script(APP, "full", "error") as app:
        assert app.wait() == 1
        lines = app.errors().splitlines()

    assert "error: No space left on device; make room, or name another folder with --state-dir" in lines


def test_a_failure_exits_with_one():
    with script(APP, "fails", "error") as app:
        assert [app.line(), app.line()] == ["open database", "open front"]
        app.signal(signal.SIGTERM)
        assert app.wait() == 1


def test_a_terminal_that_closes_stops_the_process():
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir("/")
        os.execve(sys.executable, [sys.executable, "-u", "-P", "-c", APP, "plain", "info"], os.environ | {"PYTHONPATH": str(ROOT)})
    seen = b""
    while b"open front" not in seen:
        seen += os.read(terminal, 1000)

    os.close(terminal)

    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in {0, 1}  # 1: its own last words found no terminal


async def test_leaving_the_block_cancels_background_work_and_waits_for_it():
    steps: list[str] = []
    begun = asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            steps.append("cleaned up")

    async with running(work()):
        await begun.wait()
    steps.append("left")

    assert steps == ["cleaned up", "left"]


async def test_a_failure_of_background_work_cancels_the_block_and_is_raised_as_itself():
    cause = KeyError("cause")

    async def work() -> None:
        raise ValueError("broken") from cause

    steps: list[str] = []

    async def block() -> None:
        async with running(work()), running(asyncio.Event().wait()):
            try:
                await asyncio.Event().wait()
            finally:
                steps.append("cancelled")

    with pytest.raises(ValueError, match="broken") as failure:
        await block()

    assert steps == ["cancelled"]
    assert failure.value.__cause__ is cause


async def test_work_that_is_done_early_ends_nothing():
    async def work() -> int:
        return 7

    async with running(work()) as task:
        assert await task == 7
        await asyncio.sleep(0)


async def test_an_error_of_the_block_is_raised_as_itself():
    with pytest.raises(LookupError):
        async with running(asyncio.Event().wait()):
            raise LookupError


async def test_a_cancelled_block_stays_cancelled():
    async def block() -> None:
        async with running(asyncio.Event().wait()):
            await asyncio.Event().wait()

    task = asyncio.create_task(block())
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task


PARENT = """
import os, signal, subprocess, sys
child = subprocess.Popen([sys.executable, "-u", "-P", "-c", sys.argv[1]], env=os.environ | {"PENSTOCK_PARENT_PID": str(os.getpid())},
                         start_new_session=True, stdout=subprocess.PIPE)
print(child.pid, child.stdout.readline().decode().strip())
signal.pause()
"""
CHILD = """
import signal
from services.chassis.parentage import die_with_parent
die_with_parent()
for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
print("bound", flush=True)
signal.pause()
"""


def test_a_child_dies_when_its_parent_is_killed():
    with script(PARENT, CHILD) as parent:
        pid, word = parent.line().split()
        assert word == "bound"
        assert is_alive(int(pid))

        parent.signal(signal.SIGKILL)

        assert wait_gone(int(pid), 2.0)


def test_a_child_whose_parent_died_before_it_could_look_ends_at_once():
    with script(CHILD, PENSTOCK_PARENT_PID="1") as orphan:
        assert orphan.wait() == 1
        assert orphan.line() == ""
        assert orphan.errors() == "error: the parent process 1 (PENSTOCK_PARENT_PID) is gone\n"


def test_without_a_named_parent_nothing_is_bound(tmp_path: Path):
    environment = {name: value for name, value in os.environ.items() if name != "PENSTOCK_PARENT_PID"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", CHILD.replace("signal.pause()", "")], env=environment, capture_output=True, timeout=20, check=True
    )

    assert done.stdout == b"bound\n"
