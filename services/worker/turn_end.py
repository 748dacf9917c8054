"""Puts things off until everything that one read of a socket brought was taken in, without another turn of the event loop for it.

What a batcher schedules while a connection reads runs at the end of that read, and the answers leave right behind it. With `call_soon`
they took two turns more of the loop, each with a look at every socket: a tenth to a fifth of a lone wave's cost (docs/decisions).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class TurnEnd:
    """One a process; for the event loop's thread only."""

    __slots__ = ("_due", "_is_reading")

    def __init__(self) -> None:
        """Start outside of a read."""
        self._due: list[Callable[[], object]] = []
        self._is_reading = False

    def soon(self, callback: Callable[[], object]) -> None:
        """Call back at the end of the read that is under way; when there is none, in the loop's next turn."""
        if self._is_reading:
            self._due.append(callback)
        else:
            asyncio.get_running_loop().call_soon(callback)

    def begin(self) -> None:
        """Note that a read begins; `end` has to follow."""
        self._is_reading = True

    def end(self) -> None:
        """Call back all that waits; what they put off in their turn waits for the loop, which must get to its sockets."""
        self._is_reading = False
        due, self._due = self._due, []
        for callback in due:
            try:
                callback()
            except Exception:
                log.exception("turn_end_failed")
