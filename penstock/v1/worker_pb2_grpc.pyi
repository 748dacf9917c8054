"""Types of the clients and servicers of penstock/v1/worker.proto."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Protocol, TypeVar, overload, type_check_only

import grpc
import grpc.aio

from penstock.v1 import worker_pb2

_T = TypeVar("_T")

@type_check_only
class _Context(grpc.ServicerContext, grpc.aio.ServicerContext[Any, Any]): ...  # type: ignore[misc]  # whichever of the two serves

@type_check_only
class _Requests(AsyncIterator[_T], Iterator[_T], Protocol[_T]): ...  # type: ignore[misc]  # the same of streams

class WorkerControlStub:
    @overload
    def __new__(cls, channel: grpc.Channel) -> WorkerControlStub: ...
    @overload
    def __new__(cls, channel: grpc.aio.Channel) -> WorkerControlAsyncStub: ...
    LoadModel: grpc.UnaryUnaryMultiCallable[worker_pb2.LoadModelRequest, worker_pb2.LoadModelResponse]
    UnloadModel: grpc.UnaryUnaryMultiCallable[worker_pb2.UnloadModelRequest, worker_pb2.UnloadModelResponse]
    ListReplicas: grpc.UnaryUnaryMultiCallable[worker_pb2.ListReplicasRequest, worker_pb2.ListReplicasResponse]
    WatchReplicas: grpc.UnaryStreamMultiCallable[worker_pb2.WatchReplicasRequest, worker_pb2.WatchReplicasResponse]
    GetStatistics: grpc.UnaryUnaryMultiCallable[worker_pb2.GetStatisticsRequest, worker_pb2.GetStatisticsResponse]

@type_check_only
class WorkerControlAsyncStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    LoadModel: grpc.aio.UnaryUnaryMultiCallable[worker_pb2.LoadModelRequest, worker_pb2.LoadModelResponse]
    UnloadModel: grpc.aio.UnaryUnaryMultiCallable[worker_pb2.UnloadModelRequest, worker_pb2.UnloadModelResponse]
    ListReplicas: grpc.aio.UnaryUnaryMultiCallable[worker_pb2.ListReplicasRequest, worker_pb2.ListReplicasResponse]
    WatchReplicas: grpc.aio.UnaryStreamMultiCallable[worker_pb2.WatchReplicasRequest, worker_pb2.WatchReplicasResponse]
    GetStatistics: grpc.aio.UnaryUnaryMultiCallable[worker_pb2.GetStatisticsRequest, worker_pb2.GetStatisticsResponse]

class WorkerControlServicer:
    def LoadModel(self, request: worker_pb2.LoadModelRequest, context: _Context) -> worker_pb2.LoadModelResponse | Awaitable[worker_pb2.LoadModelResponse]: ...
    def UnloadModel(self, request: worker_pb2.UnloadModelRequest, context: _Context) -> worker_pb2.UnloadModelResponse | Awaitable[worker_pb2.UnloadModelResponse]: ...
    def ListReplicas(self, request: worker_pb2.ListReplicasRequest, context: _Context) -> worker_pb2.ListReplicasResponse | Awaitable[worker_pb2.ListReplicasResponse]: ...
    def WatchReplicas(self, request: worker_pb2.WatchReplicasRequest, context: _Context) -> Iterator[worker_pb2.WatchReplicasResponse] | AsyncIterator[worker_pb2.WatchReplicasResponse]: ...
    def GetStatistics(self, request: worker_pb2.GetStatisticsRequest, context: _Context) -> worker_pb2.GetStatisticsResponse | Awaitable[worker_pb2.GetStatisticsResponse]: ...

def add_WorkerControlServicer_to_server(servicer: WorkerControlServicer, server: grpc.Server | grpc.aio.Server) -> None: ...
