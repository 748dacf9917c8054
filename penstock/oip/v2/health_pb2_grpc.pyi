"""Types of the clients and servicers of penstock/oip/v2/health.proto."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Protocol, TypeVar, overload, type_check_only

import grpc
import grpc.aio

from penstock.oip.v2 import health_pb2

_T = TypeVar("_T")

@type_check_only
class _Context(grpc.ServicerContext, grpc.aio.ServicerContext[Any, Any]): ...  # type: ignore[misc]  # whichever of the two serves

@type_check_only
class _Requests(AsyncIterator[_T], Iterator[_T], Protocol[_T]): ...  # type: ignore[misc]  # the same of streams

class HealthStub:
    @overload
    def __new__(cls, channel: grpc.Channel) -> HealthStub: ...
    @overload
    def __new__(cls, channel: grpc.aio.Channel) -> HealthAsyncStub: ...
    Check: grpc.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
    List: grpc.UnaryUnaryMultiCallable[health_pb2.HealthListRequest, health_pb2.HealthListResponse]
    Watch: grpc.UnaryStreamMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]

@type_check_only
class HealthAsyncStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    Check: grpc.aio.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]
    List: grpc.aio.UnaryUnaryMultiCallable[health_pb2.HealthListRequest, health_pb2.HealthListResponse]
    Watch: grpc.aio.UnaryStreamMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]

class HealthServicer:
    def Check(self, request: health_pb2.HealthCheckRequest, context: _Context) -> health_pb2.HealthCheckResponse | Awaitable[health_pb2.HealthCheckResponse]: ...
    def List(self, request: health_pb2.HealthListRequest, context: _Context) -> health_pb2.HealthListResponse | Awaitable[health_pb2.HealthListResponse]: ...
    def Watch(self, request: health_pb2.HealthCheckRequest, context: _Context) -> Iterator[health_pb2.HealthCheckResponse] | AsyncIterator[health_pb2.HealthCheckResponse]: ...

def add_HealthServicer_to_server(servicer: HealthServicer, server: grpc.Server | grpc.aio.Server) -> None: ...
