"""Writes the head of an HTTP/1.1 response."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus

from services.router.http_exchange import HttpReply

_REASONS = {499: "Client Closed Request"} | {status.value: status.phrase for status in HTTPStatus}


@lru_cache(maxsize=256)
def _opening(status: int, content_type: bytes) -> bytes:
    phrase = _REASONS.get(status, "").encode()
    return b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\n" % (status, phrase, content_type)


def response_head(reply: HttpReply, request_id: str, default_lines: bytes, *, is_last: bool) -> bytes:
    """Return status line and headers, up to and with the empty line.

    Args:
        reply: what is answered; header values hold no line breaks.
        request_id: printable ASCII.
        default_lines: headers of every answer, ready-made.
        is_last: whether the connection ends after this answer.
    """
    headers = reply.headers
    more = b"" if not headers else b"%s: %s\r\n" % headers[0] if len(headers) == 1 else _lines(headers)
    return b"%s%sx-request-id: %s\r\n%s%scontent-length: %d\r\n\r\n" % (
        _opening(reply.status, reply.content_type),
        default_lines,
        request_id.encode("ascii"),
        more,
        b"connection: close\r\n" if is_last else b"",
        len(reply.body),
    )


def _lines(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    return b"".join([b"%s: %s\r\n" % header for header in headers])
