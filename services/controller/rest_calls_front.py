"""From an HTTP request to an operation of the controller's service: who calls, under which conditions, and how a refusal looks."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from penstock.contracts.errors import (
    Internal,
    InvalidInput,
    InvalidSpec,
    MalformedBody,
    NotFound,
    RevisionConflict,
    ServingError,
    UnsupportedMedia,
)
from penstock.contracts.status import clean
from penstock.v1 import controller_pb2 as pb
from services.chassis.presented_keys import PresentedKey
from services.controller.documents import to_document
from services.controller.grpc_front import Callers
from services.controller.rights import Operation, needs_operator

PROBLEM = "application/problem+json"

METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
MOST_PROBLEMS = 100
"""Problems of a specification that are told one by one."""
STATUS_BY_REASON = {METHOD_NOT_ALLOWED: 405, "UPLOAD_CORRUPT": 422}
"""HTTP knows these apart; the status table, which gRPC shares, does not."""

_REFUSAL: dict[str, Any] = {
    "description": "A refusal: problem details (RFC 9457) with a stable reason.",
    "content": {
        PROBLEM: {
            "schema": {
                "type": "object",
                "required": ["type", "title", "status", "detail", "reason"],
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                    "reason": {"type": "string"},
                    "field": {"type": "string"},
                    "conflict": {"type": "object"},
                    "problems": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"pointer": {"type": "string"}, "problem": {"type": "string"}}},
                    },
                },
            }
        }
    },
}
REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": _REFUSAL, "5XX": _REFUSAL}
"""How every path refuses, for the document."""

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
        caller = await self._callers.of(key_of(http), writes=needs_operator(name))
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
    peer = http.client.host if http.client is not None else None
    given = http.headers.get("x-api-key")
    if given is not None:
        return PresentedKey.of(given, peer)
    scheme, _, token = http.headers.get("authorization", "").partition(" ")
    return PresentedKey.of(token.strip() or None, peer) if scheme.lower() == "bearer" else None


def answered(document: Any, *, status: int = 200, revision: int = 0) -> Response:
    """Return a document, with its revision as the entity tag."""
    return JSONResponse(document, status, headers={"etag": f'"{revision}"'} if revision else None)


def refuse_typed(app: FastAPI) -> None:
    """Let every refusal leave as problem details (RFC 9457) with its reason."""

    async def typed(_: Request, error: Any) -> Response:
        return problem(error)

    async def invalid(_: Request, error: Any) -> Response:
        return problem(_unfit(error.errors()))

    async def framework(_: Request, error: Any) -> Response:
        # What was said while the body came is wrapped by whoever read it.
        cause = error.__cause__ if isinstance(error.__cause__, ServingError) else _in_our_words(error)
        refusal = problem(cause)
        refusal.headers.update(error.headers or {})
        return refusal

    async def foreign(request: Request, error: Any) -> Response:
        log.error("call_failed", path=request.url.path, exc_info=error)
        return problem(Internal("internal error; the controller's log says more"))

    app.add_exception_handler(ServingError, typed)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(Exception, foreign)


def problem(error: ServingError) -> Response:
    """Return a refusal."""
    status = STATUS_BY_REASON.get(error.reason, error.status.http)
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
    if isinstance(error, InvalidSpec):
        problems = cast("Sequence[tuple[str, str]]", error.details or ())
        document["problems"] = [{"pointer": clean(pointer), "problem": clean(what)} for pointer, what in problems[:MOST_PROBLEMS]]
    headers = {"penstock-reason": error.reason, "x-should-retry": "true" if error.status.is_retryable else "false"}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after_seconds))
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="penstock"'
    return JSONResponse(document, status, media_type=PROBLEM, headers=headers)


def _unfit(errors: Sequence[Mapping[str, Any]]) -> ServingError:
    """Return the refusal of what a path does not take: all of a body's problems by JSON pointer, or a word of query or path."""
    problems = [("".join(f"/{_escaped(str(part))}" for part in one["loc"][1:]), one["msg"]) for one in errors if one["loc"][0] == "body"]
    if problems:
        listed = "; ".join(f"{pointer or 'the body'}: {what}" for pointer, what in problems)
        return InvalidSpec(f"the body is refused: {listed}", details=problems, field=problems[0][0] or "body")
    listed = "; ".join(f"{one['loc'][0]} {one['loc'][-1]}: {one['msg']}" for one in errors)
    return InvalidInput(listed, field=str(errors[0]["loc"][-1]) if errors else None)


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _in_our_words(error: HTTPException) -> ServingError:
    """Return what the framework refuses by itself."""
    if error.status_code == 404:
        return NotFound("there is no such path; /api/v1/openapi.json names all")
    if error.status_code == 405:
        return UnsupportedMedia("this path does not take this method", reason=METHOD_NOT_ALLOWED)
    return MalformedBody(f"the HTTP request cannot be answered: {error.detail}")


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
