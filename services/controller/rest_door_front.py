"""The door of the HTTP API: nobody's body is read, and nobody's is read beyond the limit.

    a key that opens nothing  →  401 before a byte of the body was looked at
    a body above the limit    →  413, by its header or while it comes; files go through, piece by piece
    a body that is no JSON    →  415, by its headers

What the caller may do is asked again where the operation is known: here it is only whether anybody is there.
"""

from __future__ import annotations

from typing import Any

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.contracts.errors import RequestTooLarge, ServingError, UnsupportedMedia
from services.controller.grpc_front import MESSAGE_LIMIT_BYTES, Callers
from services.controller.rest_calls_front import key_of, problem

DOCUMENT = "/api/v1/openapi.json"
"""What everybody may read."""
FILES = "/api/v1/blobs/"


class Door:
    """Lets requests in."""

    def __init__(self, app: ASGIApp, callers: Callers) -> None:
        """Keep what is behind it, and who knows the callers."""
        self._app = app
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["path"] == DOCUMENT:
            await self._app(scope, receive, send)
            return
        limited = _Limited(receive)
        try:
            http = Request(scope)
            await self._callers.of(key_of(http), writes=False)
            if scope["path"].startswith(FILES):
                await self._app(scope, receive, send)
                return
            limited.check(http.headers.get("content-length", ""))
            _check_media(http)
        except ServingError as refusal:
            await problem(refusal)(scope, receive, send)
            return
        await self._app(scope, limited.receive, send)


class _Limited:
    """Counts a body while it comes."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._received_bytes = 0

    def check(self, length: str) -> None:
        if length.isascii() and length.isdecimal() and (len(length) > 18 or int(length) > MESSAGE_LIMIT_BYTES):
            raise _too_large()

    async def receive(self) -> Message:
        message: Any = await self._receive()
        self._received_bytes += len(message.get("body", b""))
        if self._received_bytes > MESSAGE_LIMIT_BYTES:
            raise _too_large()
        return message


def _check_media(http: Request) -> None:
    """Refuse bodies that are said to be no JSON: they would be taken for bodies that say nothing."""
    if http.headers.get("content-length", "0") == "0" and "transfer-encoding" not in http.headers:
        return
    kind = http.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise UnsupportedMedia(f"a body is JSON here, not {kind[:80] or 'of no type'}: send content-type: application/json")
    coding = http.headers.get("content-encoding", "identity").lower()
    if coding != "identity":
        raise UnsupportedMedia(f"a body of the encoding {coding[:40]!r} is not unpacked here: send it as it is")


def _too_large() -> RequestTooLarge:
    return RequestTooLarge(f"a body has at most {MESSAGE_LIMIT_BYTES} bytes; files are sent to {FILES}<sha256>")
