"""How an error looks over HTTP: status from the one table, body by the face that was spoken to, and when to come back.

Every refusal says whether a retry helps: `x-should-retry`, and for what passes (quota, overload, a lost worker) `Retry-After` in
seconds and `retry-after-ms`. A foreign exception answers "internal error" with the request id; its text stays here, in the log.
"""

from __future__ import annotations

import math
from typing import Any

import structlog

from penstock.contracts.errors import (
    CallerLeft,
    Internal,
    NotFound,
    Overloaded,
    QuotaExceeded,
    RequestTooLarge,
    ServingError,
    Unauthenticated,
    Unavailable,
)
from services.router.http_exchange import Face, HttpReply
from services.router.oip_answer import as_json

STATUS_BY_REASON = {"METHOD_NOT_ALLOWED": 405, "REQUEST_TIMEOUT": 408, "URI_TOO_LONG": 414, "EXPECTATION": 417, "HEADERS_TOO_LARGE": 431}
"""HTTP knows these apart; the status table, which gRPC shares, does not."""
DEFAULT_RETRY_SECONDS = 0.1
HINTS = {
    "MODEL_NOT_FOUND": "GET /v2/models lists the models",
    "VERSION_NOT_FOUND": "GET /v2/models/{model} lists the versions that are ready",
    "UNAUTHENTICATED": "send the header x-api-key, or authorization: Bearer",
    "MEDIA_TYPE": "send the header content-type: application/json",
    "MISSING_INPUT": "GET /v2/models/{model} describes the inputs",
    "UNKNOWN_INPUT": "GET /v2/models/{model} describes the inputs",
    "SHAPE_MISMATCH": "GET /v2/models/{model} describes the inputs",
    "DTYPE_MISMATCH": "GET /v2/models/{model} describes the inputs",
}
_PROBLEM = b"application/problem+json"
_OPENAI_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error", 404: "invalid_request_error"}
_NO_RETRY = ((b"x-should-retry", b"false"),)
_CHALLENGE = ((b"www-authenticate", b'Bearer realm="penstock"'), (b"x-should-retry", b"false"))

log = structlog.get_logger(__name__)


def http_status(error: ServingError) -> int:
    """Return the HTTP status of an error."""
    return STATUS_BY_REASON.get(error.reason) or error.status.http


def as_serving_error(error: BaseException, request_id: str) -> ServingError:
    """Return the error that the caller is told; a foreign one is logged and becomes Internal."""
    if isinstance(error, ServingError):
        if isinstance(error, Internal):
            log.error("request_failed", request_id=request_id, reason=error.reason, message=error.message)
        return error
    log.error("internal_error", request_id=request_id, exc_info=error)
    return Internal(f"internal error; request id {request_id}")


def error_reply(error: ServingError, face: Face, request_id: str, *, allow: tuple[str, ...] = ()) -> HttpReply:
    """Return the reply that tells an error.

    Args:
        error: what went wrong.
        face: whose words to use.
        request_id: goes into the body.
        allow: the methods that are served, for 405.
    """
    status = http_status(error)
    headers = _retry_headers(error)
    if allow:
        headers = (*headers, (b"allow", ", ".join(allow).encode()))
    if face is Face.OPENAI:
        return HttpReply(status, as_json({"error": _openai(error, status), "request_id": request_id}), headers=headers)
    if face is Face.NATIVE:
        return HttpReply(status, as_json(_problem(error, status, request_id)), _PROBLEM, headers)
    document: dict[str, Any] = {"error": error.message, "reason": error.reason, "request_id": request_id}
    return HttpReply(status, as_json(document), headers=headers)


def _retry_headers(error: ServingError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, Unauthenticated):
        return _CHALLENGE
    if not error.status.is_retryable:
        return _NO_RETRY
    seconds = DEFAULT_RETRY_SECONDS if error.retry_after_seconds is None else error.retry_after_seconds
    milliseconds = max(1, math.ceil(seconds * 1000))
    return (
        (b"retry-after", b"%d" % max(1, math.ceil(seconds))),
        (b"retry-after-ms", b"%d" % milliseconds),
        (b"x-should-retry", b"true"),
    )


def _openai(error: ServingError, status: int) -> dict[str, Any]:
    if isinstance(error, QuotaExceeded):
        kind, code = "rate_limit_error", "rate_limit_exceeded"
    elif isinstance(error, Overloaded | Unavailable):
        kind, code = "server_error", error.reason.lower()
    else:
        kind = _OPENAI_TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
        code = "invalid_api_key" if isinstance(error, Unauthenticated) else error.reason.lower()
    return {"message": error.message, "type": kind, "param": "model" if error.field == "model_name" else error.field, "code": code}


def _problem(error: ServingError, status: int, request_id: str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": _title(error),
        "status": status,
        "detail": error.message,
        "reason": error.reason,
        "request_id": request_id,
    }
    if error.field is not None:
        document["field"] = error.field
    hint = HINTS.get(error.reason)
    if hint is not None:
        document["hint"] = hint
    if error.retry_after_seconds is not None:
        document["retry_after_seconds"] = error.retry_after_seconds
    return document


def _title(error: ServingError) -> str:
    for kind, title in _TITLES:
        if isinstance(error, kind):
            return title
    return "Bad request" if error.status.http < 500 else "Internal error"


_TITLES: tuple[tuple[type[ServingError], str], ...] = (
    (Unauthenticated, "Not authenticated"),
    (NotFound, "Not found"),
    (RequestTooLarge, "Too large"),
    (QuotaExceeded, "Quota exceeded"),
    (Unavailable, "Not available now"),
    (CallerLeft, "The caller left"),
)
