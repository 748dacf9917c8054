"""Work in a thread comes back, fails as itself, or is given up without holding anybody up."""

from __future__ import annotations

import asyncio
import threading

import pytest

from services.worker.background_thread import in_thread


async def test_the_result_comes_back_and_the_loop_goes_on_meanwhile():
    release = threading.Event()
    waiting = asyncio.create_task(in_thread(lambda: release.wait(10), name="test"))
    await asyncio.sleep(0)

    release.set()

    assert await waiting is True


async def test_a_failure_is_raised_as_itself():
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0, name="test")


async def test_work_that_takes_too_long_is_given_up_and_its_late_result_dropped():
    release = threading.Event()
    finished = threading.Event()

    def work() -> None:
        release.wait(10)
        finished.set()

    with pytest.raises(TimeoutError):
        await in_thread(work, name="test", timeout_seconds=0.01)
    release.set()
    await in_thread(lambda: finished.wait(10), name="test")
