"""Fetches one file over HTTPS for somebody who may not be trusted with what this machine can reach.

    name  →  all its addresses looked up once and judged  →  one connection, to an address that was judged, for the name's certificate

What was judged is what is connected to: a name that answers otherwise the second time leads nowhere else. No redirect is followed and no
proxy of the environment used. Whoever sends slowly, without end, or other than it said, is left.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import structlog

from penstock.contracts.errors import InvalidInput, NotFound, RequestTooLarge, ServingError, Unavailable
from services.controller.public_addresses import Network, may_be_asked

CHUNK_BYTES = 1 << 20
PORT = 443

log = structlog.get_logger(__name__)

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a name; raises OSError when there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsTimes:
    """How long a sender may take."""

    connect_seconds: float = 5.0
    answer_seconds: float = 20.0
    """Until the head of the answer is there, and between two pieces of its body."""
    grace_seconds: float = 30.0
    """After which it must have sent at `slowest_bytes_per_second`, from the beginning."""
    slowest_bytes_per_second: float = float(256 << 10)
    whole_seconds: float = 100.0
    """For the whole body: clients wait 120 s for a registration."""


async def resolved(host: str, port: int) -> Sequence[str]:
    """Return the addresses of a name, in the order in which the machine prefers them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(str(one[4][0]) for one in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsSource:
    """Whom files are fetched from, and how patiently."""

    networks: tuple[Network, ...] = ()
    """Networks beside the public one in which senders may be."""
    authorities: Path | None = None
    """PEM file of the authorities of their certificates; None for those that the machine trusts."""
    times: HttpsTimes = field(default_factory=HttpsTimes)
    resolve: Resolve = resolved

    async def chunks(self, url: str, most_bytes: int) -> AsyncGenerator[bytes]:
        """Yield the file at a plain `https://` URL.

        Raises:
            InvalidInput: its address is not to be asked, or it answers with a redirect or in an encoding (SOURCE_REFUSED).
            NotFound: it is not there.
            RequestTooLarge: it has more than `most_bytes`, or says so.
            Unavailable: the sender is away, not who it should be, too slow, or breaks off.
        """
        host = urlsplit(url).hostname or ""
        try:
            async with self._answer(url, host) as answer:
                _check(answer, host, most_bytes)
                async for chunk in self._body(answer, host, most_bytes):
                    yield chunk
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError, OSError) as error:
            log.warning("https_source_failed", host=host[:80], error=f"{type(error).__name__}: {str(error)[:300]}")
            raise _away(f"{host[:80]} cannot be reached, is not who it should be, is silent, or broke off") from error

    @asynccontextmanager
    async def _answer(self, url: str, host: str) -> AsyncGenerator[httpx2.Response]:
        parts = urlsplit(url)
        port = parts.port or PORT
        address = await self._judged(host, port)
        trust = ssl.create_default_context(cafile=str(self.authorities) if self.authorities else None)
        times = httpx2.Timeout(self.times.answer_seconds, connect=self.times.connect_seconds)
        target = httpx2.URL(scheme="https", host=address, port=port, path=parts.path or "/")
        fields = {"host": parts.netloc, "accept-encoding": "identity", "user-agent": "penstock"}
        async with httpx2.AsyncClient(verify=trust, trust_env=False, follow_redirects=False, timeout=times) as client:
            asked = client.build_request("GET", target, headers=fields, extensions={"sni_hostname": host})
            # A head that comes letter by letter is never silent.
            async with asyncio.timeout(self.times.connect_seconds + self.times.answer_seconds):
                answer = await client.send(asked, stream=True)
            async with aclosing(answer):
                yield answer

    async def _judged(self, host: str, port: int) -> str:
        """Return an address of a name, all of whose addresses may be asked."""
        try:
            async with asyncio.timeout(self.times.connect_seconds):
                found = await self.resolve(host, port)
        except (OSError, UnicodeError):
            raise _away(f"{host[:80]!r} has no address") from None
        if not found or not all(may_be_asked(one, self.networks) for one in found):
            # Which address it was is nothing that a stranger should learn of names inside.
            raise _refused(f"{host[:80]!r} is not in the public network, nor in one of the setting source_networks")
        return found[0]

    async def _body(self, answer: httpx2.Response, host: str, most_bytes: int) -> AsyncIterator[bytes]:
        began_at, received, held = time.monotonic(), 0, bytearray()
        async for piece in answer.aiter_raw():
            received += len(piece)
            if received > most_bytes:
                raise _too_large(host, most_bytes)
            # Asked at every piece, however small: each may be as late as `answer_seconds`, and all of them together may not.
            if time.monotonic() - began_at > self._due(received):
                raise _away(f"{host[:80]} sends too slowly: {received} bytes by now")
            held += piece
            if len(held) >= CHUNK_BYTES:
                yield bytes(held)
                held.clear()
        yield bytes(held)

    def _due(self, received: int) -> float:
        """Return the seconds within which so many bytes have to be there."""
        return min(self.times.whole_seconds, self.times.grace_seconds + received / self.times.slowest_bytes_per_second)


def _said(answer: httpx2.Response) -> int:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 18 else 0


def _check(answer: Any, host: str, most_bytes: int) -> None:
    status = int(answer.status_code)
    if 300 <= status < 400:
        raise _refused(f"{host[:80]} answers with a redirect, which is not followed: name the URL that it leads to")
    if status in (404, 410):
        raise NotFound(f"it is not at {host[:80]}", reason="ARTEFACT_NOT_FOUND")
    if status != 200:
        raise _away(f"{host[:80]} answers with the status {status}")
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise _refused(f"{host[:80]} sends it in an encoding that was not asked for")
    if _said(answer) > most_bytes:
        raise _too_large(host, most_bytes)


def _too_large(host: str, most_bytes: int) -> ServingError:
    return RequestTooLarge(f"what {host[:80]} sends has more than {most_bytes} bytes", reason="ARTEFACT_TOO_LARGE")


def _refused(message: str) -> InvalidInput:
    return InvalidInput(message, reason="SOURCE_REFUSED", field="source")


def _away(message: str) -> Unavailable:
    return Unavailable(message, reason="STORE_UNAVAILABLE")
