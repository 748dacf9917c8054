"""What penstock reads from a call's metadata, for every gRPC front alike."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from penstock.contracts.errors import InvalidInput
from services.chassis.presented_keys import peer_in
from services.router.front import Affinity

REQUEST_ID_LIMIT = 256
"""Longest `x-request-id`, in characters."""

WATCHED = ("authorization", "traceparent", "x-api-key", "x-request-id", "x-session-affinity", "x-user-id")
"""Names that are read."""

PEER_NAME = f"x-penstock-peer-{secrets.token_hex(8)}"
"""Metadata in which our own front tells the server behind it where a call comes from; nobody else knows the name."""

_READ = frozenset(WATCHED)


def read_metadata(metadata: Iterable[tuple[str, str | bytes]]) -> tuple[str | None, str | None, Affinity | None]:
    """Return the API key as sent, the `traceparent`, and whom the call is for.

    Of repeated names the first counts, and `x-api-key` before a bearer token.

    Raises:
        InvalidInput: `x-request-id` is too long, or holds what could forge a log line.
    """
    key: str | None = None
    bearer: str | None = None
    trace: str | None = None
    user: str | None = None
    session: str | None = None
    for name, value in metadata:
        if name in _READ and isinstance(value, str):
            if name == "x-api-key":
                key = value if key is None else key
            elif name == "traceparent":
                trace = value if trace is None else trace
            elif name == "authorization":
                bearer = _token(value) if bearer is None else bearer
            elif name == "x-request-id":
                _check_request_id(value)
            elif name == "x-user-id":
                user = value if user is None else user
            else:
                session = value if session is None else session
    affinity = None if user is None and session is None else Affinity(user, session)
    return (bearer if key is None else key), trace, affinity


def first_value(metadata: Iterable[tuple[str, str | bytes]], name: str) -> str | None:
    """Return the first value of a name; None when it was not sent."""
    return next((value for key, value in metadata if key == name and isinstance(value, str)), None)


def peer_of(metadata: Iterable[tuple[str, str | bytes]], target: str) -> str | None:
    """Return the address that a call came from; None where nobody knows.

    Args:
        metadata: of the call; our own front in front of this server says it there.
        target: the other end as grpcio calls it.
    """
    return peer_in(target) or first_value(metadata, PEER_NAME)


def _token(authorization: str) -> str | None:
    scheme, _, token = authorization.partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def _check_request_id(value: str) -> None:
    if len(value) > REQUEST_ID_LIMIT or not value.isprintable():
        raise InvalidInput(
            f"x-request-id must be at most {REQUEST_ID_LIMIT} printable characters, got {len(value)}", reason="BAD_ID", field="x-request-id"
        )
