"""The gRPC front on grpcio: every method that a native front does not serve, and all of them where there is no native front to use.

It is a grpc.aio server whose inference methods submit to a CallBuffer of its own; the front port is that buffer's. A drain refuses new
inferences with UNAVAILABLE (DRAINING) until none is in flight, and only then stops the server: a grpc.aio server that is stopped under
load sends GOAWAY but ends the calls that it has not looked at yet with CANCELLED, which no client retries (30 to 60 of 64 in a probe).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import grpc
import grpc.aio
from grpc_reflection.v1alpha import reflection, reflection_pb2

from penstock.contracts.errors import NotImplementedHere, ServingError
from penstock.contracts.oip_reflection import REFLECTED_SERVICES, MethodFinder, reflection_pool
from services.chassis.tls_files import TlsFiles, server_credentials
from services.router.call_buffer import CallBuffer
from services.router.front import Wave
from services.router.grpc_errors import AdministratorsOnly, ErrorTranslation, MethodHandler
from services.router.grpc_logs import silence_callers
from services.router.grpc_service import Service
from services.router.tenants import Tenants

MESSAGE_LIMIT_BYTES = 64 << 20
REFLECTION_SERVICES = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")
"""Two names of one protocol; newer clients ask for the second first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcioOptions:
    """Where the server listens and what it accepts."""

    target: str
    """`host:port` (port 0 takes a free one) or `unix:<path>`."""
    tls: TlsFiles | None = None
    reuse_port: bool = False
    message_limit_bytes: int = MESSAGE_LIMIT_BYTES
    open_calls_limit: int = 16_384
    max_concurrent_streams: int = 1024
    max_metadata_bytes: int = 8192
    keepalive_seconds: float = 60.0
    connection_seconds: float | None = 300.0
    """Age at which a connection is asked to go, so that clients spread again; calls on it may take 600 s more. None: never."""
    idle_seconds: float | None = 300.0
    """Time without calls after which a connection is closed; None: never."""
    is_reflected: bool = True
    """Whether callers are told which services and messages there are."""

    def channel_options(self) -> list[tuple[str, Any]]:
        """Return grpcio's names of it all."""
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", self.message_limit_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", int(self.reuse_port)),
            ("grpc.max_concurrent_streams", self.max_concurrent_streams),
            # Calls that wait to be looked at: beyond 1,000 grpcio ends some, beyond 3,000 all, with CANCELLED, which no client retries. One
            # flood of calls that are reset again would so end the calls of others.
            ("grpc.server.max_pending_requests", self.open_calls_limit),
            ("grpc.server.max_pending_requests_hard_limit", self.open_calls_limit),
            # One limit: between two, grpcio refuses by chance.
            ("grpc.max_metadata_size", self.max_metadata_bytes),
            ("grpc.absolute_max_metadata_size", self.max_metadata_bytes),
            ("grpc.keepalive_time_ms", int(self.keepalive_seconds * 1000)),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ]
        if self.connection_seconds is not None:
            options.append(("grpc.max_connection_age_ms", int(self.connection_seconds * 1000)))
            options.append(("grpc.max_connection_age_grace_ms", 600_000))
        if self.idle_seconds is not None:
            options.append(("grpc.max_connection_idle_ms", int(self.idle_seconds * 1000)))
        return options


class GrpcioFront:
    """A front port over one grpc.aio server; enter it to listen, leave it to close."""

    def __init__(self, options: GrpcioOptions, buffer: CallBuffer, services: Sequence[Service], tenants: Tenants) -> None:
        """Keep the collaborators; the services submit to `buffer`, which becomes this front's own."""
        self._options = options
        self._buffer = buffer
        self._services = services
        self._tenants = tenants
        self._server: grpc.aio.Server
        self._port = 0

    @property
    def port(self) -> int:
        """The port it listens on; valid once entered."""
        return self._port

    @property
    def in_flight(self) -> int:
        """Inference calls whose callers still wait."""
        return self._buffer.in_flight

    async def __aenter__(self) -> Self:
        """Listen.

        Raises:
            OSError: the address cannot be bound, or a certificate cannot be read.
        """
        silence_callers()
        interceptors = (ErrorTranslation(), AdministratorsOnly(self._tenants, "/grpc.reflection."))
        self._server = grpc.aio.server(interceptors=interceptors, options=self._options.channel_options())
        for service in self._services:
            self._server.add_registered_method_handlers(service.name, service.methods())
        reflected = _reflection_methods() if self._options.is_reflected else _no_reflection_methods()
        for name in REFLECTION_SERVICES:
            self._server.add_registered_method_handlers(name, reflected)
        self._port = self._bind()
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close at once; what is in flight is cancelled. Drain first."""
        await self._server.stop(0)
        self._buffer.close()

    def fileno(self) -> int:
        """Return a descriptor that is readable while `recv_wave` has something."""
        return self._buffer.fileno()

    def recv_wave(self, limit: int) -> Wave:
        """Return up to `limit` calls that arrived, and all cancellations; never blocks."""
        return self._buffer.recv_wave(limit)

    def respond_many(self, call_ids: Sequence[int], payloads: Sequence[bytes]) -> None:
        """Answer calls; ids that are no longer open are ignored."""
        self._buffer.respond_many(call_ids, payloads)

    def fail_many(self, call_ids: Sequence[int], errors: Sequence[ServingError]) -> None:
        """Refuse calls; ids that are no longer open are ignored."""
        self._buffer.fail_many(call_ids, errors)

    async def drain(self, deadline: float) -> None:
        """Take no new calls and end the streams; return when none is in flight, or at `deadline` (monotonic seconds)."""
        for service in self._services:
            service.begin_drain()
        await self._buffer.drain(deadline)
        await self._server.stop(max(0.0, deadline - time.monotonic()))

    def _bind(self) -> int:
        options = self._options
        try:
            if options.tls is not None:
                return self._server.add_secure_port(options.target, server_credentials(options.tls))
            return self._server.add_insecure_port(options.target)
        except RuntimeError as error:
            message = f"cannot listen on {options.target}: {error}"
            raise OSError(message) from error


def _reflection_methods() -> Mapping[str, MethodHandler]:
    services = (*REFLECTED_SERVICES, *REFLECTION_SERVICES[:1])
    own: Any = reflection_pb2.DESCRIPTOR  # its stubs name protobuf's C type, everybody else the public one
    servicer = reflection.aio.ReflectionServicer(services, pool=MethodFinder(reflection_pool(also=[own])))
    return _as_methods(servicer.ServerReflectionInfo)


def _no_reflection_methods() -> Mapping[str, MethodHandler]:
    async def refuse(_requests: Any, _context: Any) -> None:
        raise NotImplementedHere(
            "this server does not tell its services where other machines reach it: use the protocol's .proto files, "
            'or set grpc_reflection = "on" for routers',
            field="grpc_reflection",
        )

    return _as_methods(refuse)


def _as_methods(behaviour: Any) -> Mapping[str, MethodHandler]:
    make: Any = grpc.stream_stream_rpc_method_handler
    serve = make(
        behaviour,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    return {"ServerReflectionInfo": serve}
