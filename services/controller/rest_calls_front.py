"""From an HTTP request to an operation of the controller's service: who calls, under which conditions, and how a refusal looks."""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from penstock.contracts.errors import Internal, InvalidInput, RevisionConflict, ServingError
from penstock.v1 import controller_pb2 as pb
from services.controller.documents import to_document
from services.controller.grpc_front import READS, Callers, Operation

PROBLEM = "application/problem+json"

log = structlog.get_logger(__name__)


class Calls:
    """Calls operations for HTTP requests."""

    def __init__(self, operations: Mapping[str, Operation], callers: Callers) -> None:
        """Keep the operations by method name, and who knows the callers."""
        self._operations = operations
        self._callers = callers

    async def call(self, name: str, http: Request, request: Any) -> Any:
        """Call an operation in the name of whoever sent the HTTP request.

        Raises:
            ServingError: what it is refused for.
        """
        arrived_at = time.monotonic()
        caller = await self._callers.of(key_of(http), writes=name not in READS)
        return await self._operations[name](caller.arriving(arrived_at), request)


def write_options(http: Request, reason: str = "") -> pb.WriteOptions:
    """Return what headers and query say about a write: `Idempotency-Key`, `If-Match: "revision"`, `?dry_run=true`.

    Raises:
        InvalidInput: one of them says nothing that is understood.
    """
    return pb.WriteOptions(
        idempotency_key=http.headers.get("idempotency-key", ""),
        expected_revision=_revision(http.headers.get("if-match")),
        dry_run=_flag(http.query_params.get("dry_run", "")),
        reason=reason,
    )


def key_of(http: Request) -> str | None:
    """Return the key that was presented: `x-api-key`, else a bearer token."""
    given = http.headers.get("x-api-key")
    if given is not None:
        return given
    scheme, _, token = http.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def answered(document: Any, *, status: int = 200, revision: int = 0) -> Response:
    """Return a document, with its revision as the entity tag."""
    return JSONResponse(document, status, headers={"etag": f'"{revision}"'} if revision else None)


def refuse_typed(app: FastAPI) -> None:
    """Let every refusal leave as problem details (RFC 9457) with its reason."""

    async def typed(_: Request, error: Any) -> Response:
        return problem(error)

    async def invalid(_: Request, error: Any) -> Response:
        places = [f"{'.'.join(str(part) for part in one['loc'][1:]) or 'body'}: {one['msg']}" for one in error.errors()]
        reason = "BAD_JSON" if any(one["type"] == "json_invalid" for one in error.errors()) else None
        return problem(InvalidInput("; ".join(places[:10]), reason=reason, field=places[0].partition(":")[0]))

    async def framework(_: Request, error: Any) -> Response:
        refusal: dict[str, Any] = {"type": "about:blank", "title": error.detail, "status": error.status_code, "detail": error.detail}
        return JSONResponse(refusal, error.status_code, media_type=PROBLEM, headers=error.headers)

    async def foreign(request: Request, error: Any) -> Response:
        log.error("call_failed", path=request.url.path, exc_info=error)
        return problem(Internal("internal error; the controller's log says more"))

    app.add_exception_handler(ServingError, typed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(Exception, foreign)


def problem(error: ServingError) -> Response:
    """Return a refusal."""
    status = error.status.http
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": error.reason.replace("_", " ").capitalize(),
        "status": status,
        "detail": error.message,
        "reason": error.reason,
    }
    if error.field is not None:
        document["field"] = error.field
    if isinstance(error, RevisionConflict):
        document["conflict"] = to_document(error.details)
    headers = {"penstock-reason": error.reason, "x-should-retry": "true" if error.status.is_retryable else "false"}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after_seconds))
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="penstock"'
    return JSONResponse(document, status, media_type=PROBLEM, headers=headers)


Answer = Callable[..., Awaitable[Response]]


def _revision(tag: str | None) -> int:
    if tag is None or tag == "*":
        return 0
    text = tag.removeprefix("W/").strip('"')
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        raise InvalidInput(f'If-Match {tag[:40]!r} is no revision: send the ETag of what you have read, for example "3"', field="if-match")
    return int(text)


def _flag(text: str) -> bool:
    if text.lower() not in ("", "0", "1", "true", "false"):
        raise InvalidInput(f"dry_run={text[:20]!r} is neither true nor false", field="dry_run")
    return text.lower() in ("1", "true")
