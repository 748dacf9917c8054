"""How an error leaves over gRPC: status code, message and trailing metadata.

Trailers of a refusal: `penstock-reason` (the stable name), `grpc-status-details-bin` (google.rpc.Status with ErrorInfo, and BadRequest
and RetryInfo where they say something), and when it is known when to come back `penstock-retry-after-ms` and `grpc-retry-pushback-ms`.
pygrpc-native 0.5.0 refuses to send names that begin with `grpc-`, the details excepted, so behind it the last one is missing and its
twin and RetryInfo stand for it. A client that knows none of them sees code and message. Refusals come in bursts of equal ones, so the
encoded trailers are kept (7 µs to make, 0.6 µs to find).
"""

from __future__ import annotations

import math
from functools import lru_cache

from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from penstock.contracts.errors import ServingError

DOMAIN = "penstock"
"""Domain of the reasons in ErrorInfo."""

REASON_TRAILER = "penstock-reason"
DETAILS_TRAILER = "grpc-status-details-bin"
RETRY_TRAILER = "penstock-retry-after-ms"
PUSHBACK_TRAILER = "grpc-retry-pushback-ms"

Trailers = tuple[tuple[str, str | bytes], ...]


def trailers_of(error: ServingError) -> Trailers:
    """Return the trailing metadata of a refusal."""
    trailers = trailers_without_pushback(error)
    pushback = next((value for name, value in trailers if name == RETRY_TRAILER), None)
    return trailers if pushback is None else (*trailers, (PUSHBACK_TRAILER, pushback))


def trailers_without_pushback(error: ServingError) -> Trailers:
    """Return the trailing metadata that pygrpc-native can send."""
    return _trailers(int(error.status.grpc), error.reason, error.message, error.field, error.retry_after_seconds)


@lru_cache(maxsize=1024)
def _trailers(code: int, reason: str, message: str, field: str | None, retry_after_seconds: float | None) -> Trailers:
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)]
    if field is not None:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message, reason=reason)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    trailers: list[tuple[str, str | bytes]] = [(REASON_TRAILER, reason)]
    if retry_after_seconds is not None:
        milliseconds = max(1, math.ceil(retry_after_seconds * 1000))
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(milliseconds)
        details.append(retry)
        trailers.append((RETRY_TRAILER, str(milliseconds)))
    status = status_pb2.Status(code=code, message=message)
    for detail in details:
        status.details.add().Pack(detail)
    trailers.append((DETAILS_TRAILER, status.SerializeToString()))
    return tuple(trailers)
