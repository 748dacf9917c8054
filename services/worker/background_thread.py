"""Blocking work in a thread of its own, with a deadline.

Not a pool: work that never comes back (a session that cannot be stopped) must not take a place in one, nor hold up the end of the
process. The thread is a daemon; its late result is dropped.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


async def in_thread(work: Callable[[], T], *, name: str, timeout_seconds: float | None = None) -> T:
    """Run `work` in a new thread and return its result, or raise what it raised.

    Cancelling gives up waiting at once; the thread goes on and its result is dropped.

    Raises:
        TimeoutError: it took longer than `timeout_seconds`; the same holds as for cancelling.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def deliver(result: T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # pyright: ignore[reportArgumentType]  T may include None

    def body() -> None:
        result: T | None = None
        error: BaseException | None = None
        try:
            result = work()
        except BaseException as raised:  # noqa: BLE001  it is raised where the result is awaited
            error = raised
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(deliver, result, error)

    threading.Thread(target=body, name=name, daemon=True).start()
    async with asyncio.timeout(timeout_seconds):
        return await done
