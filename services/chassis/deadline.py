"""Absolute deadlines and the `grpc-timeout` header. Pure: the caller passes `now`.

A deadline is a point of the monotonic clock in seconds, shared by all processes of a machine; NEVER means that the caller waits for
ever. A budget that is 0 or negative gives a deadline that has passed already, so that such a call is refused before it costs anything.
"""

from __future__ import annotations

import math
import re

from penstock.contracts.errors import InvalidInput

NEVER = math.inf
"""The deadline of a call that has none."""

LONGEST_SECONDS = 60.0
"""Longest budget of a unary call; more is cut to this."""

_UNIT_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_HEADER = re.compile(r"(-?\d{1,8})([HMSmun])", re.ASCII)
_MOST_UNITS = 99_999_999


def deadline_after(seconds: float | None, now: float, *, longest_seconds: float = LONGEST_SECONDS) -> float:
    """Return the instant at which a budget of `seconds` ends.

    Args:
        seconds: the caller's budget; None when it named none.
        now: monotonic seconds.
        longest_seconds: the limit that longer budgets are cut to.

    Returns:
        NEVER without a budget; `now` for a budget of 0, less, or NaN; else at most `now + longest_seconds`.
    """
    if seconds is None:
        return NEVER
    if not seconds > 0:
        return now
    return now + min(seconds, longest_seconds)


def remaining(deadline: float, now: float) -> float:
    """Return the seconds that are left, 0 when it has passed, infinity for NEVER."""
    return max(deadline - now, 0.0)


def has_passed(deadline: float, now: float) -> bool:
    """Say whether nobody waits for the answer any more."""
    return now >= deadline


def parse_grpc_timeout(header: str) -> float:
    """Return the seconds of a `grpc-timeout` header such as `250m`.

    Units are H, M, S, m (milli), u (micro) and n (nano) seconds. A negative number is read, because callers whose deadline has just
    passed send it: it expires at once.

    Raises:
        InvalidInput: not one to eight digits followed by a unit.
    """
    match = _HEADER.fullmatch(header)
    if match is None:
        message = f"grpc-timeout {header[:20]!r} is not valid: send 1 to 8 digits and a unit of H, M, S, m, u or n, for example 250m"
        raise InvalidInput(message, reason="BAD_HEADER", field="grpc-timeout")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def format_grpc_timeout(seconds: float) -> str:
    """Return the header for a finite budget, in the finest unit that fits eight digits, rounded down.

    Rounded down, so that a hop never waits longer than the one before it; a budget below a nanosecond, or negative, is `0n`.
    """
    for unit, size in reversed(_UNIT_SECONDS.items()):
        units = math.floor(max(seconds, 0.0) / size)
        if units <= _MOST_UNITS:
            return f"{units}{unit}"
    return f"{_MOST_UNITS}H"
