"""The controller's service over gRPC: who calls, which method, and how a refusal leaves."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from penstock.contracts.errors import Internal, MalformedBody, ServingError
from penstock.v1 import controller_pb2 as pb
from services.chassis.grpc_status import trailers_of
from services.chassis.presented_keys import PresentedKey, peer_in
from services.chassis.tls_files import TlsFiles, server_credentials
from services.controller.callers import Caller
from services.controller.grpc_peers import GrpcPeers
from services.controller.rights import RIGHTS, Operation, needs_operator

SERVICE = "penstock.v1.Controller"
MESSAGE_LIMIT_BYTES = 16 << 20
STOP_SECONDS = 10.0

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}
_METHODS = {method.name: method for method in pb.DESCRIPTOR.services_by_name["Controller"].methods}

Context = grpc.aio.ServicerContext[Any, Any]

log = structlog.get_logger(__name__)


class Callers(Protocol):
    """Knows who calls."""

    async def of(self, key: str | None, *, writes: bool) -> Caller:
        """Return the caller of a presented key.

        Raises:
            Unauthenticated, TenantForbidden: nobody, or somebody who may not.
        """
        ...


@asynccontextmanager
async def serving_grpc(
    target: str, operations: Mapping[str, Operation], callers: Callers, tls: TlsFiles | None = None
) -> AsyncGenerator[int]:
    """Serve every method of the service at `host:port` and give out the port.

    Raises:
        OSError: the port cannot be bound, or a certificate cannot be read.
        ValueError: a method has no operation, or nobody knows who may call it.
    """
    if missing := _METHODS.keys() - (operations.keys() & RIGHTS.keys()):
        raise ValueError(f"no operation or no right for {', '.join(sorted(missing))}")
    peers = GrpcPeers(tls)
    server = grpc.aio.server(options=(("grpc.max_receive_message_length", MESSAGE_LIMIT_BYTES), ("grpc.so_reuseport", 0)))
    server.add_registered_method_handlers(SERVICE, {name: _method(name, operations[name], callers, peers) for name in _METHODS})
    try:
        port = server.add_insecure_port(target) if tls is None else server.add_secure_port(target, server_credentials(tls))
    except RuntimeError as error:
        message = f"cannot listen on {target}: {error}"
        raise OSError(message) from error
    await server.start()
    try:
        yield port
    finally:
        await server.stop(STOP_SECONDS)


def _method(name: str, operation: Operation, callers: Callers, peers: GrpcPeers) -> Any:
    streams = _METHODS[name].client_streaming
    request_type = getattr(pb, f"{name}Request")

    async def behaviour(request: Any, context: Context) -> bytes:
        arrived_at = time.monotonic()
        try:
            peers.check(context)
            caller = await callers.of(PresentedKey.of(_key(context), peer_in(context.peer())), writes=needs_operator(name))
            caller = caller.arriving(arrived_at)
            answer = await operation(caller, _decoded_stream(request_type, request) if streams else _decoded(request_type, request))
            return answer.SerializeToString()
        except ServingError as error:
            return await _refuse(context, error)
        except Exception:
            log.exception("call_failed", method=name)
            return await _refuse(context, Internal("internal error; the controller's log says more"))

    make: Any = grpc.stream_unary_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
    return make(behaviour)


async def _refuse(context: Context, error: ServingError) -> bytes:
    return await context.abort(_CODES[int(error.status.grpc)], error.message, trailers_of(error))


def _decoded(kind: Any, payload: bytes) -> Any:
    try:
        return kind.FromString(payload)
    except DecodeError:
        raise MalformedBody(f"the {len(payload)} bytes sent are no {kind.DESCRIPTOR.name}") from None


async def _decoded_stream(kind: Any, payloads: AsyncIterator[bytes]) -> AsyncIterator[Any]:
    async for payload in payloads:
        yield _decoded(kind, payload)


def _key(context: Context) -> str | None:
    """Return the key that was presented: `x-api-key`, else a bearer token."""
    found = {name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)}
    if "x-api-key" in found:
        return found["x-api-key"]
    scheme, _, token = found.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None
