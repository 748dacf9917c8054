"""Where routers reach this worker: a Unix socket for its own user, or TCP, with mutual TLS where machines are apart."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from services.worker.link_connection import LinkConnection, LinkIdentity
from services.worker.link_ports import Lookup
from services.worker.turn_end import TurnEnd

log = structlog.get_logger(__name__)

BACKLOG = 128


class LinkServer:
    """Accepts links; answers leave on them until the block of `serving` ends."""

    def __init__(self, identity: LinkIdentity, lookup: Lookup, clock: Callable[[], float], turn_end: TurnEnd | None = None) -> None:
        self.address = ""
        """Where it listens, as it stands in the worker's status; known inside of `serving`."""
        self._identity = identity
        self._lookup = lookup
        self._clock = clock
        self._turn_end = turn_end or TurnEnd()
        self._connections: set[LinkConnection] = set()

    @asynccontextmanager
    async def serving(self, address: str, tls: ssl.SSLContext | None = None) -> AsyncGenerator[LinkServer]:
        """Listen inside of the block.

        Args:
            address: `unix:/path`, made with mode 0600, or `tcp:host:port`; port 0 chooses a free one.
            tls: for TCP; a context that requires client certificates makes the link mutual, and it ends the handshake with strangers.
        """
        kind, _, place = address.partition(":")
        loop = asyncio.get_running_loop()
        if kind == "unix":
            server = await loop.create_unix_server(self._connection, sock=_unix_socket(place), backlog=BACKLOG)
            self.address = address
        else:
            listener = _tcp_socket(place)
            server = await loop.create_server(self._connection, sock=listener, ssl=tls, backlog=BACKLOG)
            self.address = f"tcp:{place.rpartition(':')[0]}:{listener.getsockname()[1]}"
        log.info("link_listening", address=self.address)
        try:
            yield self
        finally:
            server.close()
            for connection in list(self._connections):
                connection.close()
            if kind == "unix":
                _remove(place)

    @property
    def is_linked(self) -> bool:
        """Whether any router is connected."""
        return bool(self._connections)

    def announce_drain(self) -> None:
        """Tell all routers that no new work is taken."""
        for connection in self._connections:
            connection.announce(draining=True)

    def announce_credit(self, rows: int) -> None:
        """Give all routers another limit of unanswered rows."""
        for connection in self._connections:
            connection.announce(credit_rows=rows)

    def _connection(self) -> LinkConnection:
        return LinkConnection(self._identity, self._lookup, self._clock, self._connections, self._turn_end)


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):
        Path(path).unlink()


def _unix_socket(path: str) -> socket.socket:
    """Bind a Unix socket that was never open to others; a left-over of a dead process is replaced."""
    _remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(mask)
    listener.setblocking(False)
    return listener


def _tcp_socket(place: str) -> socket.socket:
    host, _, port = place.rpartition(":")
    host = host.strip("[]")
    listener = socket.create_server((host, int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG)
    listener.setblocking(False)
    return listener
