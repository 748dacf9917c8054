"""The controller's HTTP API on the router's port: every request is passed on, and so is the answer."""

from __future__ import annotations

from typing import Any

from services.router.controller_link import ControllerLink
from services.router.http_exchange import Face, HttpReply, HttpRequest, PathNames
from services.router.http_routes import Media, Route

PATHS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("/api/v1/models", ("GET",)),
    ("/api/v1/models/{model}", ("GET",)),
    ("/api/v1/models/{model}/versions", ("GET", "POST")),
    ("/api/v1/models/{model}/versions/{version}", ("GET",)),
    ("/api/v1/models/{model}/versions/{version}/verification", ("POST",)),
    ("/api/v1/models/{model}/aliases/{alias}", ("PUT", "DELETE")),
    ("/api/v1/blobs/{sha256}", ("GET", "PUT")),
    ("/api/v1/deployments", ("GET", "POST")),
    ("/api/v1/deployments/{id}", ("GET", "PATCH", "DELETE")),
    ("/api/v1/deployments/{model}/traffic", ("GET", "PUT")),
    ("/api/v1/deployments/{model}/rollback", ("POST",)),
    ("/api/v1/deployments/{model}/route", ("GET", "PATCH")),
    ("/api/v1/deployments/{model}/pins/{tenant}", ("PUT", "DELETE")),
    ("/api/v1/deployments/{model}/shadow", ("PUT", "DELETE")),
    ("/api/v1/rollback", ("POST",)),
    ("/api/v1/placement", ("GET",)),
    ("/api/v1/tenants", ("GET",)),
    ("/api/v1/tenants/{tenant}", ("PUT",)),
    ("/api/v1/tenants/{tenant}/keys", ("POST",)),
    ("/api/v1/tenants/{tenant}/keys/{key}", ("DELETE",)),
    ("/api/v1/audit", ("GET",)),
    ("/api/v1/changes", ("GET",)),
    ("/api/v1/apply", ("POST",)),
    ("/api/v1/republish", ("POST",)),
    ("/api/v1/freeze", ("PUT",)),
    ("/api/v1/mesh", ("GET",)),
    ("/api/v1/openapi.json", ("GET",)),
)
"""Paths of the controller, and their methods."""

SENT = (b"content-type", b"x-api-key", b"authorization", b"traceparent", b"x-request-id", b"if-match", b"idempotency-key", b"content-range")
"""Headers that the controller gets to see."""

RETURNED = ("etag", "location", "retry-after", "retry-after-ms", "x-should-retry", "www-authenticate", "range", "penstock-reason")
"""Headers of its answers that the caller gets to see."""


class ControllerRoutes:
    """Answers the controller's paths by whoever leads."""

    def __init__(self, link: ControllerLink) -> None:
        """Keep the way to the controllers."""
        self._link = link

    def routes(self) -> list[Route]:
        """Return all paths."""
        return [self._route(path, methods) for path, methods in PATHS]

    def _route(self, path: str, methods: tuple[str, ...]) -> Route:
        ways: dict[str, Any] = dict.fromkeys(methods, self._pass_on)
        # What the body may be is the controller's to say: files are sent as they are.
        return Route(path=path, face=Face.NATIVE, media=Media.ANY, later=ways)

    async def _pass_on(self, request: HttpRequest, _names: PathNames) -> HttpReply:
        query = f"?{request.query.decode('latin-1')}" if request.query else ""
        fields = {name.decode(): request.fields[name].decode("latin-1") for name in SENT if name in request.fields}
        method = "GET" if request.method == "HEAD" else request.method
        answer = await self._link.http(method, request.path.decode("ascii") + query, fields, request.body)
        headers = tuple((name.encode(), answer.fields[name].encode("latin-1")) for name in RETURNED if name in answer.fields)
        kind = answer.fields.get("content-type", "application/json").encode("latin-1")
        return HttpReply(answer.status, answer.body, kind, headers)
