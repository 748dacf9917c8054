"""Watches executions on the event loop from outside of it.

A batch runs on the loop only when its measured cost is far below a millisecond. Should one take long all the same (a data-dependent
loop, a machine that was frozen) nothing on the loop can stop it; this thread can, and the batch then runs again in an instance's thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Self

import structlog

from services.worker.running import STUCK_SECONDS
from services.worker.session import RunHandle

log = structlog.get_logger(__name__)

LIMIT_SECONDS = 0.2
"""Below the 0.4 s after which routers give a silent worker up."""
PERIOD_SECONDS = 0.1


class InlineGuard:
    """One a process; executions on the loop are entered and left."""

    def __init__(self, on_stuck: Callable[[], None], *, limit_seconds: float = LIMIT_SECONDS) -> None:
        """`on_stuck` is called in the guard's thread when an execution ignores its brake."""
        self._on_stuck = on_stuck
        self._limit_seconds = limit_seconds
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._handle: RunHandle | None = None
        self._since = 0.0
        self._thread = threading.Thread(target=self._watch, name="inline-guard", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def begin(self, handle: RunHandle) -> None:
        """Note that an execution starts on the loop."""
        with self._lock:
            self._handle, self._since = handle, monotonic()

    def end(self) -> None:
        """Note that it is over."""
        with self._lock:
            self._handle = None

    def _watch(self) -> None:
        while not self._ended.wait(min(PERIOD_SECONDS, self._limit_seconds)):
            with self._lock:
                handle, age = self._handle, monotonic() - self._since
                if handle is None or age < self._limit_seconds:
                    continue
                is_ignored = handle.is_terminated
                handle.terminate()
            if not is_ignored:
                log.warning("inline_execution_stopped", seconds=round(age, 3))
            elif age > self._limit_seconds + STUCK_SECONDS:
                log.error("inline_execution_stuck", seconds=round(age, 3))
                self._on_stuck()
                return
