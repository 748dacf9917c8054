"""Answers HTTP requests: finds the route, checks the media type, and goes the way that the route takes.

`begin` is the synchronous half, for connections that have a whole request in hand; what it leaves (None) is answered by `asgi`, an
ordinary ASGI application. Nothing here knows a route: they are given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any, Protocol

from penstock.contracts.errors import NotFound, Overloaded, ServingError, UnsupportedMedia
from services.chassis.deadline import NEVER, deadline_after
from services.router import http_encoding as encoding
from services.router.call_buffer import Caller, Sender
from services.router.front import Affinity
from services.router.http_budget import BodyBudget
from services.router.http_errors import as_serving_error, error_reply
from services.router.http_exchange import Face, HttpReply, HttpRequest, PathNames, Pending, Plan, Translate, Translation
from services.router.http_head import HttpLimits
from services.router.http_routes import Found, Routes, check_media
from services.router.http_writing import response_head

_FACES = ((b"/v2", Face.OIP), (b"/api/", Face.NATIVE), (b"/openai/", Face.OPENAI), (b"/v1/embeddings", Face.OPENAI), (b"/v1/", Face.V1))


class Calls(Protocol):
    """Takes translated requests; CallBuffer is one."""

    def enter(self, caller: Caller, payload: bytes, deadline: float, sender: Sender) -> int:
        """Hand over a ModelInferRequest for a caller that will be told; return the number by which it may `leave`."""
        ...

    def leave(self, call_id: int) -> None:
        """Note that a caller left."""
        ...

    def submit(
        self,
        payload: bytes,
        *,
        key: str | None = None,
        deadline: float = NEVER,
        trace: str | None = None,
        affinity: Affinity | None = None,
    ) -> asyncio.Future[bytes]:
        """Hand over a ModelInferRequest; the future gives the ModelInferResponse, or the ServingError."""
        ...


class HttpService:
    """What all connections of a process share."""

    def __init__(
        self,
        routes: Routes,
        calls: Calls,
        *,
        limits: HttpLimits | None = None,
        missing_type_is_json: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep the collaborators."""
        self.limits = limits or HttpLimits()
        self.budget = BodyBudget(self.limits.all_bodies_bytes)
        self.is_draining = False
        self.counts: dict[tuple[str, int], int] = {}
        """Answers by (method, status), since the start."""
        self.default_headers: list[tuple[bytes, bytes]] = []
        """On every answer."""
        self._routes = routes
        self._calls = calls
        self._missing_type_is_json = missing_type_is_json
        self._clock = clock
        self._default_lines = b""
        self.tick()

    def tick(self) -> None:
        """Renew the date header; called about once a second."""
        self.default_headers = [(b"date", formatdate(usegmt=True).encode()), (b"x-content-type-options", b"nosniff")]
        self._default_lines = b"".join(b"%s: %s\r\n" % header for header in self.default_headers)

    # --- the synchronous half -----------------------------------------------------------------------------------------------------

    def begin(self, request: HttpRequest, caller: Caller) -> Pending | HttpReply | None:
        """Answer, or submit for the caller, or leave the request to `asgi` (None)."""
        face = Face.PLAIN
        head = request.head
        try:
            if head is not None and head.plan is not None:
                face = head.plan.face
                return self._submit(request, head.plan, caller)
            found = self._find(request)
            face = found.route.face
            if b"content-encoding" in request.fields:
                return None
            route, method = found.route, _method(request)
            translate = route.translate.get(method) if route.translate is not None else None
            if translate is not None:
                plan = _plan(request, translate, found.names, face)
                if head is not None:
                    head.plan = plan
                return self._submit(request, plan, caller)
            at_once = route.at_once.get(method) if route.at_once is not None else None
            return None if at_once is None else at_once(request, found.names)
        except Exception as error:  # noqa: BLE001 - the one table: everything becomes an answer
            return self._told(error, request, face)

    def finish(self, request: HttpRequest, pending: Pending, payload: bytes) -> HttpReply:
        """Return the reply to an answer that has come."""
        try:
            return pending.finish(payload)
        except Exception as error:  # noqa: BLE001 - as above
            return self._told(error, request, pending.face)

    def fail(self, request: HttpRequest, pending: Pending, error: ServingError) -> HttpReply:
        """Return the reply to an error that came in place of an answer."""
        return self._told(error, request, pending.face)

    def leave(self, pending: Pending) -> None:
        """Take back what was submitted: nobody waits for it any more."""
        self._calls.leave(pending.call_id)

    def compressed_later(self, request: HttpRequest, reply: HttpReply) -> asyncio.Future[HttpReply] | None:
        """Compress a reply if its caller wants that: small ones at once, in place; for large ones a future is returned."""
        # tritonclient.http.aio asks for gzip with every request, and undoes it in answers to inferences alone.
        is_plain = request.path.startswith(b"/v2") and not (reply.status == 200 and request.path.endswith(b"/infer"))
        wanted = None if is_plain else encoding.accepted(request.fields, len(reply.body))
        if wanted is None:
            return None
        if len(reply.body) > encoding.INLINE_BYTES:
            return asyncio.get_running_loop().run_in_executor(None, _compress, reply, wanted)
        _compress(reply, wanted)
        return None

    def refusal(self, request: HttpRequest, error: ServingError) -> HttpReply:
        """Return the reply to a request that could not even be read."""
        face = next((face for prefix, face in _FACES if request.path.startswith(prefix)), Face.PLAIN)
        return error_reply(error, face, request.request_id)

    def connection_problem(self, connections: int) -> ServingError | None:
        """Return why a new connection is refused; None to take it."""
        if connections > self.limits.connections:
            return Overloaded(f"{self.limits.connections} connections are open: retry later", retry_after_seconds=1.0)
        return None

    def written(self, request: HttpRequest, reply: HttpReply, *, is_last: bool) -> list[bytes]:
        """Return the bytes of a reply."""
        self._count(request, reply.status)
        head = response_head(reply, request.request_id, self._default_lines, is_last=is_last)
        if request.method == "HEAD" or reply.status == 204:
            return [head]
        return [head + reply.body] if len(reply.body) < 65_536 else [head, reply.body]

    # --- the asynchronous half ----------------------------------------------------------------------------------------------------

    def scope_of(self, request: HttpRequest, *, is_last: bool, scheme: str, client: Any, server: Any) -> Any:
        """Return the ASGI scope of a request."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": scheme,
            "path": request.path.decode("ascii"),
            "raw_path": request.path,
            "query_string": request.query,
            "root_path": "",
            "headers": list(request.fields.items()),
            "client": client,
            "server": server,
            "penstock.arrived_at": request.arrived_at,
            "penstock.is_last": is_last,
        }

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request as an ASGI application. A cancelled call ends quietly: whoever cancels it has lost its caller."""
        if scope["type"] != "http":
            return
        request = HttpRequest(scope["method"], scope["raw_path"], scope["query_string"], dict(scope["headers"]), await _body(receive))
        request.peer = scope["client"][0] if scope.get("client") else None
        request.arrived_at = scope.get("penstock.arrived_at", self._clock())
        try:
            reply = await self.answer(request)
            later = self.compressed_later(request, reply)
            if later is not None:
                reply = await later
        except asyncio.CancelledError:
            return
        self._count(request, reply.status)
        body = b"" if request.method == "HEAD" else reply.body
        headers = [(b"content-type", reply.content_type), (b"content-length", b"%d" % len(reply.body)), *reply.headers]
        headers.append((b"x-request-id", request.request_id.encode()))
        if scope.get("penstock.is_last"):
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def answer(self, request: HttpRequest) -> HttpReply:
        """Answer one request, whichever way its route takes."""
        face = Face.PLAIN
        try:
            found = self._find(request)
            face = found.route.face
            await self._decompress(request)
            route, method = found.route, _method(request)
            if route.translate and method in route.translate:
                translation = route.translate[method](request, found.names)
                return translation.finish(await self._future(request, translation))
            if route.at_once and method in route.at_once:
                return route.at_once[method](request, found.names)
            assert route.later is not None  # noqa: S101 - _find knows the method
            return await route.later[method](request, found.names)
        except Exception as error:  # noqa: BLE001 - as above
            return self._told(error, request, face)

    async def _decompress(self, request: HttpRequest) -> None:
        given = request.fields.pop(b"content-encoding", None)
        if given is None or given.lower() == b"identity":
            return
        if len(request.body) <= encoding.INLINE_BYTES // 8:
            request.body = encoding.decompress(request.body, given, self.limits.body_bytes)
            return
        loop = asyncio.get_running_loop()
        request.body = await loop.run_in_executor(None, encoding.decompress, request.body, given, self.limits.body_bytes)

    # --- both ---------------------------------------------------------------------------------------------------------------------

    def _find(self, request: HttpRequest) -> Found:
        found = self._routes.find(request.path)
        if found is None:
            raise NotFound("no such path; GET /openapi.json lists them", field="path")
        method = _method(request)
        route = found.route
        for ways in (route.translate, route.at_once, route.later):
            if ways is not None and method in ways:
                break
        else:
            raise UnsupportedMedia(f"this path takes {', '.join(route.methods)}", reason="METHOD_NOT_ALLOWED")
        if method not in ("GET", "DELETE"):
            check_media(route.media, request.fields.get(b"content-type"), missing_is_json=self._missing_type_is_json)
        return found

    def _submit(self, request: HttpRequest, plan: Plan, caller: Caller) -> Pending:
        translation = plan.translate(request, plan.names)
        deadline = self._deadline(plan.timeout_seconds, translation)
        return Pending(self._calls.enter(caller, translation.payload, deadline, plan.sender), translation.finish, plan.face)

    def _future(self, request: HttpRequest, translation: Translation) -> asyncio.Future[bytes]:
        deadline = self._deadline(request.timeout_seconds, translation)
        return self._calls.submit(translation.payload, key=request.key, deadline=deadline, trace=request.trace, affinity=request.affinity)

    def _deadline(self, seconds: float | None, translation: Translation) -> float:
        if seconds is None and translation.timeout_seconds is None:
            return NEVER
        budget = min(one for one in (seconds, translation.timeout_seconds) if one is not None)
        return deadline_after(budget, self._clock())

    def _told(self, error: BaseException, request: HttpRequest, face: Face) -> HttpReply:
        found = self._routes.find(request.path) if isinstance(error, UnsupportedMedia) and error.reason == "METHOD_NOT_ALLOWED" else None
        if face is Face.PLAIN:
            face = next((face for prefix, face in _FACES if request.path.startswith(prefix)), face)
        return error_reply(
            as_serving_error(error, request.request_id), face, request.request_id, allow=found.route.methods if found else ()
        )

    def _count(self, request: HttpRequest, status: int) -> None:
        key = (request.method, status)
        self.counts[key] = self.counts.get(key, 0) + 1


def _plan(request: HttpRequest, translate: Translate, names: PathNames, face: Face) -> Plan:
    sender = Sender(request.key, request.trace, request.affinity)
    return Plan(translate=translate, names=names, face=face, sender=sender, timeout_seconds=request.timeout_seconds)


def _method(request: HttpRequest) -> str:
    return "GET" if request.method == "HEAD" else request.method


def _compress(reply: HttpReply, wanted: bytes) -> HttpReply:
    reply.body = encoding.compress(reply.body, wanted)
    reply.headers = (*reply.headers, (b"content-encoding", wanted), (b"vary", b"accept-encoding"))
    return reply


async def _body(receive: Any) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
