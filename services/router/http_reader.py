"""Reads requests off a connection's bytes, within limits. No I/O of its own.

httptools (llhttp, strict) cuts the bytes; what it does not judge is judged here: sizes while they grow, the head as a whole
(http_head), and how long a request may take to arrive. A request is delivered when it is complete. The first refusal ends reading for
good: nobody can say where the next request would begin. A request whose head came before, in one piece with its body, is not parsed
again (http_recognition).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

import httptools

from penstock.contracts.errors import InvalidInput, MalformedBody, Overloaded, ServingError
from services.router.http_budget import BodyBudget
from services.router.http_exchange import Head, HttpRequest
from services.router.http_head import HttpLimits, body_too_large, head_problem, path_of, size_problem
from services.router.http_recognition import head_of


class Reading(Enum):
    """What the next bytes belong to."""

    NOTHING = auto()
    """The next request, of which nothing has come."""
    HEAD = auto()
    BODY = auto()


class Refused(Exception):
    """The request that is being read is refused."""

    def __init__(self, error: ServingError) -> None:
        """Keep what the caller is told."""
        super().__init__(error.message)
        self.error = error


class HttpReader:
    """Turns bytes into requests."""

    def __init__(
        self,
        limits: HttpLimits,
        budget: BodyBudget,
        deliver: Callable[[HttpRequest], None],
        welcome_body: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        """Keep the collaborators.

        Args:
            limits: what is too much.
            budget: what the bodies of all connections count against.
            deliver: takes each complete request, within `feed`.
            welcome_body: called when a caller waits for "100 Continue" before it sends its body.
            clock: monotonic seconds.
        """
        self.state = Reading.NOTHING
        self.since = clock()
        """When the state was entered."""
        self.held_bytes = 0
        """Bytes of bodies that were taken from the budget and not given back."""
        self._limits = limits
        self._budget = budget
        self._deliver = deliver
        self._welcome_body = welcome_body
        self._clock = clock
        self._parser = httptools.HttpRequestParser(self)
        # A caller may send on behind `connection: close`; those bytes are dropped, not refused.
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._problem: ServingError | None = None
        self._known: Head | None = None
        self._last: HttpRequest | None = None
        """The request that the parser delivered last, from the piece that is being read."""
        self._read_bytes = 0
        self._now_bytes = 0
        self._began_at_bytes = 0
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._fields: dict[bytes, bytes] = {}
        self._method = ""
        self._keep_alive = True
        self._parts: list[bytes] = []
        self._body_bytes = self._chunks = self._delivered = 0

    def feed(self, data: bytes) -> None:
        """Read on; complete requests are delivered before this returns.

        Raises:
            Refused: the bytes are no acceptable request. Nothing may be fed afterwards.
        """
        if self.state is Reading.NOTHING:
            if self._known is not None:
                data = self._recognise(data, self._known)
            if not data:
                return
            self._parse_and_learn(data)
        else:
            self._parse(data)
            self._last = None

    def _parse_and_learn(self, data: bytes) -> None:
        """Parse bytes with which a request begins; if they are one request exactly, know the next one by its head."""
        delivered = self._delivered
        try:
            self._parse(data)
            if self._last is not None and self._delivered == delivered + 1 and self.state is Reading.NOTHING:
                self._known = head_of(data, self._last)
        finally:
            self._last = None

    def _recognise(self, data: bytes, known: Head) -> bytes:
        """Deliver the requests with the known head that the bytes begin with; return the rest."""
        limits, budget = self._limits, self._budget
        at, stop = 0, len(data)
        while at < stop:
            found = known.body_in(data, at)
            if found is None:
                break
            begin, end = found
            size = end - begin
            # What goes beyond a limit is refused where everything is refused.
            if size > limits.body_bytes or not budget.take(size):
                break
            self.held_bytes += size
            self.since = self._clock()
            request = known.repeated(data[begin:end])
            request.arrived_at = self.since
            at = end
            self._deliver(request)
        return data[at:]

    def _parse(self, data: bytes) -> None:
        while data:
            self._now_bytes = len(data)
            self._read_bytes += len(data)
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # An offer to speak another protocol is not taken: what follows is HTTP/1.1.
                data = data[upgrade.args[0] :]
                continue
            except httptools.HttpParserError:
                raise Refused(self._problem or MalformedBody("this is not HTTP/1.1", reason="BAD_HEADER")) from None
            break
        if self.state is Reading.HEAD:
            self._check_unfinished_head()

    def overdue(self, now: float) -> ServingError | None:
        """Return the refusal of a request that takes too long to arrive."""
        limits, passed = self._limits, now - self.since
        if self.state is Reading.HEAD and passed > limits.head_seconds:
            return _too_slow("headers", limits.head_seconds)
        if self.state is Reading.BODY and passed > limits.body_seconds + self._body_bytes / limits.body_bytes_per_second:
            return _too_slow("body", limits.body_seconds)
        return None

    def give_back(self, size: int) -> None:
        """Free the bytes of bodies that are no longer needed."""
        self.held_bytes -= size
        self._budget.give(size)

    def close(self) -> None:
        """Let go of what was read; nothing may be fed afterwards.

        Reader, parser and connection know one another, so they live until the collector comes by; bodies must not.
        """
        self._parts = []
        self.give_back(self.held_bytes)

    def unfinished(self) -> HttpRequest:
        """Return what is known of the request that is being read, for its refusal."""
        path, query = path_of(self._target) if self._target else (b"/", b"")
        return HttpRequest(self._method or "GET", path, query, dict(self._headers), b"")

    # --- called by the parser -------------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Start a request."""
        self._target = b""
        self._headers = []
        self._parts = []
        self._body_bytes = self._chunks = 0
        self._began_at_bytes = self._read_bytes
        self._enter(Reading.HEAD)

    def on_url(self, url: bytes) -> None:
        """Collect the request target."""
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Judge the head."""
        headers, limits, parser = self._headers, self._limits, self._parser
        fields = self._fields = dict(headers)
        version, self._method = parser.get_http_version(), parser.get_method().decode("ascii")
        upper_bound = self._read_bytes - self._began_at_bytes + self._now_bytes
        size = sum(len(name) + len(value) for name, value in headers) if upper_bound > limits.head_bytes else 0
        problem = size_problem(size, self._target, len(headers), fields, limits) or head_problem(
            self._method, self._target, version, headers, fields
        )
        if problem is not None:
            self._stop(problem)
        self._keep_alive = version != "1.0" and parser.should_keep_alive()
        self._enter(Reading.BODY)
        if b"expect" in fields:
            self._welcome_body()

    def on_chunk_header(self) -> None:
        """Count chunks: a body of a million one-byte chunks is an attack."""
        self._chunks += 1
        if self._chunks > self._limits.chunks:
            self._stop(body_too_large(self._limits))

    def on_body(self, body: bytes) -> None:
        """Collect a piece of the body."""
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._stop(body_too_large(self._limits))
        if not self._budget.take(len(body)):
            self._stop(Overloaded("too many large bodies are being handled: retry later", retry_after_seconds=1.0))
        self.held_bytes += len(body)
        self._parts.append(body)

    def on_message_complete(self) -> None:
        """Deliver the request."""
        parts = self._parts
        path, query = path_of(self._target)
        request = HttpRequest(self._method, path, query, self._fields, parts[0] if len(parts) == 1 else b"".join(parts))
        request.keep_alive = self._keep_alive
        self._parts = []
        self._enter(Reading.NOTHING)
        request.arrived_at = self.since
        self._delivered += 1
        self._last = request
        self._deliver(request)

    def _enter(self, state: Reading) -> None:
        self.state = state
        self.since = self._clock()

    def _stop(self, problem: ServingError) -> None:
        """End parsing: an exception out of a callback makes the parser give up."""
        self._problem = problem
        self._parts = []
        raise Refused(problem)

    def _check_unfinished_head(self) -> None:
        grown = self._read_bytes - self._began_at_bytes
        problem = size_problem(grown, self._target, len(self._headers), {}, self._limits)
        if problem is not None:
            raise Refused(problem)


def _too_slow(what: str, seconds: float) -> ServingError:
    return InvalidInput(f"the {what} did not arrive within {seconds:g} seconds", reason="REQUEST_TIMEOUT")
