"""One router's connection to this worker: frames in, frames out.

Theory of operation. The first message is a Hello that names the worker instance the router means; another name closes the connection.
From then on chunks become work for the batcher of their replica, and whatever the batchers report within one turn of the event loop
leaves as one frame. Pings are answered at once: execution is elsewhere, or short. A router that stops reading is not read from either;
what it is owed is kept up to HELD_BYTES, then the connection is cut. When the connection ends, all of its work is abandoned.

Clocks: deadlines come on the router's monotonic clock. Processes of one machine share it, so on a Unix socket nothing is converted. On
TCP the offset is learnt from the Hello and from every ping (clock_offset): deadlines are late by the way of the quickest of them and
never early, so that one slow greeting moves them for a tenth of a second only.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import structlog
from google.protobuf.message import DecodeError

from penstock.contracts.errors import InvalidInput, ReplicaGone, ServingError
from penstock.v1 import link_pb2 as pb
from services.chassis.last_words import mark_of, sender_of
from services.mesh import large_frames
from services.mesh.frames import PROTOCOL_VERSION, FrameBuffer, FrameTooLong
from services.worker.clock_offset import ClockOffset
from services.worker.link_answers import AnswerFrame
from services.worker.link_chunks import decode
from services.worker.link_patience import Patience
from services.worker.link_peer import is_same_user
from services.worker.link_ports import Lookup, WorkTaker
from services.worker.turn_end import TurnEnd
from services.worker.work import OutputPart, Timing, Work

log = structlog.get_logger(__name__)

CHUNK_LIMIT = 65_536
"""Most requests of a chunk; more is no chunk of ours."""
HELD_BYTES = 64 * 1024 * 1024
"""Most bytes of answers that are kept for a router that does not read."""
FLUSH_BYTES = 16 * 1024 * 1024
"""Answers of this size do not wait for the end of the loop's turn."""
WRITE_BUFFER_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkIdentity:
    """Who a worker says it is, and what it allows."""

    instance_id: str
    credit_rows: int
    """Rows that one router may have unanswered."""
    hello_seconds: float = 5.0
    """How long a connection may stay silent at its beginning."""
    silent_seconds: float = 30.0
    """How long one over TCP may afterwards; routers ping ten times a second."""


class ProtocolBroken(Exception):
    """The peer does not speak this protocol."""


