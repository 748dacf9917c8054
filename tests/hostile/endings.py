"""How a call of raw frames ends, and what each engine of gRPC owes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from services.router.grpc_engine import Engine
from tests.hostile import http2
from tests.hostile.http2 import Wire

OK, DEADLINE_EXCEEDED, EXHAUSTED, UNIMPLEMENTED, INTERNAL, INVALID, UNAVAILABLE = 0, 4, 8, 12, 13, 3, 14
CLOSED = "closed"
OPEN = "open"
Ending = int | str
ROUNDS = 3
"""In one of these memory must not grow: an allocator may still be filling its arenas in the first, a leak goes on."""


def ending(wire: Wire, *, seconds: float = 2.0) -> Ending:
    """Wait for how stream 1 ends: its grpc-status, CLOSED with the connection, or OPEN."""
    wire.until(lambda: wire.status() is not None or wire.count(http2.GOAWAY), seconds=seconds)
    status = wire.status()
    return status if status is not None else CLOSED if wire.is_closed or wire.count(http2.GOAWAY) else OPEN


Act = TypeVar("Act")


@dataclass(frozen=True)
class Case(Generic[Act]):
    """Something hostile, and how each engine has to end it."""

    name: str
    act: Act
    native: Ending
    grpcio: Ending
    columns: Ending | None = None
    """Where penstock-front differs from pygrpc-native."""

    def owed(self, engine: Engine) -> Ending:
        """Return the ending of an engine; where nothing else is said, penstock-front's is pygrpc-native's."""
        if engine is Engine.GRPCIO:
            return self.grpcio
        return self.native if engine is not Engine.COLUMNS or self.columns is None else self.columns
