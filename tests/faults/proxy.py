"""A TCP proxy that misbehaves on request, in the vocabulary of toxiproxy.

It lives in a thread with a loop of its own, so that whoever loads the server and whoever breaks its connections do not wait for one
another. What a toxic does holds for connections that are open and for new ones; without any, bytes pass as they come.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from random import Random
from typing import Any, Self, TypeVar

BLOCK_BYTES = 64 * 1024
SLICES_AT_A_TIME = 256
HELD_BLOCKS = 256
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Toxic:
    """How the connections of a proxy misbehave; nothing set is no misbehaviour. `up` is towards the server."""

    latency_seconds: float = 0.0
    """Each block arrives this much later, in both directions."""
    jitter_seconds: float = 0.0
    """Each block arrives later by a random time up to this, and never before the one in front of it."""
    hang: bool = False
    """Nothing passes; connections stay open and new ones are accepted. What was held passes when it is lifted."""
    hang_up: bool = False
    """As `hang`, towards the server only."""
    reset: bool = False
    """Connections end with RST, new ones as soon as they are accepted."""
    slice_bytes: int = 0
    """Blocks towards the client are cut into segments of this size."""
    limit_bytes: int | None = None
    """Connections are closed after so many bytes towards the client, counted from when the toxic came."""
    bytes_per_second: float = 0.0
    """Bandwidth in both directions."""


NONE = Toxic()


class Proxy:
    """Listens on a free port of 127.0.0.1 and passes connections on to wherever `upstream` says at that moment."""

    def __init__(self, name: str, upstream: Callable[[], tuple[str, int] | None]) -> None:
        """Store the arguments; enter it to listen."""
        self.name = name
        self.port = 0
        self.connections = 0
        """Connections accepted so far."""
        self._upstream = upstream
        self._toxic = NONE
        self._random = Random(0)
        self._changed = asyncio.Event()
        self._pipes: set[_Pipe] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{name}", daemon=True)
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._listen())
        return self

    def __exit__(self, *failure: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def poison(self, toxic: Toxic) -> None:
        """Misbehave like this from now on."""
        self._do(self._set(toxic))

    def heal(self) -> None:
        """Behave."""
        self.poison(NONE)

    def forget(self) -> None:
        """Let nothing more pass on the connections of now, without a word to either end, as a firewall that lost its table."""
        self._do(self._forget())

    @contextmanager
    def leading_to(self, address: tuple[str, int]) -> Generator[None]:
        """Pass new connections on to somebody else inside of the block."""
        upstream, self._upstream = self._upstream, lambda: address
        try:
            yield
        finally:
            self._upstream = upstream

    @property
    def toxic(self) -> Toxic:
        """What holds now."""
        return self._toxic

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        for pipe in list(self._pipes):
            pipe.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _set(self, toxic: Toxic) -> None:
        self._toxic = toxic
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        for pipe in list(self._pipes):
            pipe.passed_down = 0
            if toxic.reset:
                pipe.reset()

    async def _forget(self) -> None:
        for pipe in self._pipes:
            pipe.is_forgotten = True

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        target = self._upstream()
        if self._toxic.reset or target is None:
            _reset(writer)
            return
        try:
            there = await asyncio.open_connection(*target)
        except OSError:
            _reset(writer)
            return
        pipe = _Pipe((reader, writer), there)
        self._pipes.add(pipe)
        try:
            await asyncio.gather(self._pump(pipe, is_down=False), self._pump(pipe, is_down=True))
        except asyncio.CancelledError:
            return  # the proxy closes; the server of streams would tell of it as of a failure
        finally:
            self._pipes.discard(pipe)
            pipe.abort()

    async def _pump(self, pipe: _Pipe, *, is_down: bool) -> None:
        """Read and write in tasks of their own, so that latency does not cost bandwidth."""
        (reader, _), (_, writer) = (pipe.there, pipe.here) if is_down else (pipe.here, pipe.there)
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(HELD_BLOCKS)
        writing = asyncio.create_task(self._write(queue, writer, pipe, is_down=is_down))
        try:
            while block := await reader.read(BLOCK_BYTES):
                await queue.put((time.monotonic(), block))
            await queue.put((time.monotonic(), b""))
            await writing
        except (OSError, asyncio.IncompleteReadError):
            pipe.abort()
        finally:
            writing.cancel()

    async def _write(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, pipe: _Pipe, *, is_down: bool) -> None:
        while True:
            came_at, block = await queue.get()
            while pipe.is_forgotten or self._toxic.hang or (self._toxic.hang_up and not is_down):
                await self._changed.wait()
            await asyncio.sleep(
                max(0.0, came_at + self._toxic.latency_seconds + self._random.uniform(0.0, self._toxic.jitter_seconds) - time.monotonic())
            )
            if not block:
                with suppress(OSError, RuntimeError):
                    writer.write_eof()
                return
            try:
                if not await self._pass(block, writer, pipe, is_down=is_down):
                    pipe.abort()
                    return
            except OSError:
                pipe.abort()
                return

    async def _pass(self, block: bytes, writer: asyncio.StreamWriter, pipe: _Pipe, *, is_down: bool) -> bool:
        toxic = self._toxic
        if is_down and toxic.limit_bytes is not None:
            room = toxic.limit_bytes - pipe.passed_down
            pipe.passed_down += len(block)
            if len(block) >= room:
                writer.write(block[:room])
                await writer.drain()
                return False
        if is_down and toxic.slice_bytes:
            for number, at in enumerate(range(0, len(block), toxic.slice_bytes)):
                writer.write(block[at : at + toxic.slice_bytes])
                if number % SLICES_AT_A_TIME == 0:
                    await writer.drain()
                    await asyncio.sleep(0)
        else:
            writer.write(block)
        await writer.drain()
        if toxic.bytes_per_second:
            await asyncio.sleep(len(block) / toxic.bytes_per_second)
        return True


class _Pipe:
    """Both ends of one connection."""

    def __init__(
        self, here: tuple[asyncio.StreamReader, asyncio.StreamWriter], there: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    ) -> None:
        self.here = here
        self.there = there
        self.passed_down = 0
        self.is_forgotten = False
        for _, writer in (here, there):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def reset(self) -> None:
        """End both connections as a crashed machine's neighbour would."""
        _reset(self.here[1])
        _reset(self.there[1])

    def abort(self) -> None:
        """End both connections."""
        self.here[1].transport.abort()
        self.there[1].transport.abort()


def _reset(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
