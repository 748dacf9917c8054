"""Chooses what serves gRPC: an engine for ModelInfer with grpcio behind it, or grpcio alone."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import structlog

from services.chassis.clock import Clock
from services.chassis.key_files import check_key
from services.chassis.tls_files import TlsFiles
from services.router.call_buffer import CallBuffer
from services.router.column_front import MODULE, ColumnFront, ColumnFrontOptions
from services.router.config import RouterSettings
from services.router.control import Control
from services.router.controller_servicer import ControllerServicer
from services.router.front import Front
from services.router.front_metrics import Counted
from services.router.grpc_engine import CannotServe, Engine, engine_for
from services.router.grpcio_front import GrpcioFront, GrpcioOptions
from services.router.health_servicer import HealthServicer
from services.router.oip_servicer import OipServicer

MESSAGE_LIMIT_BYTES = 64 << 20
OPEN_CALLS_LIMIT = 16_384
MODULES = {Engine.COLUMNS: MODULE, Engine.PYGRPC: "pygrpc_native"}
"""Extensions that may be missing."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcOptions:
    """How gRPC is served."""

    host: str = "127.0.0.1"
    port: int = 8001
    """0 takes a free port."""
    reuse_port: bool = False
    """Share the port with other router processes (SO_REUSEPORT)."""
    tls: TlsFiles | None = None
    """Key and certificates; None serves in the clear."""
    engine: Engine = Engine.AUTO
    """What serves ModelInfer."""
    message_limit_bytes: int = MESSAGE_LIMIT_BYTES
    open_calls_limit: int = OPEN_CALLS_LIMIT
    max_concurrent_streams: int = 1024
    connection_seconds: float = 300.0
    """Age at which a connection is asked to go, where the engine can."""
    is_reflected: bool = True
    """Whether callers are told which services and messages there are."""

    @property
    def chosen(self) -> Engine:
        """The engine that serves this here.

        Raises:
            CannotServe: one is asked for that is not installed, or speaks no TLS.
        """
        installed = {engine for engine, module in MODULES.items() if find_spec(module) is not None}
        return engine_for(self.engine, installed, is_tls=self.tls is not None)


def grpc_options(settings: RouterSettings, tls: TlsFiles | None) -> GrpcOptions:
    """Return what a router's settings ask for."""
    return GrpcOptions(
        host=settings.host,
        port=settings.grpc_port,
        reuse_port=settings.reuse_port,
        tls=tls,
        engine=settings.grpc_engine,
        message_limit_bytes=settings.message_limit_bytes,
        connection_seconds=settings.grpc_connection_seconds,
        is_reflected=settings.is_reflected,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcFace:
    """What serves gRPC now."""

    fronts: tuple[Front, ...]
    """Whose waves the router is to take."""
    port: int
    counted: Counted | None = None
    """What the front counts by itself, by event."""

    async def drain(self, deadline: float) -> None:
        """Refuse new calls; return when none is in flight on any front, or at `deadline` (monotonic seconds)."""
        await asyncio.gather(*(front.drain(deadline) for front in self.fronts))


class ListeningFront(Front, Protocol):
    """A front with a port of its own."""

    @property
    def port(self) -> int:
        """Where it listens."""
        ...


@asynccontextmanager
async def open_grpc(options: GrpcOptions, control: Control, clock: Clock) -> AsyncGenerator[GrpcFace]:
    """Listen while the block lasts.

    Raises:
        OSError: the port cannot be bound, a certificate cannot be read, or the engine asked for is not there.
        KeyExposed: others may read the key; one that is exposed later leaves the one before in force.
    """
    if options.tls is not None:
        check_key(options.tls.private_key)
    try:
        engine = options.chosen
    except CannotServe as error:
        raise OSError(str(error)) from error
    if engine is Engine.GRPCIO:
        async with _grpcio(options, control, clock, target=f"{options.host}:{options.port}") as front:
            _say(options, engine, front.port)
            yield GrpcFace(fronts=(front,), port=front.port)
        return
    with tempfile.TemporaryDirectory(prefix="penstock-grpc-") as folder:
        socket = Path(folder) / "others.sock"
        async with _grpcio(options, control, clock, target=f"unix:{socket}") as others, _in_front(options, engine, socket) as front:
            _say(options, engine, front.port)
            counted = front.counters if isinstance(front, ColumnFront) else None
            yield GrpcFace(fronts=(front, others), port=front.port, counted=counted)


def _say(options: GrpcOptions, engine: Engine, port: int) -> None:
    log.info("grpc_listening", host=options.host, port=port, engine=engine.value, tls=options.tls is not None)


def _in_front(options: GrpcOptions, engine: Engine, others: Path) -> AbstractAsyncContextManager[ListeningFront]:
    if engine is Engine.COLUMNS:
        return ColumnFront(
            ColumnFrontOptions(
                host=options.host,
                port=options.port,
                reuse_port=options.reuse_port,
                tls=options.tls,
                fallback_path=str(others),
                message_limit_bytes=options.message_limit_bytes,
                open_calls_limit=options.open_calls_limit,
                max_concurrent_streams=options.max_concurrent_streams,
                connection_seconds=options.connection_seconds,
            )
        )
    # Only where it is used: on some machines there is no wheel to import.
    from services.router.native_front import NativeFront, NativeFrontOptions  # noqa: PLC0415

    return NativeFront(
        NativeFrontOptions(
            host=options.host,
            port=options.port,
            reuse_port=options.reuse_port,
            fallback_path=str(others),
            message_limit_bytes=options.message_limit_bytes,
            open_calls_limit=options.open_calls_limit,
            max_concurrent_streams=options.max_concurrent_streams,
        )
    )


def _grpcio(options: GrpcOptions, control: Control, clock: Clock, *, target: str) -> GrpcioFront:
    buffer = CallBuffer(limit=options.open_calls_limit)
    is_local = target.startswith("unix:")
    return GrpcioFront(
        GrpcioOptions(
            target=target,
            tls=None if is_local else options.tls,
            reuse_port=options.reuse_port and not is_local,
            message_limit_bytes=options.message_limit_bytes,
            max_concurrent_streams=options.max_concurrent_streams,
            # What the front let in must not be refused for what it adds.
            max_metadata_bytes=16_384 if is_local else 8192,
            # The front's one connection to the others is nobody's client and stays.
            connection_seconds=None if is_local else options.connection_seconds or None,
            idle_seconds=None if is_local else 300.0,
            is_reflected=options.is_reflected,
        ),
        buffer,
        (OipServicer(buffer, control), HealthServicer(control.directory, clock), ControllerServicer(control.controllers)),
        control.tenants,
    )
