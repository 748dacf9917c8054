"""Keeps answers of models that allow it, so that the same question is computed once.

Pure: the caller passes `now`. Keys are 128-bit hashes over tenant scope, model, version, artefact digest, template and tensors
(xxh3-128; the field's 64-bit keys collide in practice, and a collision here would be somebody else's answer). Entries live for a
time and are dropped least recently used first when their bytes exceed the limit. Identical questions that arrive while the first
one is under way wait for it (single flight); when it fails, each of them is told so, and when its caller leaves, the first waiter
takes its place.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Waiting(Protocol):
    """What the cache must know of a waiting caller."""

    @property
    def deadline(self) -> float:
        """Absolute monotonic seconds."""
        ...


W = TypeVar("W", bound=Waiting)
OVERHEAD_BYTES = 200
"""What an entry costs beside its answer."""


@dataclass(slots=True)
class CacheCounters:
    """What happened, since the start."""

    hits: int = 0
    misses: int = 0
    evictions: int = 0
    hit_seconds: float = 0.0
    miss_seconds: float = 0.0


@dataclass(slots=True)
class Flight(Generic[W]):
    """A question that is being answered, and who else waits for it."""

    waiters: list[W] = field(default_factory=list[W])


class ResultCache(Generic[W]):
    """Answers by key, bounded in bytes and time. `W` is whatever identifies a waiting caller."""

    def __init__(self, *, limit_bytes: int = 256 * 1024 * 1024, ttl_seconds: float = 60.0) -> None:
        """Start empty."""
        self.counters = CacheCounters()
        self.used_bytes = 0
        self._limit_bytes = limit_bytes
        self.ttl_seconds = ttl_seconds
        """Life of an answer whose model names none."""
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self._flights: dict[bytes, Flight[W]] = {}

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._entries)

    def get(self, key: bytes, now: float, *, keeps: bool = False) -> bytes | None:
        """Return a living answer; with `keeps` a dead one stays for `stale`."""
        entry = self._entries.get(key)
        if entry is None:
            self.counters.misses += 1
            return None
        expires_at, answer = entry
        if expires_at <= now:
            if not keeps:
                self._drop(key)
            self.counters.misses += 1
            return None
        self._entries.move_to_end(key)
        self.counters.hits += 1
        return answer

    def stale(self, key: bytes) -> bytes | None:
        """Return the last answer, however old."""
        entry = self._entries.get(key)
        return None if entry is None else entry[1]

    def join(self, key: bytes, waiter: W) -> bool:
        """Wait for a question under way; False when there is none: the caller is to answer it and has opened its flight."""
        flight = self._flights.get(key)
        if flight is None:
            self._flights[key] = Flight()
            return False
        flight.waiters.append(waiter)
        return True

    def land(self, key: bytes, answer: bytes, now: float, *, ttl_seconds: float = 0.0) -> list[W]:
        """Keep an answer and return who waited for it."""
        flight = self._flights.pop(key, None)
        size = len(answer) + OVERHEAD_BYTES
        if size <= self._limit_bytes:
            if key in self._entries:
                self._drop(key)
            self._entries[key] = (now + (ttl_seconds or self.ttl_seconds), answer)
            self.used_bytes += size
            while self.used_bytes > self._limit_bytes:
                self._drop(next(iter(self._entries)))
                self.counters.evictions += 1
        return flight.waiters if flight is not None else []

    def abandon(self, key: bytes) -> list[W]:
        """End a flight without an answer and return who waited for it."""
        flight = self._flights.pop(key, None)
        return flight.waiters if flight is not None else []

    def leave(self, key: bytes, waiter: W) -> bool:
        """Take a waiter out of a flight; False when it does not wait there."""
        flight = self._flights.get(key)
        if flight is None or waiter not in flight.waiters:
            return False
        flight.waiters.remove(waiter)
        return True

    def expire(self, now: float) -> list[W]:
        """Take out and return the waiters whose deadline has passed."""
        expired: list[W] = []
        for flight in self._flights.values():
            if flight.waiters:
                late = [waiter for waiter in flight.waiters if waiter.deadline <= now]
                if late:
                    flight.waiters = [waiter for waiter in flight.waiters if waiter.deadline > now]
                    expired += late
        return expired

    def promote(self, key: bytes, can_ask: Callable[[W], bool] | None = None) -> W | None:
        """Take out the waiter who waited longest, of those who can, to take the place of a caller who left; None when nobody can."""
        flight = self._flights.get(key)
        if flight is None:
            return None
        found = next((waiter for waiter in flight.waiters if can_ask is None or can_ask(waiter)), None)
        if found is not None:
            flight.waiters.remove(found)
        return found

    def _drop(self, key: bytes) -> None:
        _, answer = self._entries.pop(key)
        self.used_bytes -= len(answer) + OVERHEAD_BYTES
