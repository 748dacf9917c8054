"""Finds the addresses of the names that workers give, and goes on with those that it found last when a name cannot be looked up.

A resolver that fails or hangs takes away nothing that was known: the link's handshake names the worker's instance, so an old address that
somebody else has by now is refused there. Of each name one lookup runs at a time, for one that hangs holds a thread until it ends.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable

import structlog

LOOKUP_SECONDS = 0.5
"""How long a lookup is waited for where nothing else is known to wait for; the link's connection has two seconds in all."""

Resolve = Callable[[str], Awaitable[tuple[str, ...]]]
"""Returns the addresses of a name. Raises OSError."""

log = structlog.get_logger(__name__)


async def by_the_machine(name: str) -> tuple[str, ...]:
    """Ask what this machine asks: its hosts file, its name servers.

    Raises:
        OSError: the name cannot be looked up.
    """
    found = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(place[0]) for *_, place in found))


class Lookup:
    """Looks names up, and remembers; shared by all links of a process, for a worker that comes back keeps its name."""

    def __init__(self, resolve: Resolve = by_the_machine) -> None:
        """Keep who looks names up."""
        self._resolve = resolve
        self._known: dict[str, tuple[str, ...]] = {}
        self._running: dict[str, asyncio.Task[tuple[str, ...]]] = {}

    async def addresses(self, name: str) -> tuple[str, ...]:
        """Return the addresses of a name, those of before when it cannot be looked up now; an address is its own.

        Raises:
            OSError, TimeoutError: nothing is known of it.
        """
        if _is_address(name):
            return (name,)
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                return await asyncio.shield(self._lookup(name))
        except (OSError, TimeoutError) as error:
            if name not in self._known:
                raise
            log.warning("name_not_looked_up", name=name, error=type(error).__name__, kept=self._known[name])
            return self._known[name]

    def _lookup(self, name: str) -> asyncio.Task[tuple[str, ...]]:
        task = self._running.get(name)
        if task is None:
            task = self._running[name] = asyncio.ensure_future(self._resolved(name))
            task.add_done_callback(lambda ended: self._end(name, ended))
        return task

    async def _resolved(self, name: str) -> tuple[str, ...]:
        return await self._resolve(name)

    def _end(self, name: str, task: asyncio.Task[tuple[str, ...]]) -> None:
        del self._running[name]
        if not task.cancelled() and task.exception() is None and task.result():
            self._known[name] = task.result()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
