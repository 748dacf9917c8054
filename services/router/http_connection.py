"""One HTTP/1.1 connection: uvicorn's, with the limits it lacks and a short way for predictions.

uvicorn owns the transport and the server around it; HttpReader cuts and judges what arrives. A request is handed on only when it is here
completely, so that nobody computes for a caller who is still sending, and a body that is too large or too slow holds no slot. Then:

- what can be answered at once is answered at once;
- a prediction is translated and entered, and the connection itself is told its answer and writes it: no task, no future, no ASGI messages;
- everything else runs as an ordinary ASGI call.

The short way is why this file exists: uvicorn's ASGI alone, translating nothing, is slower than this with everything in it (figures
in http_front.py).

One request at a time is `_served`; those that came behind it wait in `_line`, and reading pauses. That keeps answers in order and bounds
what a pipelining caller can queue. Whatever ends a connection ends it softly: our side is closed, and what still comes is dropped for a
moment, because closing with unread input resets the connection and may take the last answer away from a caller who is still writing.
A caller who closes, even one side, has left: what runs for it is cancelled. Timeouts are found by `sweep`, called a few times a
second for all connections; no timer is set for a request.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from penstock.contracts.errors import ServingError
from services.router.http_asgi import whole_cycle
from services.router.http_exchange import HttpReply, HttpRequest, Pending
from services.router.http_reader import HttpReader, Reading, Refused
from services.router.http_service import HttpService

_CALLS_A_TURN = 64
"""Requests of one connection that are begun before others get a turn."""
_LINGER_SECONDS = 2.0


class HttpConnection(HttpToolsProtocol):
    """Speaks with one caller."""

    def __init__(
        self,
        service: HttpService,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Wait for a connection; `service` answers, the rest is uvicorn's."""
        super().__init__(config, server_state, app_state, _loop)
        self._service = service
        self._reader = HttpReader(service.limits, service.budget, self._take, self._welcome_body, self.loop.time)
        self._since = self.loop.time()
        self._line: deque[HttpRequest | ServingError] = deque()
        self._served: HttpRequest | None = None
        self._pending: Pending | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun_this_turn = 0
        self._peer: str | None = None
        self._is_moving = False
        self._is_due = False
        self._is_refused = False
        self._is_ending = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being read, waits or is answered."""
        return self._served is None and not self._line and self._reader.state is Reading.NOTHING and not self._is_ending

    # --- the transport ------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn narrows it too
        """Take a new connection, unless there are too many."""
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else None
        problem = self._service.connection_problem(len(self.connections))
        if problem is not None:
            self._refuse(problem)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up what the caller no longer waits for."""
        super().connection_lost(exc)
        self._is_ending = True
        self._line.clear()
        self._served = None
        self._reader.close()
        if self._pending is not None:
            self._service.leave(self._pending)
            self._pending = None
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._is_ending or self._is_refused:
            return
        self._begun_this_turn = 0
        try:
            self._reader.feed(data)
        except Refused as refused:
            self._refuse(refused.error)

    def pause_writing(self) -> None:
        """Stop: the caller does not read its answers."""
        super().pause_writing()
        self._since = self.loop.time()

    def resume_writing(self) -> None:
        """Go on with what waited for the caller to read."""
        super().resume_writing()
        self._since = self.loop.time()
        self._move_on()

    def shutdown(self) -> None:
        """Close if nothing is under way; what is under way ends the connection itself, because the service drains."""
        if self.is_idle:
            self.transport.close()

    # --- requests -----------------------------------------------------------------------------------------------------------------

    def _take(self, request: HttpRequest) -> None:
        """Begin a request, or queue it."""
        if self._is_ending:
            return
        if self._served is None and not self._line and not self.flow.write_paused and self._begun_this_turn < _CALLS_A_TURN:
            self._begin(request)
            return
        self._line.append(request)
        self.flow.pause_reading()
        if self._served is None:
            self._move_on_soon()

    def _welcome_body(self) -> None:
        if self._served is None and not self._line:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _begin(self, request: HttpRequest) -> None:
        self._served = request
        request.peer = self._peer
        self._begun_this_turn += 1
        outcome = self._service.begin(request, self)
        if isinstance(outcome, Pending):
            self._pending = outcome
        elif outcome is not None:
            self._reply(outcome)
        else:
            self._begin_asgi(request)

    def set_result(self, payload: bytes, /) -> None:
        """Take the answer to what is pending and write it."""
        pending, request = self._pending, self._served
        self._pending = None
        if pending is not None and request is not None and not self._is_ending and not self.transport.is_closing():
            self._send(request, self._service.finish(request, pending, payload))

    def set_exception(self, exception: ServingError, /) -> None:
        """Take the refusal of what is pending and write it."""
        pending, request = self._pending, self._served
        self._pending = None
        if pending is not None and request is not None and not self._is_ending and not self.transport.is_closing():
            self._send(request, self._service.fail(request, pending, exception))

    def _send(self, request: HttpRequest, reply: HttpReply) -> None:
        """Write a reply, compressed if its caller wants that."""
        later = self._service.compressed_later(request, reply) if b"accept-encoding" in request.fields else None
        if later is None:
            self._reply(reply)
        else:
            later.add_done_callback(self._on_compressed)

    def _on_compressed(self, later: asyncio.Future[HttpReply]) -> None:
        if not self._is_ending:
            self._reply(later.result())

    def _reply(self, reply: HttpReply) -> None:
        """Write an answer and go on to the next request."""
        request = self._served
        assert request is not None  # noqa: S101 - only what is served is answered
        is_last = not request.keep_alive or (self._service.is_draining and not self._line)
        for piece in self._service.written(request, reply, is_last=is_last):
            self.transport.write(piece)
        self._finish(is_last=is_last)

    def _finish(self, *, is_last: bool) -> None:
        if self._served is not None and self._reader.held_bytes:
            self._reader.give_back(len(self._served.body))
        self._served = None
        self._since = self.loop.time()
        if is_last:
            self._end()
        elif self._line and not self._is_moving:
            self._move_on()

    def _move_on(self) -> None:
        """Begin the requests that wait, a few at a time."""
        self._is_moving = True
        self._begun_this_turn = 0
        while self._line and self._served is None and not self.flow.write_paused and not self._is_ending:
            if self._begun_this_turn >= _CALLS_A_TURN:
                self._move_on_soon()
                break
            following = self._line.popleft()
            if isinstance(following, ServingError):
                self._say_goodbye(following)
            else:
                self._begin(following)
        self._is_moving = False
        if not self._line and not self.flow.write_paused and not self.transport.is_closing():
            self.flow.resume_reading()

    def _move_on_soon(self) -> None:
        """Go on after others had their turn; once, however many wait."""
        if not self._is_due:
            self._is_due = True
            self.loop.call_soon(self._take_turn)

    def _take_turn(self) -> None:
        self._is_due = False
        self._move_on()

    def _begin_asgi(self, request: HttpRequest) -> None:
        """Run the ASGI application on a request that is already here."""
        is_last = not request.keep_alive or (self._service.is_draining and not self._line)
        scope = self._service.scope_of(request, is_last=is_last, scheme=self.scheme or "http", client=self.client, server=self.server)
        cycle = self.cycle = whole_cycle(self, scope, request.body, self._service.default_headers, lambda: self._finish(is_last=is_last))
        task = self._task = self.loop.create_task(cycle.run_asgi(self._service.asgi))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    # --- ends ---------------------------------------------------------------------------------------------------------------------

    def _refuse(self, error: ServingError) -> None:
        """Refuse what is being read and end the connection, after the answers that are owed."""
        self._is_refused = True
        self._line.append(error)
        self.flow.pause_reading()
        if self._served is None and not self._is_moving:
            self._move_on()

    def _say_goodbye(self, error: ServingError) -> None:
        request = self._reader.unfinished()
        for piece in self._service.written(request, self._service.refusal(request, error), is_last=True):
            self.transport.write(piece)
        self._end()

    def _end(self) -> None:
        self._is_ending = True
        self._line.clear()
        self._since = self.loop.time()
        if self.transport.is_closing():
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()

    def sweep(self, now: float) -> None:
        """End what takes too long.

        Args:
            now: loop time, seconds.
        """
        limits, passed = self._service.limits, now - self._since
        if self.flow.write_paused:
            if passed > limits.write_seconds:
                self.transport.abort()
        elif self._is_ending:
            if passed > _LINGER_SECONDS:
                self.transport.abort()
        elif self.is_idle:
            if passed > limits.idle_seconds:
                self._end()
        elif self._served is None and not self._line:
            problem = self._reader.overdue(now)
            if problem is not None:
                self._refuse(problem)

    def close_if_idle(self, now: float, seconds: float) -> None:
        """Close a connection that has been without a request for `seconds`; used while the process drains."""
        if self.is_idle and now - max(self._since, self._reader.since) >= seconds:
            self._end()


def connection_factory(service: HttpService) -> Callable[..., HttpConnection]:
    """Return what uvicorn calls for each connection."""

    def connection(**given: Any) -> HttpConnection:
        return HttpConnection(service, **given)

    return connection
