"""The identity of a span and the `traceparent` header that carries it. Pure: the caller passes the source of ids.

Source: W3C Trace Context, level 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII)
_SAMPLED = 0x01
UNSAMPLED = f"00-{'f' * 32}-{'f' * 16}-00"
"""The header of a call that is not traced, for those that it makes: no ratio below 1 keeps this id."""


@dataclass(frozen=True, slots=True)
class SpanContext:
    """A span of a sampled trace. An unsampled call has no span, so it has no context either."""

    trace_id: int
    """128 bits, not 0."""
    span_id: int
    """64 bits, not 0."""
    parent_span_id: int | None = None
    """The span that caused this one; None for the first of its trace."""

    @property
    def trace_id_hex(self) -> str:
        """32 hexadecimal digits."""
        return f"{self.trace_id:032x}"

    @property
    def span_id_hex(self) -> str:
        """16 hexadecimal digits."""
        return f"{self.span_id:016x}"

    @property
    def traceparent(self) -> str:
        """The header that makes what follows a child of this span."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"

    def child(self, ids: Random) -> SpanContext:
        """Return a new span caused by this one."""
        return SpanContext(self.trace_id, new_span_id(ids), self.span_id)


@dataclass(frozen=True, slots=True)
class Parent:
    """What a valid `traceparent` says."""

    trace_id: int
    span_id: int
    is_sampled: bool

    def child(self, ids: Random) -> SpanContext:
        """Return a new span caused by the caller's."""
        return SpanContext(self.trace_id, new_span_id(ids), self.span_id)


def parse_traceparent(header: str | None) -> Parent | None:
    """Return the caller's span; None when there is no header or it is not valid, which starts a new trace.

    A later version's header is read by its first four fields; version ff and ids of zeros are not valid.
    """
    match = _HEADER.fullmatch(header) if header else None
    if match is None or match[1] == "ff" or (match[1] == "00" and match[5] is not None):
        return None
    trace_id, span_id = int(match[2], 16), int(match[3], 16)
    if trace_id == 0 or span_id == 0:
        return None
    return Parent(trace_id, span_id, bool(int(match[4], 16) & _SAMPLED))


def new_span_id(ids: Random) -> int:
    """Return 64 random bits, not all 0."""
    return ids.getrandbits(64) or 1


def new_trace_id(ids: Random) -> int:
    """Return 128 random bits, not all 0."""
    return ids.getrandbits(128) or 1
