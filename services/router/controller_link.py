"""The way from a router to the controllers: what a caller sends is passed on as it came, and so is the answer.

Controllers are tried in the order of the settings, the one that answered last first: one that cannot be reached, or that says it does
not lead, passes the call on to the next. That is safe, for neither has done anything then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
import httpx2
import structlog

from penstock.contracts.errors import NotImplementedHere, Unavailable
from services.chassis.certificates import CertificateFiles, named_client_side
from services.chassis.loop import is_name
from services.router.controller_tunnel import tunnel

SERVICE = "penstock.v1.Controller"

LONGEST_SECONDS = 300.0
"""Longest call; registering checks a model, which takes its time."""

CONNECT_SECONDS = 1.0

NOT_THE_WRITER = "NOT_THE_WRITER"
"""Reason of a controller that stands by."""

REASON = "penstock-reason"
"""Trailer, and in lower case header, that carries an error's reason."""

CHANNEL_OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Lines that are made for new certificates are not to find the connections of those before.
    ("grpc.use_local_subchannel_pool", 1),
]

log = structlog.get_logger(__name__)

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where one controller listens, as `host:port`."""

    grpc: str
    http: str


class Refusal(Exception):
    """What a controller refused, as gRPC has it."""

    def __init__(self, code: grpc.StatusCode, details: str, trailers: tuple[tuple[str, str | bytes], ...]) -> None:
        """Keep status and trailers."""
        super().__init__(details)
        self.code = code
        self.details = details
        self.trailers = trailers


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """What a controller answered over HTTP."""

    status: int
    body: bytes
    fields: Mapping[str, str]


class _Controller:
    """One controller and the lines to it, which are made anew when the files of their certificates change."""

    def __init__(self, addresses: Addresses, tls: CertificateFiles | None, target: str) -> None:
        self.addresses = addresses
        self._tls = tls
        self._target = target
        self._stamps = tls.stamps() if tls is not None else ()
        self._lines = _Lines(addresses, tls, target)
        self._left: list[_Lines] = []

    @property
    def lines(self) -> _Lines:
        """The lines for a new call; those before stay open for the calls that are on them."""
        if self._tls is not None:
            try:
                stamps = self._tls.stamps()
                if stamps != self._stamps:
                    fresh = _Lines(self.addresses, self._tls, self._target)
                    self._left, self._lines, self._stamps = [*self._left, self._lines], fresh, stamps
                    log.info("tls_files_reloaded", certificate_chain=str(self._tls.certificate))
            except OSError as error:  # as they do not fit for a moment: the old ones go on
                log.warning("tls_files_unreadable", reason=str(error))
        return self._lines

    async def close(self) -> None:
        await asyncio.gather(*(one.close() for one in (*self._left, self._lines)))


class _Lines:
    def __init__(self, addresses: Addresses, tls: CertificateFiles | None, target: str) -> None:
        # It logs every URL, and what a caller puts into a query may be a key.
        logging.getLogger("httpx2").setLevel(logging.WARNING)
        verify = named_client_side(tls) if tls is not None else True  # first: files that do not fit open nothing
        self.channel = grpc.aio.insecure_channel(target, [*CHANNEL_OPTIONS, ("grpc.default_authority", addresses.grpc)])
        self.http = httpx2.AsyncClient(
            base_url=f"http{'s' if tls else ''}://{addresses.http}",
            timeout=httpx2.Timeout(LONGEST_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
            follow_redirects=False,
            verify=verify,
        )

    async def close(self) -> None:
        await self.channel.close()
        await self.http.aclose()


class ControllerLink:
    """Passes calls on to the controller that leads; enter it to open, leave it to close."""

    def __init__(self, addresses: Sequence[Addresses], tls: CertificateFiles | None = None) -> None:
        """Keep where the controllers are, none makes every call a refusal; and what they are called with over TLS."""
        self._addresses = addresses
        self._tls = tls
        self._controllers: list[_Controller] = []
        self._tunnels = AsyncExitStack()

    @property
    def exists(self) -> bool:
        """Whether this mesh has a controller."""
        return bool(self._addresses)

    async def __aenter__(self) -> Self:
        """Open connections lazily."""
        for one in self._addresses:
            self._controllers.append(_Controller(one, self._tls, await self._target(one.grpc)))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close them."""
        await asyncio.gather(*(one.close() for one in self._controllers))
        await self._tunnels.aclose()

    async def unary(self, method: str, payload: bytes, metadata: Metadata, timeout_seconds: float) -> bytes:
        """Pass on a call with one message.

        Raises:
            NotImplementedHere: there is no controller.
            Refusal: what the controller said, or that none could be reached.
        """
        refusal: Refusal | None = None
        for one in self._in_order():
            call: Any = one.lines.channel.unary_unary(f"/{SERVICE}/{method}")
            try:
                # Shielded: a cancelled unary call of grpc.aio never gives its memory back (grpc#43360), so the call ends by itself.
                return await asyncio.shield(call(payload, metadata=metadata, timeout=timeout_seconds))
            except grpc.aio.AioRpcError as error:
                refusal = _refusal(error)
                if not _is_elsewhere(refusal):
                    raise refusal from None
                self._demote(one)
        raise refusal if refusal is not None else no_controller()

    async def stream(self, method: str, payloads: Any, metadata: Metadata, timeout_seconds: float) -> bytes:
        """Pass on a call with a stream of messages; a stream is not begun again elsewhere, its caller has to.

        Raises:
            NotImplementedHere: there is no controller.
            Refusal: what the controller said.
        """
        for one in self._in_order():
            call: Any = one.lines.channel.stream_unary(f"/{SERVICE}/{method}")
            try:
                return await asyncio.shield(call(payloads, metadata=metadata, timeout=timeout_seconds))
            except grpc.aio.AioRpcError as error:
                refusal = _refusal(error)
                if refusal.code is grpc.StatusCode.UNAVAILABLE:
                    self._demote(one)
                raise refusal from None
        raise no_controller()

    async def http(self, method: str, path: str, fields: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Pass on an HTTP request.

        Raises:
            NotImplementedHere: there is no controller.
            Unavailable: none could be reached.
        """
        last = "none is known"
        for one in self._in_order():
            try:
                answer = await asyncio.shield(one.lines.http.request(method, path, headers=dict(fields), content=body))
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                last = f"{one.addresses.http}: {error}"
                self._demote(one)
                continue
            except httpx2.TransportError as error:
                raise Unavailable(
                    f"the controller at {one.addresses.http} did not answer ({type(error).__name__}): whether the change was made, "
                    "`penstock changes` tells",
                    reason="CONTROLLER_AWAY",
                ) from None
            if answer.status_code == 503 and answer.headers.get(REASON) == NOT_THE_WRITER:
                last = f"{one.addresses.http} stands by"
                self._demote(one)
                continue
            return HttpAnswer(status=answer.status_code, body=answer.content, fields=answer.headers)
        raise _away(last) if self.exists else no_controller()

    async def _target(self, address: str) -> str:
        if self._tls is None and not is_name(address.rpartition(":")[0].strip("[]")):
            return address
        return await self._tunnels.enter_async_context(tunnel(address, self._tls))

    def _in_order(self) -> Iterator[_Controller]:
        return iter(list(self._controllers))

    def _demote(self, one: _Controller) -> None:
        """Ask this one last from now on."""
        if len(self._controllers) > 1:
            self._controllers.remove(one)
            self._controllers.append(one)
            log.info("controller_passed_over", address=one.addresses.grpc)


def no_controller() -> NotImplementedHere:
    """Return the refusal of a server without a controller."""
    return NotImplementedHere(
        "this server has no controller, so nothing can be deployed, shared or rolled back here: `penstock up` starts the whole mesh",
        reason="NO_CONTROLLER",
    )


def _away(last: str) -> Unavailable:
    return Unavailable(f"no controller answers ({last}); models are served as before", reason="CONTROLLER_AWAY", retry_after_seconds=1.0)


def _is_elsewhere(refusal: Refusal) -> bool:
    """Whether nothing was done here: the line was never there, or the controller stands by."""
    if refusal.code is not grpc.StatusCode.UNAVAILABLE:
        return False
    reason = next((value for name, value in refusal.trailers if name == REASON), "")
    return reason == NOT_THE_WRITER or (not reason and "failed to connect" in refusal.details.lower())


def _refusal(error: grpc.aio.AioRpcError) -> Refusal:
    trailers = tuple((name, value) for name, value in error.trailing_metadata() or ())
    return Refusal(error.code(), error.details() or "", trailers)
