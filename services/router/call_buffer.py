"""The front port for callers that live on the router's own event loop: HTTP routes, grpcio handlers, streams.

A caller submits a payload and awaits a future; whatever was submitted within one turn of the loop becomes one wave, and the event
descriptor is written once a turn, not once a call. Cancelling the future (which is what happens when the task that awaits it is
cancelled) is how a caller leaves: its number then shows up in `Wave.cancelled`. Who needs no future enters by itself and is told at
once, within the turn that brought the answer: that saves the future, its callback and a turn. Everything here belongs to the loop's thread.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import structlog

from penstock.contracts.errors import Draining, Overloaded, ServingError
from services.router.front import NO_DEADLINE, Affinity, Wave
from services.router.wave_columns import cut

OPEN_CALLS_LIMIT = 16_384
"""Open calls of one buffer beyond which submissions are refused."""

log = structlog.get_logger(__name__)


class Sender(NamedTuple):
    """What a call says about who sends it, beside its deadline."""

    key: str | None = None
    """API key as sent."""
    trace: str | None = None
    """W3C traceparent."""
    affinity: Affinity | None = None
    """Whom the request is for, where headers say so."""


class Caller(Protocol):
    """Who waits for an answer, and is told exactly one of the two unless it leaves; every future is one."""

    def set_result(self, result: bytes, /) -> None:
        """Take the ModelInferResponse."""
        ...

    def set_exception(self, exception: ServingError, /) -> None:
        """Take the refusal."""
        ...


class CallBuffer:
    """Hands the calls of this process's own callers to the router, wave by wave."""

    def __init__(self, *, limit: int = OPEN_CALLS_LIMIT) -> None:
        """Open the event descriptor; `limit` bounds the calls that are open, and those that wait to be received."""
        self._limit = limit
        self._ids = itertools.count(1)
        self._open: dict[int, Caller] = {}
        self._wave = Wave()
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_signalled = False
        self._is_draining = False
        self._idle: asyncio.Event | None = None

    @property
    def in_flight(self) -> int:
        """Calls whose callers still wait."""
        return len(self._open)

    def submit(
        self,
        payload: bytes,
        *,
        key: str | None = None,
        deadline: float = NO_DEADLINE,
        trace: str | None = None,
        affinity: Affinity | None = None,
    ) -> asyncio.Future[bytes]:
        """Hand over one ModelInferRequest; the future gives the ModelInferResponse bytes or the ServingError.

        Args:
            payload: serialised ModelInferRequest; not copied.
            key: API key as sent.
            deadline: absolute monotonic seconds.
            trace: W3C traceparent.
            affinity: whom the request is for, where headers say so.

        Raises:
            Draining: the router takes no new calls.
            Overloaded: too many calls are open.
        """
        call = _Call(self)
        call.call_id = self.enter(call, payload, deadline, Sender(key, trace, affinity))
        return call

    def enter(self, caller: Caller, payload: bytes, deadline: float, sender: Sender) -> int:
        """Hand over one ModelInferRequest for a caller that will be told; return the number by which it may `leave`.

        Raises:
            Draining: the router takes no new calls.
            Overloaded: too many calls are open.
        """
        if self._is_draining:
            raise Draining("the server is shutting down: retry elsewhere")
        wave = self._wave
        if len(self._open) >= self._limit or len(wave.call_ids) >= self._limit:
            raise Overloaded(f"{self._limit} calls are open in this process: retry later", retry_after_seconds=0.1)
        call_id = next(self._ids)
        self._open[call_id] = caller
        wave.call_ids.append(call_id)
        wave.payloads.append(payload)
        wave.keys.append(sender.key)
        wave.deadlines.append(deadline)
        wave.traces.append(sender.trace)
        if sender.affinity is not None:
            wave.affinities[call_id] = sender.affinity
        self._signal()
        return call_id

    def fileno(self) -> int:
        """Return a descriptor that is readable while `recv_wave` has something."""
        return self._event

    def recv_wave(self, limit: int) -> Wave:
        """Return up to `limit` calls that arrived, and all cancellations; never blocks."""
        wave = self._wave
        if len(wave.call_ids) > limit:
            self._wave = cut(wave, limit)
            return wave
        self._wave = Wave()
        if self._is_signalled:
            os.eventfd_read(self._event)
            self._is_signalled = False
        return wave

    def respond_many(self, call_ids: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Answer calls; ids that are no longer open are ignored."""
        opened = self._open
        for call_id, payload in zip(call_ids, payloads, strict=True):
            call = opened.pop(call_id, None)
            if call is not None:
                try:
                    call.set_result(payload)
                except Exception:
                    # Whoever answers a wave has others to answer.
                    log.exception("caller_not_told")
        self._notice_idle()

    def fail_many(self, call_ids: Sequence[int], errors: Sequence[ServingError]) -> None:
        """Refuse calls; ids that are no longer open are ignored."""
        opened = self._open
        for call_id, error in zip(call_ids, errors, strict=True):
            call = opened.pop(call_id, None)
            if call is not None:
                try:
                    call.set_exception(error)
                except Exception:
                    log.exception("caller_not_told")
        self._notice_idle()

    async def drain(self, deadline: float) -> None:
        """Refuse new calls with Draining; return when none is in flight, or at `deadline` (monotonic seconds)."""
        self._is_draining = True
        if not self._open:
            return
        self._idle = asyncio.Event()
        try:
            async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
                await self._idle.wait()
        except TimeoutError:
            return

    def close(self) -> None:
        """Refuse what is still open and give the descriptor back; the owner has stopped watching it. Idempotent."""
        self._is_draining = True
        abandoned = list(self._open)
        self.fail_many(abandoned, [Draining("the server has shut down: retry elsewhere")] * len(abandoned))
        if self._event >= 0:
            os.close(self._event)
            self._event = -1
            self._is_signalled = False

    def leave(self, call_id: int) -> None:
        """Note that a caller left; it is told nothing any more. Idempotent."""
        if self._open.pop(call_id, None) is not None:
            self._wave.cancelled.append(call_id)
            self._signal()
            self._notice_idle()

    def _signal(self) -> None:
        if not self._is_signalled and self._event >= 0:
            self._is_signalled = True
            os.eventfd_write(self._event, 1)

    def _notice_idle(self) -> None:
        if self._idle is not None and not self._open:
            self._idle.set()


class _Call(asyncio.Future[bytes]):
    """A future that tells the buffer when its caller leaves; cheaper than a done callback, which also runs for every answer."""

    def __init__(self, buffer: CallBuffer) -> None:
        super().__init__()
        self.call_id = 0
        self._buffer = buffer

    def cancel(self, msg: Any | None = None) -> bool:
        has_left = super().cancel(msg)
        if has_left:
            self._buffer.leave(self.call_id)
        return has_left
