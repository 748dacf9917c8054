"""gRPC failures to the error tree; the reason travels in the trailer `penstock-reason`, so no text is ever parsed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc

from penstock.contracts.errors import (
    CallerLeft,
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotFound,
    NotImplementedHere,
    RequestTooLarge,
    ServingError,
    TenantForbidden,
    Unauthenticated,
    Unavailable,
    error_from,
)

REASON = "penstock-reason"
PUSHBACK = ("grpc-retry-pushback-ms", "penstock-retry-after-ms")
"""When to come back; a native front cannot send trailers whose names begin with `grpc-`, so there is a second name."""

BY_CODE: dict[grpc.StatusCode, type[ServingError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: TenantForbidden,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.RESOURCE_EXHAUSTED: RequestTooLarge,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.CANCELLED: CallerLeft,
    grpc.StatusCode.UNIMPLEMENTED: NotImplementedHere,
}
"""For servers and proxies that send no reason."""


def error_of(failure: grpc.RpcError) -> ServingError:
    """Return what a failed call means."""
    call: Any = failure
    trailers = _trailers(call.trailing_metadata())
    text = call.details() or ""
    reason = trailers.get(REASON)
    if reason is not None:
        return error_from(reason, text, retry_after_seconds=_seconds(trailers))
    return BY_CODE.get(call.code(), Internal)(text or str(call.code()), retry_after_seconds=_seconds(trailers))


def closed() -> ServingError:
    """Return what becomes of calls of a client that was closed."""
    return CallerLeft("this client is closed: open another one")


def _trailers(metadata: Iterable[tuple[str, str | bytes]] | None) -> dict[str, str]:
    return {key: value for key, value in metadata or () if isinstance(value, str)}


def _seconds(trailers: dict[str, str]) -> float | None:
    told = [trailers[name] for name in PUSHBACK if trailers.get(name, "").isdecimal()]
    return int(told[0]) / 1000 if told else None
