"""What a router's dispatch counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class DispatchCounters:
    """What happened, since the start."""

    sent_requests: int = 0
    retried_requests: int = 0
    retries_refused: int = 0
    expired_requests: int = 0
    shed_requests: int = 0
    timed_out_tries: int = 0
    links_lost: int = 0
