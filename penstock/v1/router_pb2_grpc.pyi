"""Types of the clients and servicers of penstock/v1/router.proto."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Protocol, TypeVar, overload, type_check_only

import grpc
import grpc.aio

from penstock.v1 import router_pb2

_T = TypeVar("_T")

@type_check_only
class _Context(grpc.ServicerContext, grpc.aio.ServicerContext[Any, Any]): ...  # type: ignore[misc]  # whichever of the two serves

@type_check_only
class _Requests(AsyncIterator[_T], Iterator[_T], Protocol[_T]): ...  # type: ignore[misc]  # the same of streams

class RouterAdminStub:
    @overload
    def __new__(cls, channel: grpc.Channel) -> RouterAdminStub: ...
    @overload
    def __new__(cls, channel: grpc.aio.Channel) -> RouterAdminAsyncStub: ...
    ApplyRoute: grpc.UnaryUnaryMultiCallable[router_pb2.ApplyRouteRequest, router_pb2.ApplyRouteResponse]
    GetRoutes: grpc.UnaryUnaryMultiCallable[router_pb2.GetRoutesRequest, router_pb2.GetRoutesResponse]

@type_check_only
class RouterAdminAsyncStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    ApplyRoute: grpc.aio.UnaryUnaryMultiCallable[router_pb2.ApplyRouteRequest, router_pb2.ApplyRouteResponse]
    GetRoutes: grpc.aio.UnaryUnaryMultiCallable[router_pb2.GetRoutesRequest, router_pb2.GetRoutesResponse]

class RouterAdminServicer:
    def ApplyRoute(self, request: router_pb2.ApplyRouteRequest, context: _Context) -> router_pb2.ApplyRouteResponse | Awaitable[router_pb2.ApplyRouteResponse]: ...
    def GetRoutes(self, request: router_pb2.GetRoutesRequest, context: _Context) -> router_pb2.GetRoutesResponse | Awaitable[router_pb2.GetRoutesResponse]: ...

def add_RouterAdminServicer_to_server(servicer: RouterAdminServicer, server: grpc.Server | grpc.aio.Server) -> None: ...
