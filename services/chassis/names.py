"""Addresses by name, kept for the time when nobody can be asked.

A name server that fails, or that never answers, must not cut what is connected, nor keep what was cut from coming back: the last address
that a name had is used until there is a new one. Lookups run in threads of their own, one at a time for each name, because a lookup
cannot be cancelled: one that hangs holds its thread, and nobody else's.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable

import structlog

LOOKUP_SECONDS = 1.0
"""How long a lookup is waited for; what it says later counts the next time."""

Lookup = Callable[[str], str]
"""Return the address of a name; raises OSError. Runs in a thread."""

log = structlog.get_logger(__name__)


def system_lookup(name: str) -> str:
    """Ask the machine's resolver.

    Raises:
        OSError: it does not know the name, or knows nothing now.
    """
    return str(socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)[0][4][0])


class Names:
    """Looks names up and remembers."""

    def __init__(self, lookup: Lookup = system_lookup, *, wait_seconds: float = LOOKUP_SECONDS) -> None:
        """Store the arguments."""
        self._lookup = lookup
        self._wait_seconds = wait_seconds
        self._last: dict[str, str] = {}
        self._asked: dict[str, asyncio.Future[str]] = {}
        self._doubted: set[str] = set()

    async def address(self, host: str) -> str:
        """Return the address of a host; one that is an address already is returned as it is.

        Raises:
            OSError: the name cannot be looked up, and never could.
        """
        if _is_address(host):
            return host
        try:
            async with asyncio.timeout(self._wait_seconds):
                found = await asyncio.shield(self._asking(host))
        except OSError as error:  # TimeoutError is one
            return self._remembered(host, error)
        if host in self._doubted:
            self._doubted.discard(host)
            log.info("name_found_again", name=host)
        self._last[host] = found
        return found

    def _remembered(self, host: str, error: OSError) -> str:
        last = self._last.get(host)
        if last is None:
            raise error
        if host not in self._doubted:
            self._doubted.add(host)
            log.warning("name_not_found", name=host, last_address=last, reason=type(error).__name__)
        return last

    def _asking(self, host: str) -> asyncio.Future[str]:
        asked = self._asked.get(host)
        if asked is None:
            asked = self._asked[host] = asyncio.get_running_loop().create_future()
            asked.add_done_callback(lambda done: (self._asked.pop(host, None), done.cancelled() or done.exception()))
            threading.Thread(target=self._ask, args=(host, asked), name="name-lookup", daemon=True).start()
        return asked

    def _ask(self, host: str, asked: asyncio.Future[str]) -> None:
        found: str | OSError
        try:
            found = self._lookup(host)
        except OSError as error:
            found = error
        loop = asked.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(_settle, asked, found)


def _settle(asked: asyncio.Future[str], found: str | OSError) -> None:
    if asked.done():
        return
    if isinstance(found, OSError):
        asked.set_exception(found)
    else:
        asked.set_result(found)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True
