"""Bounds the bodies that all connections of a process hold together: each is within its own limit, their sum is not."""

from __future__ import annotations


class BodyBudget:
    """Counts bytes against one limit. What is taken is given back exactly once, by whoever took it."""

    __slots__ = ("_limit", "held_bytes")

    def __init__(self, limit_bytes: int) -> None:
        """Start with nothing held."""
        self.held_bytes = 0
        self._limit = limit_bytes

    def take(self, size: int) -> bool:
        """Count bytes as held; False, and nothing is counted, when they are too many."""
        if self.held_bytes + size > self._limit:
            return False
        self.held_bytes += size
        return True

    def give(self, size: int) -> None:
        """Count bytes as free again."""
        self.held_bytes -= size
