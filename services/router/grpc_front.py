"""Chooses what serves gRPC: native for ModelInfer with grpcio behind it, or grpcio alone for TLS and where no native wheel is."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import structlog

from services.chassis.clock import Clock
from services.router.call_buffer import CallBuffer
from services.router.control import Control
from services.router.controller_servicer import ControllerServicer
from services.router.front import Front
from services.router.grpcio_front import GrpcioFront, GrpcioOptions
from services.router.health_servicer import HealthServicer
from services.router.oip_servicer import OipServicer
from services.router.tls_files import TlsFiles

MESSAGE_LIMIT_BYTES = 64 << 20
OPEN_CALLS_LIMIT = 16_384

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
    prefers_native: bool = True
    """False serves everything by grpcio."""
    message_limit_bytes: int = MESSAGE_LIMIT_BYTES
    open_calls_limit: int = OPEN_CALLS_LIMIT
    max_concurrent_streams: int = 1024

    @property
    def is_native(self) -> bool:
        """Whether the native front can serve this: it speaks no TLS, and has no wheel for some machines."""
        return self.prefers_native and self.tls is None and find_spec("pygrpc_native") is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcFace:
    """What serves gRPC now."""

    fronts: tuple[Front, ...]
    """Whose waves the router is to take."""
    port: int

    async def drain(self, deadline: float) -> None:
        """Refuse new calls; return when none is in flight on any front, or at `deadline` (monotonic seconds)."""
        await asyncio.gather(*(front.drain(deadline) for front in self.fronts))


@asynccontextmanager
async def open_grpc(options: GrpcOptions, control: Control, clock: Clock) -> AsyncGenerator[GrpcFace]:
    """Listen while the block lasts.

    Raises:
        OSError: the port cannot be bound, or a certificate cannot be read.
    """
    if not options.is_native:
        async with _grpcio(options, control, clock, target=f"{options.host}:{options.port}") as front:
            log.info("grpc_listening", host=options.host, port=front.port, engine="grpcio", tls=options.tls is not None)
            yield GrpcFace(fronts=(front,), port=front.port)
        return
    # Only where it is used: on some machines there is no wheel to import.
    from services.router.native_front import NativeFront, NativeFrontOptions  # noqa: PLC0415

    with tempfile.TemporaryDirectory(prefix="penstock-grpc-") as folder:
        socket = Path(folder) / "others.sock"
        native = NativeFront(
            NativeFrontOptions(
                host=options.host,
                port=options.port,
                reuse_port=options.reuse_port,
                fallback_path=str(socket),
                message_limit_bytes=options.message_limit_bytes,
                open_calls_limit=options.open_calls_limit,
                max_concurrent_streams=options.max_concurrent_streams,
            )
        )
        async with _grpcio(options, control, clock, target=f"unix:{socket}") as others, native:
            log.info("grpc_listening", host=options.host, port=native.port, engine="pygrpc-native", tls=False)
            yield GrpcFace(fronts=(native, others), port=native.port)


def _grpcio(options: GrpcOptions, control: Control, clock: Clock, *, target: str) -> GrpcioFront:
    buffer = CallBuffer(limit=options.open_calls_limit)
    is_local = target.startswith("unix:")
    return GrpcioFront(
        GrpcioOptions(
            target=target,
            tls=options.tls,
            reuse_port=options.reuse_port and not is_local,
            message_limit_bytes=options.message_limit_bytes,
            max_concurrent_streams=options.max_concurrent_streams,
            # What the native front let in must not be refused for what it adds.
            max_metadata_bytes=16_384 if is_local else 8192,
            # The native front's one connection to the others is nobody's client and stays.
            connection_seconds=None if is_local else 300.0,
            idle_seconds=None if is_local else 300.0,
        ),
        buffer,
        (OipServicer(buffer, control), HealthServicer(control.directory, clock), ControllerServicer(control.controllers)),
        control.tenants,
    )
