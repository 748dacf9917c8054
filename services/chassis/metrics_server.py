"""`GET /metrics` over a Unix socket or TCP.

Small on purpose: one request a connection, bounded in time, bytes and number, so that it can stand beside a hot path. Formatting runs
in a thread. OpenMetrics, with exemplars, when Accept asks for it; else Prometheus text.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from pydantic import BaseModel, Field

from services.chassis.exposure import is_of_this_machine
from services.chassis.process import CannotStart

READ_SECONDS = 5.0
"""Longest wait for a request's head, and for a slow reader of the answer."""

HEAD_BYTES = 16 << 10
"""Longest head."""

CONNECTIONS = 32
"""Most connections at once; further ones are closed at once."""

Source = Callable[[], Awaitable[CollectorRegistry]]
"""What is shown, asked for at every request."""

log = structlog.get_logger(__name__)


class ScrapeSettings(BaseModel, extra="forbid", frozen=True):
    """Where a process shows its own metrics beside its socket: for those that are scraped one by one, as in containers."""

    host: str = "127.0.0.1"
    """Address to listen on, whatever that of the faces is; nobody needs a key or a certificate there."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """None listens nowhere; 0 takes a free port."""


class _Answer(Exception):
    """An answer other than the metrics."""

    def __init__(self, status: str, text: str) -> None:
        super().__init__(status)
        self.status = status
        self.text = text


class MetricsServer:
    """Answers scrapes of one source."""

    def __init__(self, source: Source) -> None:
        """Store the source."""
        self._source = source
        self._connections: dict[asyncio.Task[object], asyncio.StreamWriter] = {}

    @asynccontextmanager
    async def on_socket(self, path: Path) -> AsyncGenerator[None]:
        """Serve on a Unix socket that only this user may open; a left-over of a dead process is replaced."""
        server = await asyncio.start_unix_server(self._connected, sock=_bound(path), limit=HEAD_BYTES)
        try:
            async with self._serving(server):
                yield
        finally:
            _remove(path)

    @asynccontextmanager
    async def on_port(self, host: str, port: int) -> AsyncGenerator[int]:
        """Serve on TCP and give out the port, which port 0 chooses; an address that other machines reach is warned of, for it asks no key.

        Raises:
            OSError: the port is taken.
        """
        if not is_of_this_machine(host):
            log.warning("metrics_open", host=host, effect="whoever reaches this machine can read the metrics")
        server = await asyncio.start_server(self._connected, host, port, limit=HEAD_BYTES)
        async with self._serving(server):
            yield server.sockets[0].getsockname()[1]

    @asynccontextmanager
    async def opened(self, socket: Path, scrape: ScrapeSettings) -> AsyncGenerator[None]:
        """Serve on a Unix socket, in a folder that is made, and on TCP where that is asked for.

        Raises:
            CannotStart: the port cannot be had.
        """
        socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.on_socket(socket))
            if scrape.port is not None:
                try:
                    await stack.enter_async_context(self.on_port(scrape.host, scrape.port))
                except OSError as error:
                    raise CannotStart(f"no metrics at {scrape.host}:{scrape.port}: {error.strerror or error}; set scrape.port") from error
            yield

    @asynccontextmanager
    async def _serving(self, server: asyncio.Server) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            server.close()
            # Not by cancelling: Python 3.11's streams log a cancelled connection as an error.
            for writer in self._connections.values():
                writer.transport.abort()
            if self._connections:
                await asyncio.wait(list(self._connections), timeout=READ_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), READ_SECONDS)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= CONNECTIONS:
            writer.close()
            return
        self._connections[task] = writer
        try:
            await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the scraper left, is too slow, or sent no request: its loss
        except Exception:
            log.exception("scrape_failed")
        finally:
            del self._connections[task]
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(READ_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        method = head.split(b" ", 1)[0]
        try:
            accept = accepted(head)
            registry = await self._source()
            encode, kind = choose_encoder(accept)
            status, body = "200 OK", await asyncio.to_thread(encode, registry)
        except _Answer as answer:
            status, kind, body = answer.status, "text/plain; charset=utf-8", answer.text.encode()
        answered = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        writer.write(answered + (b"" if method == b"HEAD" else body))
        async with asyncio.timeout(READ_SECONDS):
            await writer.drain()
            writer.close()
            await writer.wait_closed()


def _bound(path: Path) -> socket.socket:
    _remove(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def accepted(head: bytes) -> str:
    """Return the Accept header of a request for the metrics.

    Raises:
        _Answer: it asks for something else.
    """
    line, _, rest = head.decode("latin-1").partition("\r\n")
    parts = line.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise _Answer("400 Bad Request", "this is no HTTP/1 request\n")
    if parts[1].partition("?")[0] != "/metrics":
        raise _Answer("404 Not Found", "metrics are at /metrics\n")
    if parts[0] not in {"GET", "HEAD"}:
        raise _Answer("405 Method Not Allowed", "GET or HEAD\n")
    fields = (field.partition(":") for field in rest.split("\r\n"))
    return ",".join(value.strip() for name, _, value in fields if name.strip().lower() == "accept")


def shown(registry: CollectorRegistry) -> Source:
    """Return a source that always shows the same registry."""

    async def source() -> CollectorRegistry:
        return registry

    return source


class Gathered:
    """Metrics that were computed elsewhere, in the shape of a registry's collector."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        """Store the metrics."""
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics."""
        return self._metrics
