"""Types of the clients and servicers of penstock/oip/v2/inference.proto."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Protocol, TypeVar, overload, type_check_only

import grpc
import grpc.aio

from penstock.oip.v2 import inference_pb2

_T = TypeVar("_T")

@type_check_only
class _Context(grpc.ServicerContext, grpc.aio.ServicerContext[Any, Any]): ...  # type: ignore[misc]  # whichever of the two serves

@type_check_only
class _Requests(AsyncIterator[_T], Iterator[_T], Protocol[_T]): ...  # type: ignore[misc]  # the same of streams

class GRPCInferenceServiceStub:
    @overload
    def __new__(cls, channel: grpc.Channel) -> GRPCInferenceServiceStub: ...
    @overload
    def __new__(cls, channel: grpc.aio.Channel) -> GRPCInferenceServiceAsyncStub: ...
    ServerLive: grpc.UnaryUnaryMultiCallable[inference_pb2.ServerLiveRequest, inference_pb2.ServerLiveResponse]
    ServerReady: grpc.UnaryUnaryMultiCallable[inference_pb2.ServerReadyRequest, inference_pb2.ServerReadyResponse]
    ModelReady: grpc.UnaryUnaryMultiCallable[inference_pb2.ModelReadyRequest, inference_pb2.ModelReadyResponse]
    ServerMetadata: grpc.UnaryUnaryMultiCallable[inference_pb2.ServerMetadataRequest, inference_pb2.ServerMetadataResponse]
    ModelMetadata: grpc.UnaryUnaryMultiCallable[inference_pb2.ModelMetadataRequest, inference_pb2.ModelMetadataResponse]
    ModelInfer: grpc.UnaryUnaryMultiCallable[inference_pb2.ModelInferRequest, inference_pb2.ModelInferResponse]
    ModelStreamInfer: grpc.StreamStreamMultiCallable[inference_pb2.ModelInferRequest, inference_pb2.ModelStreamInferResponse]
    ModelConfig: grpc.UnaryUnaryMultiCallable[inference_pb2.ModelConfigRequest, inference_pb2.ModelConfigResponse]
    ModelStatistics: grpc.UnaryUnaryMultiCallable[inference_pb2.ModelStatisticsRequest, inference_pb2.ModelStatisticsResponse]
    RepositoryIndex: grpc.UnaryUnaryMultiCallable[inference_pb2.RepositoryIndexRequest, inference_pb2.RepositoryIndexResponse]
    RepositoryModelLoad: grpc.UnaryUnaryMultiCallable[inference_pb2.RepositoryModelLoadRequest, inference_pb2.RepositoryModelLoadResponse]
    RepositoryModelUnload: grpc.UnaryUnaryMultiCallable[inference_pb2.RepositoryModelUnloadRequest, inference_pb2.RepositoryModelUnloadResponse]
    SystemSharedMemoryStatus: grpc.UnaryUnaryMultiCallable[inference_pb2.SystemSharedMemoryStatusRequest, inference_pb2.SystemSharedMemoryStatusResponse]
    SystemSharedMemoryRegister: grpc.UnaryUnaryMultiCallable[inference_pb2.SystemSharedMemoryRegisterRequest, inference_pb2.SystemSharedMemoryRegisterResponse]
    SystemSharedMemoryUnregister: grpc.UnaryUnaryMultiCallable[inference_pb2.SystemSharedMemoryUnregisterRequest, inference_pb2.SystemSharedMemoryUnregisterResponse]
    CudaSharedMemoryStatus: grpc.UnaryUnaryMultiCallable[inference_pb2.CudaSharedMemoryStatusRequest, inference_pb2.CudaSharedMemoryStatusResponse]
    CudaSharedMemoryRegister: grpc.UnaryUnaryMultiCallable[inference_pb2.CudaSharedMemoryRegisterRequest, inference_pb2.CudaSharedMemoryRegisterResponse]
    CudaSharedMemoryUnregister: grpc.UnaryUnaryMultiCallable[inference_pb2.CudaSharedMemoryUnregisterRequest, inference_pb2.CudaSharedMemoryUnregisterResponse]
    TraceSetting: grpc.UnaryUnaryMultiCallable[inference_pb2.TraceSettingRequest, inference_pb2.TraceSettingResponse]
    LogSettings: grpc.UnaryUnaryMultiCallable[inference_pb2.LogSettingsRequest, inference_pb2.LogSettingsResponse]

@type_check_only
class GRPCInferenceServiceAsyncStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    ServerLive: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.ServerLiveRequest, inference_pb2.ServerLiveResponse]
    ServerReady: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.ServerReadyRequest, inference_pb2.ServerReadyResponse]
    ModelReady: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.ModelReadyRequest, inference_pb2.ModelReadyResponse]
    ServerMetadata: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.ServerMetadataRequest, inference_pb2.ServerMetadataResponse]
    ModelMetadata: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.ModelMetadataRequest, inference_pb2.ModelMetadataResponse]
    ModelInfer: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.ModelInferRequest, inference_pb2.ModelInferResponse]
    ModelStreamInfer: grpc.aio.StreamStreamMultiCallable[inference_pb2.ModelInferRequest, inference_pb2.ModelStreamInferResponse]
    ModelConfig: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.ModelConfigRequest, inference_pb2.ModelConfigResponse]
    ModelStatistics: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.ModelStatisticsRequest, inference_pb2.ModelStatisticsResponse]
    RepositoryIndex: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.RepositoryIndexRequest, inference_pb2.RepositoryIndexResponse]
    RepositoryModelLoad: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.RepositoryModelLoadRequest, inference_pb2.RepositoryModelLoadResponse]
    RepositoryModelUnload: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.RepositoryModelUnloadRequest, inference_pb2.RepositoryModelUnloadResponse]
    SystemSharedMemoryStatus: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.SystemSharedMemoryStatusRequest, inference_pb2.SystemSharedMemoryStatusResponse]
    SystemSharedMemoryRegister: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.SystemSharedMemoryRegisterRequest, inference_pb2.SystemSharedMemoryRegisterResponse]
    SystemSharedMemoryUnregister: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.SystemSharedMemoryUnregisterRequest, inference_pb2.SystemSharedMemoryUnregisterResponse]
    CudaSharedMemoryStatus: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.CudaSharedMemoryStatusRequest, inference_pb2.CudaSharedMemoryStatusResponse]
    CudaSharedMemoryRegister: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.CudaSharedMemoryRegisterRequest, inference_pb2.CudaSharedMemoryRegisterResponse]
    CudaSharedMemoryUnregister: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.CudaSharedMemoryUnregisterRequest, inference_pb2.CudaSharedMemoryUnregisterResponse]
    TraceSetting: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.TraceSettingRequest, inference_pb2.TraceSettingResponse]
    LogSettings: grpc.aio.UnaryUnaryMultiCallable[inference_pb2.LogSettingsRequest, inference_pb2.LogSettingsResponse]

class GRPCInferenceServiceServicer:
    def ServerLive(self, request: inference_pb2.ServerLiveRequest, context: _Context) -> inference_pb2.ServerLiveResponse | Awaitable[inference_pb2.ServerLiveResponse]: ...
    def ServerReady(self, request: inference_pb2.ServerReadyRequest, context: _Context) -> inference_pb2.ServerReadyResponse | Awaitable[inference_pb2.ServerReadyResponse]: ...
    def ModelReady(self, request: inference_pb2.ModelReadyRequest, context: _Context) -> inference_pb2.ModelReadyResponse | Awaitable[inference_pb2.ModelReadyResponse]: ...
    def ServerMetadata(self, request: inference_pb2.ServerMetadataRequest, context: _Context) -> inference_pb2.ServerMetadataResponse | Awaitable[inference_pb2.ServerMetadataResponse]: ...
    def ModelMetadata(self, request: inference_pb2.ModelMetadataRequest, context: _Context) -> inference_pb2.ModelMetadataResponse | Awaitable[inference_pb2.ModelMetadataResponse]: ...
    def ModelInfer(self, request: inference_pb2.ModelInferRequest, context: _Context) -> inference_pb2.ModelInferResponse | Awaitable[inference_pb2.ModelInferResponse]: ...
    def ModelStreamInfer(self, request_iterator: _Requests[inference_pb2.ModelInferRequest], context: _Context) -> Iterator[inference_pb2.ModelStreamInferResponse] | AsyncIterator[inference_pb2.ModelStreamInferResponse]: ...
    def ModelConfig(self, request: inference_pb2.ModelConfigRequest, context: _Context) -> inference_pb2.ModelConfigResponse | Awaitable[inference_pb2.ModelConfigResponse]: ...
    def ModelStatistics(self, request: inference_pb2.ModelStatisticsRequest, context: _Context) -> inference_pb2.ModelStatisticsResponse | Awaitable[inference_pb2.ModelStatisticsResponse]: ...
    def RepositoryIndex(self, request: inference_pb2.RepositoryIndexRequest, context: _Context) -> inference_pb2.RepositoryIndexResponse | Awaitable[inference_pb2.RepositoryIndexResponse]: ...
    def RepositoryModelLoad(self, request: inference_pb2.RepositoryModelLoadRequest, context: _Context) -> inference_pb2.RepositoryModelLoadResponse | Awaitable[inference_pb2.RepositoryModelLoadResponse]: ...
    def RepositoryModelUnload(self, request: inference_pb2.RepositoryModelUnloadRequest, context: _Context) -> inference_pb2.RepositoryModelUnloadResponse | Awaitable[inference_pb2.RepositoryModelUnloadResponse]: ...
    def SystemSharedMemoryStatus(self, request: inference_pb2.SystemSharedMemoryStatusRequest, context: _Context) -> inference_pb2.SystemSharedMemoryStatusResponse | Awaitable[inference_pb2.SystemSharedMemoryStatusResponse]: ...
    def SystemSharedMemoryRegister(self, request: inference_pb2.SystemSharedMemoryRegisterRequest, context: _Context) -> inference_pb2.SystemSharedMemoryRegisterResponse | Awaitable[inference_pb2.SystemSharedMemoryRegisterResponse]: ...
    def SystemSharedMemoryUnregister(self, request: inference_pb2.SystemSharedMemoryUnregisterRequest, context: _Context) -> inference_pb2.SystemSharedMemoryUnregisterResponse | Awaitable[inference_pb2.SystemSharedMemoryUnregisterResponse]: ...
    def CudaSharedMemoryStatus(self, request: inference_pb2.CudaSharedMemoryStatusRequest, context: _Context) -> inference_pb2.CudaSharedMemoryStatusResponse | Awaitable[inference_pb2.CudaSharedMemoryStatusResponse]: ...
    def CudaSharedMemoryRegister(self, request: inference_pb2.CudaSharedMemoryRegisterRequest, context: _Context) -> inference_pb2.CudaSharedMemoryRegisterResponse | Awaitable[inference_pb2.CudaSharedMemoryRegisterResponse]: ...
    def CudaSharedMemoryUnregister(self, request: inference_pb2.CudaSharedMemoryUnregisterRequest, context: _Context) -> inference_pb2.CudaSharedMemoryUnregisterResponse | Awaitable[inference_pb2.CudaSharedMemoryUnregisterResponse]: ...
    def TraceSetting(self, request: inference_pb2.TraceSettingRequest, context: _Context) -> inference_pb2.TraceSettingResponse | Awaitable[inference_pb2.TraceSettingResponse]: ...
    def LogSettings(self, request: inference_pb2.LogSettingsRequest, context: _Context) -> inference_pb2.LogSettingsResponse | Awaitable[inference_pb2.LogSettingsResponse]: ...

def add_GRPCInferenceServiceServicer_to_server(servicer: GRPCInferenceServiceServicer, server: grpc.Server | grpc.aio.Server) -> None: ...
