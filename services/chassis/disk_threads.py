"""Blocking work on files, off the event loop, in a few named threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import ParamSpec, Self, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DiskThreads:
    """Threads that live as long as their block."""

    def __init__(self, name: str, *, threads: int = 2) -> None:
        """Store the arguments; `name` is the start of the threads' names."""
        self._executor = ThreadPoolExecutor(max_workers=threads, thread_name_prefix=name)

    async def __aenter__(self) -> Self:
        """Return itself; threads start with the work."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Let the threads end; nothing of theirs is running any more, for `run` waits for it."""
        self._executor.shutdown(wait=False)

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `work` returns.

        A cancelled caller still waits for the piece of work that is under way: it uses files that the caller closes next.
        """
        future = asyncio.get_running_loop().run_in_executor(self._executor, lambda: work(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise
