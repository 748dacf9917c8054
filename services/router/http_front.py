"""The HTTP face: uvicorn on the router's own loop, and the front port on top of it.

uvicorn's server accepts, ticks and closes; its protocol class is ours (http_connection). Several processes share a port by SO_REUSEPORT; a
listening socket that closes resets the connections that wait in its queue, so draining takes them out first: `accept` until there is
nothing, then close, with nothing in between. Connections that are open answer what is under way, and whatever their callers had sent
before they could know, with `connection: close`; those without a request are closed when they have been quiet for a moment, because
a request may just be on its way.

Measured with wrk on one core, the server on the other, behind it a loop that answers every call at once, one row of 8 FP32 values
(2026-11-22, two shared EPYC cores: the best of several runs; the same machine under load gives a third of it). OIP is cheaper by
now, see docs/decisions (what an HTTP client repeats is read once):

| requests/s at 16 / 64 connections | |
|---|---|
| uvicorn, raw ASGI, echoes the body and translates nothing | 10.1k / 13.9k |
| OIP JSON | 15.3k / 20.9k |
| OIP binary | 27.3k / 31.0k |
| rows (`/api/v1/models/{model}/predict`) | 15.6k / 14.1k |
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, cast

import structlog
import uvicorn

from penstock.contracts.errors import ServingError
from services.chassis.tls_files import TlsFiles, context_factory
from services.router.call_buffer import OPEN_CALLS_LIMIT, CallBuffer
from services.router.control import Control
from services.router.front import Wave
from services.router.http_connection import HttpConnection, connection_factory
from services.router.http_head import HttpLimits
from services.router.http_routes import Routes
from services.router.http_service import HttpService
from services.router.http_surface import http_surface

_BACKLOG = 2048
_SWEEP_SECONDS = 0.25
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpOptions:
    """How HTTP is served."""

    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free port."""
    reuse_port: bool = False
    """Share the port with other router processes (SO_REUSEPORT)."""
    tls: TlsFiles | None = None
    """Key and certificates; None serves in the clear."""
    missing_type_is_json: bool = True
    """Whether a body without Content-Type counts as JSON where that is not the protocol's own rule."""
    quiet_seconds: float = 1.0
    """How long a connection must have been without a request before draining closes it."""
    limits: HttpLimits = field(default_factory=HttpLimits)
    open_calls_limit: int = OPEN_CALLS_LIMIT
    """Most calls that are open at once."""
    metrics_port: int = 8002
    """Told to who looks for metrics here."""
    default_model: str = ""
    """The model of `/invocations` when several are served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFace:
    """What serves HTTP now."""

    fronts: tuple[HttpFront, ...]
    """Whose waves the router is to take."""
    port: int

    @property
    def answers(self) -> Mapping[tuple[str, int], int]:
        """Answers by (method, status), since the start."""
        return self.fronts[0].service.counts


class HttpFront:
    """Serves HTTP, and hands the calls over as a front."""

    def __init__(self, options: HttpOptions, routes: Routes, buffer: CallBuffer) -> None:
        """Keep the collaborators; `open_http` starts it."""
        self.service = HttpService(routes, buffer, limits=options.limits, missing_type_is_json=options.missing_type_is_json)
        self.port = 0
        self._options = options
        self._buffer = buffer
        self._server = uvicorn.Server(_config(options, self.service))
        self._socket: socket.socket | None = None
        self._ticking: asyncio.Task[None] | None = None

    # --- the front port -----------------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return a descriptor that is readable while `recv_wave` has something."""
        return self._buffer.fileno()

    def recv_wave(self, limit: int) -> Wave:
        """Return up to `limit` calls that arrived, and all cancellations; never blocks."""
        return self._buffer.recv_wave(limit)

    def respond_many(self, call_ids: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Answer calls; ids that are no longer open are ignored."""
        self._buffer.respond_many(call_ids, payloads)

    def fail_many(self, call_ids: Sequence[int], errors: Sequence[ServingError]) -> None:
        """Refuse calls; ids that are no longer open are ignored."""
        self._buffer.fail_many(call_ids, errors)

    async def drain(self, deadline: float) -> None:
        """Take no new connections, answer what comes on the old ones and close them; return when none is open, or at `deadline`."""
        if self._socket is None:
            return
        self.service.is_draining = True
        listening, self._socket = self._socket, None
        arriving = self._stop_listening(listening)
        # What the loop has accepted becomes a connection within its next turns.
        await asyncio.wait([*arriving, asyncio.create_task(asyncio.sleep(0.01))], timeout=max(0.0, deadline - time.monotonic()))
        while self._connections() and time.monotonic() < deadline:
            now = asyncio.get_running_loop().time()
            for connection in self._connections():
                connection.close_if_idle(now, self._options.quiet_seconds)
            await asyncio.sleep(min(0.02, max(0.0, deadline - time.monotonic())))
        await self._buffer.drain(deadline)

    # --- life ---------------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port cannot be bound, or a certificate cannot be read.
            KeyExposed: others may read the key.
        """
        options = self._options
        config = self._server.config
        config.load()
        self._socket = _bound(options)
        self.port = self._socket.getsockname()[1]
        self._server.lifespan = config.lifespan_class(config)
        # uvicorn's server closes the socket that it is given; a duplicate stays ours until the queue behind it is empty.
        await self._server.startup(sockets=[self._socket.dup()])
        self._ticking = asyncio.create_task(self._tick())
        log.info("http_listening", host=options.host, port=self.port, tls=options.tls is not None)

    async def close(self) -> None:
        """Close everything at once; after `drain` there is nothing left to close. Idempotent."""
        if self._socket is not None:
            for server in self._server.servers:
                server.close()
            self._socket.close()
            self._socket = None
        if self._ticking is not None:
            self._ticking.cancel()
            with suppress(asyncio.CancelledError):
                await self._ticking
            self._ticking = None
        for connection in self._connections():
            connection.transport.abort()
        self._buffer.close()

    def _stop_listening(self, listening: socket.socket) -> list[asyncio.Task[Any]]:
        """Close the port; return the connections that were waiting behind it, on their way to be ours."""
        for server in self._server.servers:
            server.close()
        loop = asyncio.get_running_loop()
        waiting: list[socket.socket] = []
        with suppress(BlockingIOError):
            while True:
                waiting.append(listening.accept()[0])
        listening.close()
        factory = connection_factory(self.service)
        config = self._server.config
        arriving: list[asyncio.Task[Any]] = []
        for one in waiting:
            one.setblocking(False)
            connected = loop.connect_accepted_socket(
                lambda: factory(config=config, server_state=self._server.server_state, app_state={}), one, ssl=config.ssl
            )
            arriving.append(loop.create_task(connected))
        return arriving

    def _connections(self) -> list[HttpConnection]:
        return [one for one in self._server.server_state.connections if isinstance(one, HttpConnection)]

    async def _tick(self) -> None:
        """Look after all connections' timeouts, and the date header."""
        loop = asyncio.get_running_loop()
        dated_at = 0.0
        while True:
            now = loop.time()
            for connection in self._connections():
                connection.sweep(now)
            if now - dated_at >= 1.0:
                dated_at = now
                self.service.tick()
            await asyncio.sleep(_SWEEP_SECONDS)


@asynccontextmanager
async def open_http(options: HttpOptions, control: Control) -> AsyncGenerator[HttpFace]:
    """Serve HTTP while the block lasts. Draining is the caller's to ask for, before it leaves.

    Raises:
        OSError: the port cannot be bound, or a certificate cannot be read.
    """
    buffer = CallBuffer(limit=options.open_calls_limit)
    routes = http_surface(control, buffer, metrics_port=options.metrics_port, default_model=options.default_model)
    front = HttpFront(options, routes, buffer)
    await front.start()
    try:
        yield HttpFace(fronts=(front,), port=front.port)
    finally:
        await front.close()


def _bound(options: HttpOptions) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if options.reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listening.bind((options.host, options.port))
        listening.listen(_BACKLOG)
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _config(options: HttpOptions, service: HttpService) -> uvicorn.Config:
    tls = options.tls
    return uvicorn.Config(
        cast("Any", service.asgi),
        http=cast("Any", connection_factory(service)),
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=_BACKLOG,
        ssl_context_factory=context_factory(tls),
    )