class LinkConnection(asyncio.Protocol):
    """The worker's end of one link; the sink of its work."""

    def __init__(
        self,
        identity: LinkIdentity,
        lookup: Lookup,
        clock: Callable[[], float],
        connections: set[LinkConnection],
        turn_end: TurnEnd,
    ) -> None:
        self._identity = identity
        self._lookup = lookup
        self._clock = clock
        self._connections = connections
        self._turn_end = turn_end
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._buffer = FrameBuffer()
        self._owed = AnswerFrame()
        self._is_flush_scheduled = False
        self._is_paused = False
        self._is_met = False
        self._is_local = False
        self._clock_offset = ClockOffset()
        self._router = ""
        self._sender = 0
        self._open: dict[int, tuple[WorkTaker, Work]] = {}
        self._patience = Patience(self._lose)

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Check who is at the other end of a Unix socket, and wait for a Hello."""
        transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._transport = transport
        self._connections.add(self)
        peer: socket.socket = transport.get_extra_info("socket")
        self._is_local = peer.family == socket.AF_UNIX
        if self._is_local and not is_same_user(peer):
            log.warning("link_foreign_user")
            transport.abort()
            return
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES)
        self._patience.wait(self._identity.hello_seconds, then=None if self._is_local else self._identity.silent_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Abandon the work of a router that went away."""
        self._transport = None
        self._connections.discard(self)
        self._patience.rest()
        abandoned, self._open = self._open, {}
        for batcher, work in abandoned.values():
            batcher.abandon(work)
        if self._is_met:
            log.info("link_closed", router=self._router, abandoned=sum(work.left for _, work in abandoned.values()))

    def data_received(self, data: bytes) -> None:
        """Take frames. The only router's work is answered in the same turn; of several, all is read first, so that it can join."""
        self._patience.has_heard = True
        if len(self._connections) != 1:
            self._read(data)
            return
        self._turn_end.begin()
        self._is_flush_scheduled = True
        self._read(data)
        self._turn_end.end()
        self._flush()

    def _read(self, data: bytes) -> None:
        try:
            for body in self._buffer.feed(data):
                if self._transport is None or self._transport.is_closing():
                    return
                large = large_frames.read(body) if self._is_met else None
                if large is not None:
                    self._accept(large)
                else:
                    self._take(pb.RouterFrame.FromString(body))  # pyright: ignore[reportArgumentType]  # upb reads any buffer
        except (FrameTooLong, DecodeError, ProtocolBroken) as error:
            log.warning("link_broken", router=self._router, error=str(error))
            self._cut()
        except Exception:
            log.exception("link_failed", router=self._router)
            self._cut()

    def pause_writing(self) -> None:
        """Stop reading from a router that does not read."""
        self._is_paused = True
        self._patience.rest()
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Go on."""
        self._is_paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._patience.watch()
            self._transport.resume_reading()
            self._flush()

    # What batchers call.

    def answer(self, work: Work, positions: Sequence[int], outputs: Sequence[OutputPart], timing: Timing) -> None:
        """Put answers into the next frame."""
        self._owed.answer(work.chunk_id, positions, outputs, timing)
        self._reported(work, len(positions))

    def fail(self, work: Work, positions: Sequence[int], error: ServingError) -> None:
        """Put failures into the next frame."""
        self._owed.fail(work.chunk_id, positions, error)
        self._reported(work, len(positions))

    # What the server calls.

    def announce(self, *, draining: bool = False, credit_rows: int = 0) -> None:
        """Tell the router that no new work is taken, or that its limit changed."""
        if self._is_met:
            self._owed.announce(draining=draining, credit_rows=credit_rows)
            self._flush()

    def close(self) -> None:
        """Send what is owed and end the connection; a router that does not read gets nothing more."""
        if self._is_paused:
            self._cut()
        elif self._transport is not None:
            self._flush()
            self._transport.close()

    # Frames in.

    def _take(self, frame: pb.RouterFrame) -> None:
        if not self._is_met:
            self._meet(frame)
        for chunk in frame.chunks:
            self._accept(chunk)
        for cancel in frame.cancels:
            self._cancel(cancel.chunk_id, cancel.index)
        if frame.ping:
            self._learn_clock(frame.monotonic_microseconds)
            self._owed.pong(frame.ping)
            self._flush()

    def _meet(self, frame: pb.RouterFrame) -> None:
        hello = frame.hello
        if hello.protocol_version != PROTOCOL_VERSION or hello.worker_instance_id != self._identity.instance_id:
            raise ProtocolBroken(f"the router means {hello.worker_instance_id[:64]!r} in protocol {hello.protocol_version}")
        self._is_met = True
        self._patience.watch()
        self._router = hello.router_instance_id[:64]
        self._sender = sender_of(self._router)
        self._learn_clock(hello.monotonic_microseconds)
        self._owed.welcome(self._identity.instance_id, PROTOCOL_VERSION, self._identity.credit_rows)
        self._flush()
        log.info("link_opened", router=self._router)

    def _learn_clock(self, microseconds: int) -> None:
        if microseconds and not self._is_local:
            self._clock_offset.observe(microseconds * 1e-6, self._clock())

    def _accept(self, carried: pb.Chunk | large_frames.LargeChunk) -> None:
        chunk = carried if isinstance(carried, pb.Chunk) else carried.head
        if not 0 < chunk.count <= CHUNK_LIMIT or chunk.chunk_id in self._open:
            raise ProtocolBroken(f"chunk {chunk.chunk_id} has {chunk.count} requests, or its number is in use")
        batcher = self._lookup(chunk.replica_id)
        if batcher is None:
            self._refuse(chunk, ReplicaGone("this worker does not hold the replica any more"))
            return
        try:
            work, refused = decode(carried, batcher.templates, self, self._clock(), self._clock_offset.seconds)
        except InvalidInput as error:
            self._refuse(chunk, error)
            return
        work.mark = mark_of(self._sender, chunk.chunk_id)
        self._open[chunk.chunk_id] = (batcher, work)
        if not refused:
            batcher.submit(work)
            return
        bad = dict(refused)
        for position, error in bad.items():
            self.fail(work, (position,), error)
        sound = [position for position in range(work.count) if position not in bad]
        if sound:
            batcher.submit(work, sound)

    def _cancel(self, chunk_id: int, position: int) -> None:
        known = self._open.get(chunk_id)
        if known is not None:
            batcher, work = known
            if batcher.cancel(work, position):
                self._owe_less(work, 1)

    # Frames out.

    def _reported(self, work: Work, count: int) -> None:
        self._owe_less(work, count)
        if self._is_paused and self._owed.bytes > HELD_BYTES:
            log.warning("link_not_read", router=self._router, held_bytes=self._owed.bytes)
            self._cut()
        elif self._owed.bytes > FLUSH_BYTES:
            self._flush()
        elif not self._is_flush_scheduled:
            self._schedule_flush()

    def _owe_less(self, work: Work, count: int) -> None:
        work.left -= count
        if work.left <= 0:
            self._open.pop(work.chunk_id, None)

    def _refuse(self, chunk: pb.Chunk, error: ServingError) -> None:
        self._owed.fail(chunk.chunk_id, range(chunk.count), error)
        self._schedule_flush()

    def _schedule_flush(self) -> None:
        if not self._is_flush_scheduled:
            self._is_flush_scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_scheduled = False
        transport = self._transport
        if transport is None or self._is_paused or self._owed.is_empty or transport.is_closing():
            return
        transport.write(self._owed.take())

    def _lose(self, event: str) -> None:
        log.warning(event, router=self._router)
        self._cut()

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()
