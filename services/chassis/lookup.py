"""Finds the addresses of names, and goes on with those that it found last when a name cannot be looked up.

A name server that fails or hangs takes away nothing that was known. Each lookup has a thread of its own, at most one for the same
question: libuv looks names up in four threads that everything in a process shares, so four that hang would stop all others, and the end of
the process would wait for them. A lookup that is waited for no longer goes on, and what it finds counts for whoever asks next.

That the old address is still the right one is for who connects to find out: links repeat the worker's instance in their handshake, and
TLS asks for a certificate of the name.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

KNOWN_SECONDS = 0.05
"""How long a lookup is waited for where an earlier answer is known; Redis has twice that for a whole connection."""
UNKNOWN_SECONDS = 2.0
"""How long where nothing is known."""
LOOKUPS = 64
"""Most lookups under way; each holds a thread."""
KEPT_ANSWERS = 4096
"""Names come and go with workers; beyond this the oldest are forgotten."""

Places = tuple[Any, ...]
"""What `socket.getaddrinfo` returns, in its order."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What `socket.getaddrinfo` is asked."""

    name: str
    port: int | str | None = None
    family: int = 0
    kind: int = 0
    protocol: int = 0
    flags: int = 0


Resolve = Callable[[Question], Places]
"""Answers a question; blocks. Raises OSError."""


def by_the_machine(question: Question) -> Places:
    """Ask what this machine asks: its hosts file, its name servers.

    Raises:
        OSError: the name cannot be looked up.
    """
    asked = question
    return tuple(socket.getaddrinfo(asked.name, asked.port, asked.family, asked.kind, asked.protocol, asked.flags))


class Lookup:
    """Looks names up, and remembers; one for all connections of a loop, for whoever comes back keeps its name."""

    def __init__(self, resolve: Resolve = by_the_machine, *, unknown_seconds: float = UNKNOWN_SECONDS) -> None:
        """Keep who looks names up, and how long it is waited for where nothing is known."""
        self._resolve = resolve
        self._unknown_seconds = unknown_seconds
        self._known: dict[Question, Places] = {}
        self._running: dict[Question, asyncio.Future[Places]] = {}
        self._missed: set[Question] = set()

    async def places(self, question: Question) -> Places:
        """Return what a name stands for, as it was found last where it cannot be looked up now.

        Raises:
            OSError: nothing is known of it.
        """
        known = self._known.get(question)
        try:
            async with asyncio.timeout(self._unknown_seconds if known is None else KNOWN_SECONDS):
                return await asyncio.shield(self._lookup(question))
        except OSError as error:
            if known is None and isinstance(error, TimeoutError):
                raise socket.gaierror(socket.EAI_AGAIN, f"{question.name[:80]!r} was not looked up in time") from None
            if known is None:
                raise
            if question not in self._missed:
                self._missed.add(question)
                log.warning("name_not_looked_up", name=question.name, error=type(error).__name__, kept=[str(one[4][0]) for one in known])
            return known

    def _lookup(self, question: Question) -> asyncio.Future[Places]:
        found = self._running.get(question)
        if found is None:
            if len(self._running) >= LOOKUPS:
                message = f"{LOOKUPS} names are being looked up already"
                raise OSError(message)
            found = self._running[question] = _in_a_thread(lambda: self._resolve(question), question.name)
            found.add_done_callback(lambda ended: self._end(question, ended))
        return found

    def _end(self, question: Question, ended: asyncio.Future[Places]) -> None:
        del self._running[question]
        if ended.cancelled() or ended.exception() is not None or not ended.result():
            return
        if question in self._missed:
            self._missed.discard(question)
            log.info("name_looked_up_again", name=question.name)
        if self._known.pop(question, None) is None and len(self._known) >= KEPT_ANSWERS:
            self._missed.discard(oldest := next(iter(self._known)))
            del self._known[oldest]
        self._known[question] = ended.result()


def _in_a_thread(work: Callable[[], Places], name: str) -> asyncio.Future[Places]:
    """Begin `work` in a thread that no end of the process waits for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Places] = loop.create_future()

    def tell(result: Places, error: BaseException | None) -> None:
        if not future.done():
            future.set_result(result) if error is None else future.set_exception(error)

    def run() -> None:
        result: Places = ()
        error: BaseException | None = None
        try:
            result = work()
        except Exception as failure:  # noqa: BLE001  raised again where it was asked for
            error = failure
        with suppress(RuntimeError):  # the loop may have been closed meanwhile
            loop.call_soon_threadsafe(tell, result, error)

    threading.Thread(target=run, name=f"lookup-{name[:32]}", daemon=True).start()
    return future
