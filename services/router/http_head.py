"""What a request's head must be before anything is done for it. Pure.

The parser (llhttp, strict) has already refused bare line feeds, folded headers, names with spaces, Content-Length that is no number or
comes twice, and Content-Length together with Transfer-Encoding. Here stand the rules that need the whole head: one host, no header
twice that is read once, sizes, what `Expect` may say, and which methods exist at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from penstock.contracts.errors import InvalidInput, NotImplementedHere, RequestTooLarge, ServingError

Headers = Sequence[tuple[bytes, bytes]]
_ONCE = (
    b"host",
    b"content-length",
    b"transfer-encoding",
    b"content-type",
    b"content-encoding",
    b"inference-header-content-length",
    b"authorization",
    b"x-api-key",
    b"traceparent",
    b"x-request-timeout-ms",
)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_SCHEMES = (b"http://", b"https://")


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """What one connection may ask for."""

    body_bytes: int = 64 * 1024 * 1024
    """Largest body, as sent and after decompression."""
    head_bytes: int = 64 * 1024
    """Largest request line and headers together."""
    target_bytes: int = 16 * 1024
    """Longest request target."""
    headers: int = 100
    """Most headers."""
    chunks: int = 65_536
    """Most chunks of a chunked body."""
    all_bodies_bytes: int = 1024 * 1024 * 1024
    """Most bytes of bodies that all connections of one process hold together, until they are answered."""
    connections: int = 8192
    """Most open connections of one process."""
    head_seconds: float = 10.0
    """Longest time from the first byte of a request to the end of its headers."""
    body_seconds: float = 30.0
    """Longest time for a body, plus one second for every `body_bytes_per_second` that arrived."""
    body_bytes_per_second: int = 64 * 1024
    idle_seconds: float = 75.0
    """How long a connection may wait for its next request."""
    write_seconds: float = 30.0
    """How long a caller may leave an answer unread."""


def head_problem(method: str, target: bytes, version: str, headers: Headers, fields: dict[bytes, bytes]) -> ServingError | None:
    """Return why a head is refused; None when it is good.

    Args:
        method: as sent.
        target: of the request line.
        version: of HTTP, for example 1.1.
        headers: name and value as sent, names in lower case.
        fields: the same by name.
    """
    if method not in _METHODS:
        return NotImplementedHere(f"method {method[:16]} is not served", field="method")
    if len(fields) != len(headers):
        names = [name for name, _ in headers]
        twice = next((name for name in _ONCE if names.count(name) > 1), None)
        if twice is not None:
            return _bad(f"header {twice.decode()} is sent twice", twice)
    host = fields.get(b"host")
    if host is None and version not in ("1.0", "0.9"):
        return _bad("header host is missing", b"host")
    if version not in ("1.1", "1.0"):
        return _bad(f"HTTP/{version} is not served", b"http-version")
    if target[:1] != b"/":
        return _absolute_target(method, target, host)
    coding = fields.get(b"transfer-encoding")
    if coding is not None and (coding.lower() != b"chunked" or version == "1.0" or b"content-length" in fields):
        return _bad("transfer-encoding must be chunked, without content-length, and needs HTTP/1.1", b"transfer-encoding")
    expected = fields.get(b"expect")
    if expected is not None and expected.lower() != b"100-continue":
        return InvalidInput("expect may only say 100-continue", reason="EXPECTATION", field="expect")
    return None


def size_problem(head_bytes: int, target: bytes, headers: int, fields: dict[bytes, bytes], limits: HttpLimits) -> ServingError | None:
    """Return which limit a head breaks, or announces that its body will break; None when it breaks none."""
    if len(target) > limits.target_bytes:
        return RequestTooLarge(f"the request target is longer than {limits.target_bytes} bytes", reason="URI_TOO_LONG")
    if headers > limits.headers or head_bytes > limits.head_bytes:
        return RequestTooLarge(
            f"more than {limits.headers} headers, or more than {limits.head_bytes} bytes of them", reason="HEADERS_TOO_LARGE"
        )
    announced = fields.get(b"content-length")
    if announced is not None and int(announced) > limits.body_bytes:
        return body_too_large(limits)
    return None


def body_too_large(limits: HttpLimits) -> ServingError:
    """Return the refusal of a body that is larger than the limit, or comes in too many chunks."""
    return RequestTooLarge(f"the body is larger than {limits.body_bytes} bytes, or comes in more than {limits.chunks} chunks")


def path_of(target: bytes) -> tuple[bytes, bytes]:
    """Return path and query of a request target, without its scheme and host."""
    if target[:1] != b"/":
        target = b"/" + target.partition(b"://")[2].partition(b"/")[2]
    path, _, query = target.partition(b"?")
    return path, query


def _absolute_target(method: str, target: bytes, host: bytes | None) -> ServingError | None:
    if target == b"*" and method == "OPTIONS":
        return None
    if not target.lower().startswith(_SCHEMES):
        return NotImplementedHere("this is no proxy") if b"://" in target else _bad("the request target must begin with /", b"target")
    authority = target.partition(b"://")[2].partition(b"/")[0]
    if host is not None and authority.lower() != host.lower():
        return _bad("the request target names another host than the header host", b"host")
    return None


def _bad(message: str, field: bytes) -> InvalidInput:
    return InvalidInput(message, reason="BAD_HEADER", field=field.decode())
