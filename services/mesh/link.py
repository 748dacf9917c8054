"""One connection from this process to one worker instance.

Theory of operation. A link is opened for the instance that a worker's status names, and its first frame repeats that name; the
worker answers with its own, and on any difference the link closes: an address that another process took over is never talked to.
From then on chunks go out and answers come back, several in flight. A ping leaves every PING_SECONDS; a link that was silent for
SILENCE_SECONDS is out of rotation and its chunks are given back to be sent elsewhere; what it still answers later finds no open
chunk and is ignored. It is back in rotation with the first bytes that arrive. Where every worker is silent it is their machine that
stood still, and they are back before most deadlines: for PATIENCE_SECONDS such links keep what they have, and who asks meanwhile is
held (waiting_room.py). A closed link gives back its chunks at once and connects again with back-off for as long as its worker's status
stands.

Detection costs at most SILENCE_SECONDS + PING_SECONDS (measured on the sketch: 411 to 423 ms after SIGSTOP, 9 ms after SIGKILL).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, cast

import structlog
from google.protobuf.message import DecodeError

from penstock.contracts.errors import Draining, Internal, ReplicaGone, ReplicaOverloaded, ServingError
from penstock.v1 import link_pb2 as pb
from services.mesh import frames
from services.mesh.chunk import Chunk
from services.mesh.lane import Lane
from services.mesh.link_target import LinkTarget
from services.mesh.placement import Rotation
from services.mesh.silence import PING_SECONDS, Silence

CONNECT_SECONDS = 2.0
UNREAD_LIMIT_BYTES = 64 * 1024 * 1024
"""Bytes that may wait for a worker to read them; rows are bounded by its credit, but not their size."""
BACKOFF_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)

log = structlog.get_logger(__name__)


class LinkOwner(Protocol):
    """What a link reports to."""

    def link_lost(self, link: Link, chunks: list[Chunk]) -> None:
        """Take back the unanswered chunks of a silent or closed link."""
        ...

    def has_others(self, link: Link) -> bool:
        """Whether any other worker speaks, so that nobody need wait for this one."""
        ...

    def link_changed(self, link: Link) -> None:
        """Note that the link went up, down or began to drain."""
        ...

    def not_executed(self, chunk: Chunk, positions: list[int], error: ServingError) -> None:
        """Take back requests that the worker refused before it began."""
        ...


class Link(asyncio.Protocol):
    """One connection to one worker instance; a candidate for placement while `is_up`."""

    def __init__(self, target: LinkTarget, owner: LinkOwner, *, router_id: str, clock: Callable[[], float]) -> None:
        """Keep the collaborators; `run` connects."""
        self.target = target
        self.rotations: dict[int, Rotation] = {}
        """Replicas that failed, by number; a replica that is not listed never did."""
        self.lanes: dict[int, Lane] = {}
        """What is known of the replicas that were sent something, by number."""
        self.credit_rows = 0
        self.rows_in_flight = 0
        self.is_draining = False
        self.open: dict[int, Chunk] = {}
        self._owner = owner
        self._router_id = router_id
        self._clock = clock
        self._transport: asyncio.Transport | None = None
        self._buffer = frames.FrameBuffer()
        self._pending: list[Chunk] = []
        self._cancels: list[tuple[int, int]] = []
        self.silence = Silence()
        self._pings = 0
        self._is_welcome = False
        self._has_met = False
        """Whether the connection of now, or the last one, led to the worker that is meant."""
        self._closed = asyncio.Event()

    @property
    def is_up(self) -> bool:
        """Whether chunks may be placed on it."""
        return self._is_welcome and not self.is_draining and not self.silence.is_silent

    @property
    def may_wake(self) -> bool:
        """Whether it is only silent, and not for so long that nobody waits for it."""
        return self.silence.is_silent and self._is_welcome and not self.is_draining and not self.silence.is_hopeless

    @property
    def is_lost(self) -> bool:
        """Whether the worker is silent or not connected; one that was never reached yet is not lost, but says nothing either."""
        return self.silence.is_silent or not self._is_welcome

    @property
    def is_clogged(self) -> bool:
        """Whether the worker leaves so much unread that more would only fill this process's memory."""
        return self._transport is not None and self._transport.get_write_buffer_size() > UNREAD_LIMIT_BYTES

    def takes(self, replica_id: int) -> bool:
        """Whether a replica is in rotation."""
        rotation = self.rotations.get(replica_id)
        return rotation is None or rotation.is_in(self._clock())

    def place(self, chunk: Chunk, lane: Lane, now: float) -> None:
        """Queue a chunk for the next `flush`; its answers go to its sink."""
        rows = chunk.rows_left
        self.open[chunk.chunk_id] = chunk
        self.rows_in_flight += rows
        chunk.lane = lane
        lane.enter(chunk.rank, rows, now)
        self._pending.append(chunk)

    def take_back(self, chunk: Chunk, position: int) -> None:
        """Tell the worker that nobody waits for a request any more; the chunk's own book-keeping is done by the caller."""
        self._release(chunk, 1)
        self._cancels.append((chunk.chunk_id, position))
        if chunk.left == 0:
            self.open.pop(chunk.chunk_id, None)

    def flush(self) -> None:
        """Send what is queued, as one frame but for large chunks."""
        if not (self._pending or self._cancels) or self._transport is None:
            return
        pending, self._pending = self._pending, []
        cancels, self._cancels = self._cancels, []
        self._transport.writelines(frames.work([chunk for chunk in pending if chunk.left], cancels))

    async def run(self) -> None:
        """Connect and keep connected until cancelled."""
        failures = 0
        while True:
            self._closed.clear()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self.target.connect(self)
                await self._stay()
                # Whoever else listens there is not asked forty times a second: only meeting the worker counts as success.
                failures = 0 if self._has_met else failures
            except (OSError, TimeoutError) as error:
                log.debug("link_connect_failed", worker=self.target.worker_id, error=type(error).__name__)
            finally:
                self._disconnect()
            await asyncio.sleep(BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)])
            failures += 1

    async def _stay(self) -> None:
        while not self._closed.is_set():
            if self._transport is not None:
                self._pings += 1
                self._transport.write(frames.ping(self._pings, self._clock()))
            try:
                async with asyncio.timeout(PING_SECONDS):
                    await self._closed.wait()
            except TimeoutError:
                self._judge_silence()

    def _judge_silence(self) -> None:
        if self.silence.tick():
            log.warning("link_silent", worker=self.target.worker_id, instance=self.target.instance_id, requests=self._open_requests())
            self._owner.link_changed(self)  # first, so that what is given back finds the routes without this worker
        if self.silence.is_silent and (self.silence.is_hopeless or self._owner.has_others(self)):
            self._give_back()
        if self.silence.is_hopeless and self.target.may_be_half_open:
            self._disconnect()  # another connection may get through where this one's way forgot it

    def _open_requests(self) -> int:
        return sum(chunk.left for chunk in self.open.values())

    def _give_back(self) -> None:
        chunks = [chunk for chunk in self.open.values() if chunk.left]
        self.open = {}
        self._pending = []
        self._cancels = []
        self.rows_in_flight = 0
        for lane in self.lanes.values():
            lane.clear()
        if chunks:
            self._owner.link_lost(self, chunks)

    def _disconnect(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who is meant."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are transports in all but class
        self._buffer = frames.FrameBuffer()
        self._has_met = False
        self.silence.connected()
        self._transport.write(frames.hello(self.target.instance_id, self._router_id, self._clock()))

    def connection_lost(self, exc: Exception | None) -> None:
        """Give back what is unanswered."""
        was_up, self._is_welcome = self._is_welcome, False
        self._transport = None
        self._closed.set()
        if was_up:
            log.warning("link_lost", worker=self.target.worker_id, instance=self.target.instance_id, requests=self._open_requests())
            self._owner.link_changed(self)
        self._give_back()

    def data_received(self, data: bytes) -> None:
        """Take answers."""
        if self.silence.heard():
            log.info("link_back", worker=self.target.worker_id, instance=self.target.instance_id)
            self._owner.link_changed(self)
        try:
            for body in self._buffer.feed(data):
                if self._transport is None or self._transport.is_closing():
                    return  # refused in a frame before this one
                self._take(pb.WorkerFrame.FromString(body))  # pyright: ignore[reportArgumentType]  # upb reads any buffer
        except (frames.FrameTooLong, DecodeError):
            log.exception("link_broken", worker=self.target.worker_id)
            self._disconnect()

    def _take(self, frame: pb.WorkerFrame) -> None:
        if not self._is_welcome and not self._meet(frame):
            return
        if frame.credit_rows:
            self.credit_rows = frame.credit_rows
        if frame.draining and not self.is_draining:
            self.is_draining = True
            self._owner.link_changed(self)
        if not frame.answers:
            return
        now = self._clock()
        for answer in frame.answers:
            chunk = self.open.get(answer.chunk_id)
            if chunk is not None:
                self._absorb(chunk, answer, now)

    def _meet(self, frame: pb.WorkerFrame) -> bool:
        if frame.welcome.worker_instance_id != self.target.instance_id or frame.welcome.protocol_version != frames.PROTOCOL_VERSION:
            log.warning("link_refused", worker=self.target.worker_id, meant=self.target.instance_id, met=frame.welcome.worker_instance_id)
            self._disconnect()
            return False
        self._is_welcome = self._has_met = True
        self.credit_rows = frame.welcome.credit_rows
        log.info("link_up", worker=self.target.worker_id, instance=self.target.instance_id)
        self._owner.link_changed(self)
        return True

    def _absorb(self, chunk: Chunk, answer: pb.Answer, now: float) -> None:
        if answer.count:
            part = frames.answered(answer)
            released = chunk.take_range(part.positions())
            self._release(chunk, part.count if released is None else len(released))
            if chunk.lane is not None:
                chunk.lane.learn(now, (part.execution_rows, part.compute_microseconds), answer.waiting_rows)
            if self.rotations:
                self._judge(chunk.replica_id, None)
            chunk.sink.answered(chunk, part, released)
        unexecuted: list[int] = []
        refusal: ServingError | None = None
        for position, error in frames.failures(answer):
            if isinstance(error, ReplicaGone | Draining | ReplicaOverloaded):
                if chunk.is_open(position):
                    unexecuted.append(position)
                    refusal = error
            elif chunk.take(position):
                self._release(chunk, 1)
                self._judge(chunk.replica_id, error)
                chunk.sink.failed(chunk, [position], error)
        if refusal is not None:
            self._release(chunk, len(unexecuted))
            self._owner.not_executed(chunk, unexecuted, refusal)
        if chunk.left == 0:
            self.open.pop(chunk.chunk_id, None)

    def _release(self, chunk: Chunk, requests: int) -> None:
        rows = chunk.template.rows * requests
        self.rows_in_flight -= rows
        if chunk.lane is not None:
            chunk.lane.leave(chunk.rank, rows)

    def _judge(self, replica_id: int, error: ServingError | None) -> None:
        """Keep the row of failures of a replica; a request that is itself the poison is not the replica's failure."""
        if error is None:
            rotation = self.rotations.get(replica_id)
            if rotation is not None:
                rotation.succeed()
        elif isinstance(error, Internal) and error.reason != "POISON_ROW":
            rotation = self.rotations.setdefault(replica_id, Rotation())
            if rotation.fail(self._clock()):
                log.warning("replica_ejected", worker=self.target.worker_id, replica=replica_id, reason=error.reason)
