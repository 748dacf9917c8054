"""What `penstock serve` says first. (What it says later needs numpy; this must not wait for it.)."""

from __future__ import annotations

import sys
from contextlib import suppress


def opening(repository: str, workers: int, routers: int) -> str:
    """Return the first line: nothing embedded passes for the whole mesh."""
    processes = f"{_count(routers, 'router')} and {_count(workers, 'worker')}"
    missing = "no Kafka, no Temporal, no Redis, no controller"
    return f"EMBEDDED: one machine, {missing}; {processes} over the folder {repository}, online calls only\n"


def say(text: str) -> None:
    """Tell a person; a reader that is gone does not matter."""
    with suppress(OSError, ValueError):
        sys.stdout.write(text)
        sys.stdout.flush()


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
