"""The gRPC front on pygrpc-native, where penstock-front is not installed: ModelInfer outside the GIL, all else by grpcio behind it.

A pump thread takes whatever has arrived (`recv_batch_details`, which waits without the GIL), writes it into columns, and wakes the
loop through an event descriptor, once until the loop has looked. The loop's `recv_wave` then only swaps a reference.

Measured (echo through this class, 168-byte requests with key and deadline, 4 connections, one core for the server; CPU time by thread,
medians of 3, host speed varies 2x): at 64 calls in flight the pump takes 2.2 and the loop 0.6 µs a call, the native calls included; at 256
in flight 3.2 and 0.6; at 4 in flight 12 and 7, the price of waking two threads for waves of three or four. Building the columns on the
loop instead costs the same in sum, but then the loop pays it, which also runs policy and links.

What pygrpc-native 0.5.0 lacks, and what stands for it here:
- no drain: new calls are refused while what is in flight ends, then it is closed. It sends no GOAWAY before, so whoever calls within
  the drain sees UNAVAILABLE (DRAINING) and retries elsewhere. Closing drops answers that are given and not sent yet, so it waits until
  the native counters of calls begun and ended agree and the kernel's send queues are empty;
- no message limit: longer messages are refused here, after they were read; the memory of a giant message, or of a small one that
  gzip blows up, is taken before this code sees it. Where that matters put grpcio (TLS mode) or a proxy in front;
- no bound on calls that nobody received: refused here beyond `open_calls_limit`;
- no setting of h2's guard: more than 20 calls reset before they were taken end their connection (GOAWAY, too_many_resets; README);
- cancels come only with call details, hence `recv_batch_details`;
- no `grpc-retry-pushback-ms`: names that begin with `grpc-` are refused (grpc_status.py says what is sent instead).
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import structlog
from pygrpc_native import NativeGrpcFront

from penstock.contracts.errors import Draining, Internal, Overloaded, RequestTooLarge, ServingError
from penstock.oip.v2.services import INFERENCE_SERVICE
from services.chassis.grpc_status import trailers_without_pushback
from services.router.front import NO_DEADLINE, Wave
from services.router.grpc_metadata import read_metadata
from services.router.socket_queues import owed, still_owed
from services.router.wave_columns import cut, join

MODEL_INFER = f"/{INFERENCE_SERVICE}/ModelInfer"
MESSAGE_LIMIT_BYTES = 64 << 20
DEADLINE_LIMIT_SECONDS = 60.0
BATCH_LIMIT = 1024
SEND_SECONDS = 1.0
SEND_LOOK_SECONDS = 0.01

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeFrontOptions:
    """Where the front listens and what it accepts."""

    host: str = "127.0.0.1"
    port: int = 8001
    """0 takes a free port."""
    reuse_port: bool = False
    """Share the port with other router processes (SO_REUSEPORT)."""
    fallback_path: str | None = None
    """Unix socket of the gRPC server that answers every other method."""
    message_limit_bytes: int = MESSAGE_LIMIT_BYTES
    deadline_limit_seconds: float = DEADLINE_LIMIT_SECONDS
    """Longer deadlines are cut to this."""
    open_calls_limit: int = 16_384
    """Open calls beyond which new ones are refused."""
    io_threads: int = 1
    max_concurrent_streams: int = 1024
    """Calls in flight of one connection; a client with more waits."""
    max_metadata_bytes: int = 8192
    keepalive_seconds: float = 60.0
    """Quiet time after which a connection is pinged; it is closed when 20 s later there is no answer."""


class NativeFront:
    """A front port over one native gRPC listener; enter it to listen, leave it to close."""

    def __init__(self, options: NativeFrontOptions) -> None:
        """Store the options."""
        self.refused: Counter[str] = Counter()
        """Calls refused before the router saw them, by reason."""
        self._options = options
        self._waves: deque[Wave] = deque()
        self._open: set[int] = set()
        self._is_draining = False
        self._idle: asyncio.Event | None = None
        self._is_signalled = False
        self._event = -1
        self._native: NativeGrpcFront
        self._pump_thread: threading.Thread

    @property
    def port(self) -> int:
        """The port it listens on; valid once entered."""
        return self._native.bound_port

    @property
    def in_flight(self) -> int:
        """Calls that are neither answered nor left by their callers."""
        return len(self._open)

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the port cannot be bound.
        """
        options = self._options
        self._native = NativeGrpcFront(
            f"{options.host}:{options.port}",
            [(MODEL_INFER, False)],
            io_threads=options.io_threads,
            call_details=True,
            keepalive_time_ms=int(options.keepalive_seconds * 1000),
            max_concurrent_streams=options.max_concurrent_streams,
            max_metadata_size=options.max_metadata_bytes,
            reuse_port=options.reuse_port,
            metrics=True,
        )
        if options.fallback_path is not None:
            self._native.set_fallback(options.fallback_path)
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._native.start()
        self._pump_thread = threading.Thread(target=self._pump, name="native-front-pump", daemon=True)
        self._pump_thread.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close as soon as the answers given are sent; what is in flight gets UNAVAILABLE. Drain first."""
        self._is_draining = True
        await self._sent()
        await asyncio.to_thread(self._close)
        os.close(self._event)
        self._event = -1

    def fileno(self) -> int:
        """Return a descriptor that is readable while `recv_wave` has something."""
        return self._event

    def recv_wave(self, limit: int) -> Wave:
        """Return up to `limit` calls that arrived, and the cancellations up to there; never blocks."""
        # In this order: read the event, clear the flag, look. Cleared before it is read, the event could swallow a signal of the pump
        # and leave the flag set, after which nobody would ever wake the loop again; cleared after the look, a wave could stay unseen.
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
        self._is_signalled = False
        waves = self._waves
        wave = waves.popleft() if waves else Wave()
        while waves and len(wave.call_ids) < limit:
            join(wave, waves.popleft())
        if len(wave.call_ids) > limit:
            waves.appendleft(cut(wave, limit))
        if waves:
            self._signal()
        if self._idle is not None:
            self._notice_idle()
        return wave

    def respond_many(self, call_ids: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Answer calls; ids that are no longer open are ignored."""
        respond = self._native.respond
        for call_id, payload in zip(call_ids, payloads, strict=True):
            respond(call_id, payload)
        self._open.difference_update(call_ids)
        if self._idle is not None:
            self._notice_idle()

    def fail_many(self, call_ids: Sequence[int], errors: Sequence[ServingError]) -> None:
        """Refuse calls; ids that are no longer open are ignored."""
        for call_id, error in zip(call_ids, errors, strict=True):
            self._native.fail(call_id, int(error.status.grpc), error.message, trailers_without_pushback(error))
        self._open.difference_update(call_ids)
        if self._idle is not None:
            self._notice_idle()

    async def drain(self, deadline: float) -> None:
        """Refuse new calls with Draining; return when none is in flight, or at `deadline` (monotonic seconds).

        Whoever receives waves goes on receiving: what arrived before is served.
        """
        self._is_draining = True
        self._idle = asyncio.Event()
        self._notice_idle()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._idle.wait()
        except TimeoutError:
            log.warning("native_front_drain_incomplete", in_flight=self.in_flight)

    async def _sent(self) -> None:
        """Wait until clients have taken what was answered, at most SEND_SECONDS: closing throws away what is not sent."""
        give_up_at = time.monotonic() + SEND_SECONDS
        # The native side counts what it has handed to the kernel, the kernel what it has handed to the other side; neither tells.
        # Calls that come meanwhile are refused and not waited for: whoever goes on asking must not keep a closing front open.
        marks: dict[int, int] | None = None
        while marks != {}:
            if time.monotonic() >= give_up_at:
                log.warning("native_front_answers_unsent", calls=self._unsent(), connections=len(marks or ()))
                return
            if marks is not None:
                marks = await asyncio.to_thread(still_owed, marks, self.port)
            elif self._unsent() <= 0:
                marks = await asyncio.to_thread(owed, self.port)
            if marks != {}:
                await asyncio.sleep(SEND_LOOK_SECONDS)

    def _unsent(self) -> int:
        """Count the calls that ended here and not yet on the wire; of other methods' calls only a drain says that all have ended."""
        methods: dict[str, Any] = (self._native.metrics() or {}).get("methods", {})
        counted = list(methods.values()) if self._idle is not None else [methods[MODEL_INFER]]
        return sum(each["started"] - sum(status["count"] for status in each["status"].values()) for each in counted) - self.in_flight

    def _notice_idle(self) -> None:
        if self._idle is not None and not self._open and not self._waves:
            self._idle.set()

    def _signal(self) -> None:
        if not self._is_signalled:
            self._is_signalled = True
            os.eventfd_write(self._event, 1)

    def _close(self) -> None:
        self._native.close()
        self._pump_thread.join()

    # --- pump thread; shares with the loop only `_waves` and `_open`, by single operations that the GIL makes atomic ---

    def _pump(self) -> None:
        receive = self._native.recv_batch_details
        while (events := receive(BATCH_LIMIT)) is not None:
            self._hand_over(events)
            # Else the last messages, of any size, would live until the next ones arrive.
            del events

    def _hand_over(self, events: list[Any]) -> None:
        try:
            wave = self._columns(events, time.monotonic())
        except Exception:
            log.exception("native_front_pump_failed", calls=len(events))
            self._refuse([event[1] for event in events if not event[0]], Internal("internal error"))
            return
        if wave.cancelled:
            self._open.difference_update(wave.cancelled)
        self._waves.append(wave)
        self._signal()

    def _columns(self, events: list[Any], now: float) -> Wave:
        """Write events into columns; calls that may not enter are refused here and leave no trace in the wave."""
        wave = Wave()
        call_ids, payloads, keys, deadlines, traces = wave.call_ids, wave.payloads, wave.keys, wave.deadlines, wave.traces
        longest, limit = self._options.deadline_limit_seconds, self._options.message_limit_bytes
        for is_cancel, call_id, _, payload, _, details in events:
            if is_cancel:
                wave.cancelled.append(call_id)
                continue
            metadata, _, remaining = details
            try:
                if len(payload) > limit:
                    raise _too_large(len(payload), limit)
                key, trace, affinity = read_metadata(metadata)
            except ServingError as error:
                self._refuse([call_id], error)
                continue
            call_ids.append(call_id)
            payloads.append(payload)
            keys.append(key)
            deadlines.append(NO_DEADLINE if remaining is None else now + min(remaining, longest))
            traces.append(trace)
            if affinity is not None:
                wave.affinities[call_id] = affinity
        self._admit(wave)
        return wave

    def _admit(self, wave: Wave) -> None:
        """Count the wave's calls as open, or refuse all of them."""
        if self._is_draining:
            refusal: ServingError = Draining("the server is shutting down: retry elsewhere")
        elif len(self._open) + len(wave.call_ids) > self._options.open_calls_limit:
            refusal = Overloaded(f"{self._options.open_calls_limit} calls are open in this process: retry later", retry_after_seconds=0.1)
        else:
            self._open.update(wave.call_ids)
            return
        self._refuse(wave.call_ids, refusal)
        cut(wave, 0)

    def _refuse(self, call_ids: Sequence[int], error: ServingError) -> None:
        trailers = trailers_without_pushback(error)
        for call_id in call_ids:
            self._native.fail(call_id, int(error.status.grpc), error.message, trailers)
        self.refused[error.reason] += len(call_ids)


def _too_large(size: int, limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"the message has {size} bytes, the limit is {limit}: send fewer rows a request")
