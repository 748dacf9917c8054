"""The port between the router and whatever speaks to clients.

A front turns its protocol into calls and hands over everything that arrived since the last look as one `Wave`: columns of equal
length. Requests are OIP `ModelInferRequest` bytes, answers are `ModelInferResponse` bytes; a front that speaks something else
translates once, at its edge. Whoever takes a call answers it exactly once, by `respond_many` or `fail_many`; a call that its
caller left shows up in `cancelled` and may still be answered, to no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from penstock.contracts.errors import ServingError

NO_DEADLINE = float("inf")


class Affinity(NamedTuple):
    """What a caller's headers say about whom a request is for; routes may split by it."""

    user: str | None
    """Header `x-user-id`."""
    session: str | None
    """Header `x-session-affinity`."""


@dataclass(slots=True)
class Wave:
    """The calls that arrived together, as columns; position i of every column is the same call."""

    call_ids: list[int] = field(default_factory=list[int])
    """Numbers that the front chose; unique per front."""
    payloads: list[bytes] = field(default_factory=list[bytes])
    """Serialised ModelInferRequest."""
    keys: list[str | None] = field(default_factory=list["str | None"])
    """API key as sent (`x-api-key`, or the token of `authorization: Bearer`); None when there is none."""
    deadlines: list[float] = field(default_factory=list[float])
    """Absolute monotonic seconds; NO_DEADLINE for none."""
    traces: list[str | None] = field(default_factory=list["str | None"])
    """W3C traceparent; None when there is none."""
    affinities: dict[int, Affinity] = field(default_factory=dict[int, Affinity])
    """By call id, only of calls that bring such headers."""
    cancelled: list[int] = field(default_factory=list[int])
    """Call ids whose callers left; may name calls of this wave or of an earlier one."""
    peer_of: Callable[[int], str | None] | None = None
    """Tells the address that a call came from, by its id; None where keys say it themselves (PresentedKey), or nobody knows."""


class Front(Protocol):
    """What the router needs of a front."""

    def fileno(self) -> int:
        """Return a descriptor that is readable while `recv_wave` has something."""
        ...

    def recv_wave(self, limit: int) -> Wave:
        """Return up to `limit` calls that arrived, and all cancellations; never blocks."""
        ...

    def respond_many(self, call_ids: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Answer calls; ids that are no longer open are ignored."""
        ...

    def fail_many(self, call_ids: Sequence[int], errors: Sequence[ServingError]) -> None:
        """Refuse calls; ids that are no longer open are ignored."""
        ...

    async def drain(self, deadline: float) -> None:
        """Refuse new calls with Draining; return when none is in flight, or at `deadline` (monotonic seconds)."""
        ...
