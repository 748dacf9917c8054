"""Between grpcio and every servicer: errors become statuses, and what only administrators may call is kept from others.

grpcio alone would send a stranger's exception, with type and text, to the client. Here a ServingError leaves with its status and
trailers; anything else is logged with its trace and leaves as INTERNAL with nothing but a request id to ask about.
"""

from __future__ import annotations

import inspect
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio
import structlog

from penstock.contracts.errors import Internal, ServingError
from services.chassis.grpc_status import trailers_of
from services.chassis.presented_keys import PresentedKey
from services.router.grpc_metadata import first_value, peer_of, read_metadata
from services.router.tenants import Tenants

Context = grpc.aio.ServicerContext[Any, Any]
MethodHandler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"  # text: the class takes parameters in its stubs only
Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]

log = structlog.get_logger(__name__)

_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


async def refuse(context: Context, error: ServingError) -> None:
    """End a call with an error's status; always raises grpcio's own AbortError."""
    await context.abort(_CODES[int(error.status.grpc)], error.message, trailers_of(error))


class ErrorTranslation(grpc.aio.ServerInterceptor):
    """Translates what servicers raise; the first of a server's interceptors, so that it sees those of the others as well."""

    def __init__(self) -> None:
        """Start without known methods."""
        self._translated: dict[str, tuple[MethodHandler, MethodHandler]] = {}

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> MethodHandler | None:
        """Return the method with its errors translated; None where there is no such method."""
        inner = await continuation(handler_call_details)
        if inner is None:
            return None
        method = handler_call_details.method
        known = self._translated.get(method)
        if known is None or known[0] is not inner:
            known = self._translated[method] = (inner, _translated(inner, method))
        return known[1]


class AdministratorsOnly(grpc.aio.ServerInterceptor):
    """Keeps methods from callers who may not change the system; open servers let everybody in."""

    def __init__(self, tenants: Tenants, prefix: str) -> None:
        """Guard the methods whose path starts with `prefix`."""
        self._tenants = tenants
        self._prefix = prefix

    async def intercept_service(self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails) -> MethodHandler | None:
        """Return the method, or one that refuses."""
        inner = await continuation(handler_call_details)
        if inner is None or not handler_call_details.method.startswith(self._prefix):
            return inner
        try:
            metadata = tuple(handler_call_details.invocation_metadata)
            self._tenants.admin(PresentedKey.of(read_metadata(metadata)[0], peer_of(metadata, "")))
        except ServingError as error:
            return _refusing(inner, error)
        return inner


def _translated(inner: MethodHandler, method: str) -> MethodHandler:
    behaviour = _behaviour(inner)

    async def unary(request: Any, context: Context) -> Any:
        async with _translating(context, method):
            return await behaviour(request, context)

    async def stream(request: Any, context: Context) -> None:
        async with _translating(context, method):
            if not inspect.isasyncgenfunction(behaviour):
                await behaviour(request, context)
                return
            async for response in behaviour(request, context):
                await context.write(response)

    return _like(inner, stream if inner.response_streaming else unary)


def _refusing(inner: MethodHandler, error: ServingError) -> MethodHandler:
    async def behaviour(_request: Any, context: Context) -> None:
        await refuse(context, error)

    return _like(inner, behaviour)


@asynccontextmanager
async def _translating(context: Context, method: str) -> AsyncGenerator[None]:
    try:
        yield
    except grpc.aio.AbortError:
        raise
    except ServingError as error:
        await refuse(context, error)
    except Exception as error:
        # The caller left while an answer was written: the core refuses to write before the call knows that it is done.
        if context.done() or isinstance(error, grpc.aio.InternalError):
            log.info("grpc_caller_left", method=method)
            return
        request_id = _request_id(context)
        log.exception("grpc_call_failed", method=method, request_id=request_id)
        await refuse(context, Internal(f"internal error (request id {request_id})"))


def _request_id(context: Context) -> str:
    sent = first_value(context.invocation_metadata() or (), "x-request-id")
    return sent[:64] if sent and sent.isprintable() else uuid.uuid4().hex


def _behaviour(inner: MethodHandler) -> Callable[[Any, Context], Any]:
    found: Any = inner.unary_unary or inner.unary_stream or inner.stream_unary or inner.stream_stream
    return found


def _like(inner: MethodHandler, behaviour: Callable[[Any, Context], Any]) -> MethodHandler:
    make: Any = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }[inner.request_streaming, inner.response_streaming]
    return make(behaviour, inner.request_deserializer, inner.response_serializer)
