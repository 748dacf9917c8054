"""The values that pass between an HTTP connection and the routes: request, reply, and what waits for a model's answer."""

from __future__ import annotations

import itertools
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from urllib.parse import unquote

from penstock.contracts.errors import InvalidInput
from services.chassis.presented_keys import PresentedKey
from services.router.call_buffer import Sender
from services.router.front import Affinity

JSON = b"application/json"
TEXT = b"text/plain; charset=utf-8"
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_MILLISECONDS = re.compile(rb"\d{1,9}", re.ASCII)
_PROCESS = secrets.token_hex(6)
_numbers = itertools.count(1)


class Face(Enum):
    """A family of routes; decides how an error looks."""

    OIP = "oip"
    """`/v2`: `{"error": "text"}`."""
    V1 = "v1"
    """TensorFlow Serving, SageMaker, MLflow: as OIP."""
    OPENAI = "openai"
    """`{"error": {"message", "type", "param", "code"}}`."""
    NATIVE = "native"
    """`/api/v1`: problem details (RFC 9457)."""
    PLAIN = "plain"
    """Health and documents: as OIP."""


class HttpRequest:
    """One request, read completely. `fields` maps lower-case header names to values; of repeated ones the last counts."""

    __slots__ = ("_request_id", "arrived_at", "body", "fields", "head", "keep_alive", "method", "path", "peer", "query")

    def __init__(self, method: str, path: bytes, query: bytes, fields: dict[bytes, bytes], body: bytes) -> None:
        """Keep what came; `path` is as sent, percent signs and all."""
        self.method = method
        self.path = path
        self.query = query
        self.fields = fields
        self.body = body
        self.keep_alive = True
        self.arrived_at = 0.0
        """Monotonic seconds."""
        self.peer: str | None = None
        """Address of the other end of the connection; what headers say of others on the way is nobody's word."""
        self.head: Head | None = None
        """What is known of requests with the same head."""
        self._request_id: str | None = None

    @property
    def request_id(self) -> str:
        """The caller's `X-Request-ID` or `X-Correlation-ID` when it is harmless, else a number of our own."""
        if self._request_id is None:
            fields = self.fields
            given = fields.get(b"x-request-id") or fields.get(b"x-correlation-id")
            usable = given is not None and _REQUEST_ID.fullmatch(given)
            self._request_id = given.decode("ascii") if given and usable else f"{_PROCESS}-{next(_numbers):x}"
        return self._request_id

    @property
    def key(self) -> str | None:
        """API key: `x-api-key`, else the token of `authorization: Bearer`; None without either."""
        fields = self.fields
        given = fields.get(b"x-api-key")
        if given is not None:
            return PresentedKey.of(given.decode("latin-1"), self.peer)
        bearer = fields.get(b"authorization")
        if bearer is None or bearer[:7].lower() != b"bearer ":
            return None
        return PresentedKey.of(bearer[7:].strip().decode("latin-1") or None, self.peer)

    @property
    def trace(self) -> str | None:
        """W3C traceparent as sent."""
        given = self.fields.get(b"traceparent")
        return None if given is None else given.decode("latin-1")

    @property
    def affinity(self) -> Affinity | None:
        """Whom the request is for, by the headers `x-user-id` and `x-session-affinity`; None without either."""
        user, session = self.fields.get(b"x-user-id"), self.fields.get(b"x-session-affinity")
        if user is None and session is None:
            return None
        return Affinity(user.decode("latin-1") if user else None, session.decode("latin-1") if session else None)

    @property
    def timeout_seconds(self) -> float | None:
        """Budget in the header `x-request-timeout-ms`; None without it.

        Raises:
            InvalidInput: no whole number of milliseconds.
        """
        given = self.fields.get(b"x-request-timeout-ms")
        if given is None:
            return None
        if not _MILLISECONDS.fullmatch(given):
            raise InvalidInput(
                "x-request-timeout-ms must be a whole number of milliseconds", reason="BAD_HEADER", field="x-request-timeout-ms"
            )
        return int(given) / 1000


@dataclass(slots=True)
class HttpReply:
    """One answer; status and headers as HTTP has them."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(slots=True)
class Translation:
    """A request in the form the router serves, and how its answer is told."""

    payload: bytes
    """Serialised ModelInferRequest."""
    finish: Callable[[bytes], HttpReply]
    """Turns the ModelInferResponse into the reply."""
    timeout_seconds: float | None = None
    """Budget named in the body."""


@dataclass(slots=True)
class Pending:
    """A translated request on its way."""

    call_id: int
    finish: Callable[[bytes], HttpReply]
    face: Face


PathNames = Mapping[str, str]
"""What a path's placeholders stand for, percent-decoded."""
Translate = Callable[[HttpRequest, PathNames], Translation]
"""Turns a request into a call of a model; errors are ServingErrors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done with a request for a prediction, as far as its head decides."""

    translate: Translate
    names: PathNames
    face: Face
    sender: Sender
    timeout_seconds: float | None


_LENGTH_DIGITS = 9


@dataclass(slots=True, kw_only=True)
class Head:
    """A head that came before, and what it led to."""

    before: bytes
    """The bytes up to the value of Content-Length."""
    after: bytes
    """The bytes behind it, to and with the empty line."""
    request: HttpRequest
    """The one from which this was learnt, without its body and the length of it."""
    plan: Plan | None = None
    """Set by who answers, where the head alone decides the way."""

    def body_in(self, data: bytes, at: int) -> tuple[int, int] | None:
        """Return where the body begins and ends if this head stands in the bytes `at`, and the whole body behind it."""
        if not data.startswith(self.before, at):
            return None
        begin = at + len(self.before)
        end = data.find(b"\r", begin, begin + _LENGTH_DIGITS)
        digits = data[begin:end]
        if end < 0 or not digits.isdigit() or not data.startswith(self.after, end):
            return None
        start = end + len(self.after)
        stop = start + int(digits)
        return (start, stop) if stop <= len(data) else None

    def repeated(self, body: bytes) -> HttpRequest:
        """Return a request with this head."""
        known = self.request
        request = HttpRequest(known.method, known.path, known.query, known.fields, body)
        request.head = self
        return request


def decoded(segment: str) -> str:
    """Return a path segment without percent signs.

    Raises:
        InvalidInput: the bytes are no UTF-8.
    """
    try:
        return unquote(segment, errors="strict") if "%" in segment else segment
    except UnicodeDecodeError:
        raise InvalidInput("the path holds percent-encoded bytes that are not UTF-8", reason="BAD_NAME", field="path") from None
