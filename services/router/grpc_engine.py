"""Which of the engines of gRPC serves here."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from enum import StrEnum


class Engine(StrEnum):
    """What serves ModelInfer over gRPC."""

    AUTO = "auto"
    """The first of the others that can."""
    COLUMNS = "penstock-front"
    """Our own extension, native/front."""
    PYGRPC = "pygrpc-native"
    GRPCIO = "grpcio"


class CannotServe(Exception):
    """The engine that was asked for cannot serve this."""


def engine_for(asked: Engine, installed: AbstractSet[Engine], *, is_tls: bool) -> Engine:
    """Pure: return the engine that serves.

    Raises:
        CannotServe: one is asked for that is not installed, or speaks no TLS.
    """
    able = [engine for engine in (Engine.COLUMNS, Engine.PYGRPC) if engine in installed and not (is_tls and engine is Engine.PYGRPC)]
    able.append(Engine.GRPCIO)
    if asked is Engine.AUTO:
        return able[0]
    if asked in able:
        return asked
    why = "speaks no TLS" if asked in installed else "is not installed"
    raise CannotServe(f"grpc_engine is {asked.value}, which {why}: choose one of {', '.join(able)}, or auto")
