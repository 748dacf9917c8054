"""How an error looks on the wire: the codes of both protocols, and the form of a message."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

MESSAGE_LIMIT = 512
"""Longest message, in characters, that leaves the process."""


class GrpcCode(IntEnum):
    """The gRPC status codes that penstock answers with (values of google.rpc.Code)."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How one class of errors looks on the wire."""

    grpc: GrpcCode
    http: int
    is_retryable: bool = False


UNAVAILABLE = Status(grpc=GrpcCode.UNAVAILABLE, http=503, is_retryable=True)
"""The row of everything that may succeed elsewhere or later."""


def clean(message: str) -> str:
    """Cut a message to MESSAGE_LIMIT and escape what could forge log lines."""
    safe = message if message.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    return safe if len(safe) <= MESSAGE_LIMIT else safe[: MESSAGE_LIMIT - 1] + "…"
