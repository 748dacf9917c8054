"""Types of the clients and servicers of penstock/v1/controller.proto."""

from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, Protocol, TypeVar, overload, type_check_only

import grpc
import grpc.aio

from penstock.v1 import controller_pb2

_T = TypeVar("_T")

@type_check_only
class _Context(grpc.ServicerContext, grpc.aio.ServicerContext[Any, Any]): ...  # type: ignore[misc]  # whichever of the two serves

@type_check_only
class _Requests(AsyncIterator[_T], Iterator[_T], Protocol[_T]): ...  # type: ignore[misc]  # the same of streams

class ControllerStub:
    @overload
    def __new__(cls, channel: grpc.Channel) -> ControllerStub: ...
    @overload
    def __new__(cls, channel: grpc.aio.Channel) -> ControllerAsyncStub: ...
    UploadBlob: grpc.StreamUnaryMultiCallable[controller_pb2.UploadBlobRequest, controller_pb2.UploadBlobResponse]
    GetUpload: grpc.UnaryUnaryMultiCallable[controller_pb2.GetUploadRequest, controller_pb2.GetUploadResponse]
    RegisterVersion: grpc.UnaryUnaryMultiCallable[controller_pb2.RegisterVersionRequest, controller_pb2.RegisterVersionResponse]
    ListModels: grpc.UnaryUnaryMultiCallable[controller_pb2.ListModelsRequest, controller_pb2.ListModelsResponse]
    GetModel: grpc.UnaryUnaryMultiCallable[controller_pb2.GetModelRequest, controller_pb2.GetModelResponse]
    SetAlias: grpc.UnaryUnaryMultiCallable[controller_pb2.SetAliasRequest, controller_pb2.SetAliasResponse]
    VerifyVersion: grpc.UnaryUnaryMultiCallable[controller_pb2.VerifyVersionRequest, controller_pb2.VerifyVersionResponse]
    CreateDeployment: grpc.UnaryUnaryMultiCallable[controller_pb2.CreateDeploymentRequest, controller_pb2.CreateDeploymentResponse]
    ListDeployments: grpc.UnaryUnaryMultiCallable[controller_pb2.ListDeploymentsRequest, controller_pb2.ListDeploymentsResponse]
    UpdateDeployment: grpc.UnaryUnaryMultiCallable[controller_pb2.UpdateDeploymentRequest, controller_pb2.UpdateDeploymentResponse]
    DeleteDeployment: grpc.UnaryUnaryMultiCallable[controller_pb2.DeleteDeploymentRequest, controller_pb2.DeleteDeploymentResponse]
    SetTraffic: grpc.UnaryUnaryMultiCallable[controller_pb2.SetTrafficRequest, controller_pb2.SetTrafficResponse]
    PinTenant: grpc.UnaryUnaryMultiCallable[controller_pb2.PinTenantRequest, controller_pb2.PinTenantResponse]
    SetShadow: grpc.UnaryUnaryMultiCallable[controller_pb2.SetShadowRequest, controller_pb2.SetShadowResponse]
    UpdateRoute: grpc.UnaryUnaryMultiCallable[controller_pb2.UpdateRouteRequest, controller_pb2.UpdateRouteResponse]
    Rollback: grpc.UnaryUnaryMultiCallable[controller_pb2.RollbackRequest, controller_pb2.RollbackResponse]
    PlanPlacement: grpc.UnaryUnaryMultiCallable[controller_pb2.PlanPlacementRequest, controller_pb2.PlanPlacementResponse]
    SetTenant: grpc.UnaryUnaryMultiCallable[controller_pb2.SetTenantRequest, controller_pb2.SetTenantResponse]
    ListTenants: grpc.UnaryUnaryMultiCallable[controller_pb2.ListTenantsRequest, controller_pb2.ListTenantsResponse]
    CreateKey: grpc.UnaryUnaryMultiCallable[controller_pb2.CreateKeyRequest, controller_pb2.CreateKeyResponse]
    RevokeKey: grpc.UnaryUnaryMultiCallable[controller_pb2.RevokeKeyRequest, controller_pb2.RevokeKeyResponse]
    ListChanges: grpc.UnaryUnaryMultiCallable[controller_pb2.ListChangesRequest, controller_pb2.ListChangesResponse]
    Apply: grpc.UnaryUnaryMultiCallable[controller_pb2.ApplyRequest, controller_pb2.ApplyResponse]
    SetWritesFrozen: grpc.UnaryUnaryMultiCallable[controller_pb2.SetWritesFrozenRequest, controller_pb2.SetWritesFrozenResponse]
    Republish: grpc.UnaryUnaryMultiCallable[controller_pb2.RepublishRequest, controller_pb2.RepublishResponse]
    GetMesh: grpc.UnaryUnaryMultiCallable[controller_pb2.GetMeshRequest, controller_pb2.GetMeshResponse]

@type_check_only
class ControllerAsyncStub:
    def __init__(self, channel: grpc.aio.Channel) -> None: ...
    UploadBlob: grpc.aio.StreamUnaryMultiCallable[controller_pb2.UploadBlobRequest, controller_pb2.UploadBlobResponse]
    GetUpload: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.GetUploadRequest, controller_pb2.GetUploadResponse]
    RegisterVersion: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.RegisterVersionRequest, controller_pb2.RegisterVersionResponse]
    ListModels: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.ListModelsRequest, controller_pb2.ListModelsResponse]
    GetModel: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.GetModelRequest, controller_pb2.GetModelResponse]
    SetAlias: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.SetAliasRequest, controller_pb2.SetAliasResponse]
    VerifyVersion: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.VerifyVersionRequest, controller_pb2.VerifyVersionResponse]
    CreateDeployment: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.CreateDeploymentRequest, controller_pb2.CreateDeploymentResponse]
    ListDeployments: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.ListDeploymentsRequest, controller_pb2.ListDeploymentsResponse]
    UpdateDeployment: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.UpdateDeploymentRequest, controller_pb2.UpdateDeploymentResponse]
    DeleteDeployment: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.DeleteDeploymentRequest, controller_pb2.DeleteDeploymentResponse]
    SetTraffic: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.SetTrafficRequest, controller_pb2.SetTrafficResponse]
    PinTenant: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.PinTenantRequest, controller_pb2.PinTenantResponse]
    SetShadow: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.SetShadowRequest, controller_pb2.SetShadowResponse]
    UpdateRoute: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.UpdateRouteRequest, controller_pb2.UpdateRouteResponse]
    Rollback: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.RollbackRequest, controller_pb2.RollbackResponse]
    PlanPlacement: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.PlanPlacementRequest, controller_pb2.PlanPlacementResponse]
    SetTenant: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.SetTenantRequest, controller_pb2.SetTenantResponse]
    ListTenants: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.ListTenantsRequest, controller_pb2.ListTenantsResponse]
    CreateKey: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.CreateKeyRequest, controller_pb2.CreateKeyResponse]
    RevokeKey: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.RevokeKeyRequest, controller_pb2.RevokeKeyResponse]
    ListChanges: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.ListChangesRequest, controller_pb2.ListChangesResponse]
    Apply: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.ApplyRequest, controller_pb2.ApplyResponse]
    SetWritesFrozen: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.SetWritesFrozenRequest, controller_pb2.SetWritesFrozenResponse]
    Republish: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.RepublishRequest, controller_pb2.RepublishResponse]
    GetMesh: grpc.aio.UnaryUnaryMultiCallable[controller_pb2.GetMeshRequest, controller_pb2.GetMeshResponse]

class ControllerServicer:
    def UploadBlob(self, request_iterator: _Requests[controller_pb2.UploadBlobRequest], context: _Context) -> controller_pb2.UploadBlobResponse | Awaitable[controller_pb2.UploadBlobResponse]: ...
    def GetUpload(self, request: controller_pb2.GetUploadRequest, context: _Context) -> controller_pb2.GetUploadResponse | Awaitable[controller_pb2.GetUploadResponse]: ...
    def RegisterVersion(self, request: controller_pb2.RegisterVersionRequest, context: _Context) -> controller_pb2.RegisterVersionResponse | Awaitable[controller_pb2.RegisterVersionResponse]: ...
    def ListModels(self, request: controller_pb2.ListModelsRequest, context: _Context) -> controller_pb2.ListModelsResponse | Awaitable[controller_pb2.ListModelsResponse]: ...
    def GetModel(self, request: controller_pb2.GetModelRequest, context: _Context) -> controller_pb2.GetModelResponse | Awaitable[controller_pb2.GetModelResponse]: ...
    def SetAlias(self, request: controller_pb2.SetAliasRequest, context: _Context) -> controller_pb2.SetAliasResponse | Awaitable[controller_pb2.SetAliasResponse]: ...
    def VerifyVersion(self, request: controller_pb2.VerifyVersionRequest, context: _Context) -> controller_pb2.VerifyVersionResponse | Awaitable[controller_pb2.VerifyVersionResponse]: ...
    def CreateDeployment(self, request: controller_pb2.CreateDeploymentRequest, context: _Context) -> controller_pb2.CreateDeploymentResponse | Awaitable[controller_pb2.CreateDeploymentResponse]: ...
    def ListDeployments(self, request: controller_pb2.ListDeploymentsRequest, context: _Context) -> controller_pb2.ListDeploymentsResponse | Awaitable[controller_pb2.ListDeploymentsResponse]: ...
    def UpdateDeployment(self, request: controller_pb2.UpdateDeploymentRequest, context: _Context) -> controller_pb2.UpdateDeploymentResponse | Awaitable[controller_pb2.UpdateDeploymentResponse]: ...
    def DeleteDeployment(self, request: controller_pb2.DeleteDeploymentRequest, context: _Context) -> controller_pb2.DeleteDeploymentResponse | Awaitable[controller_pb2.DeleteDeploymentResponse]: ...
    def SetTraffic(self, request: controller_pb2.SetTrafficRequest, context: _Context) -> controller_pb2.SetTrafficResponse | Awaitable[controller_pb2.SetTrafficResponse]: ...
    def PinTenant(self, request: controller_pb2.PinTenantRequest, context: _Context) -> controller_pb2.PinTenantResponse | Awaitable[controller_pb2.PinTenantResponse]: ...
    def SetShadow(self, request: controller_pb2.SetShadowRequest, context: _Context) -> controller_pb2.SetShadowResponse | Awaitable[controller_pb2.SetShadowResponse]: ...
    def UpdateRoute(self, request: controller_pb2.UpdateRouteRequest, context: _Context) -> controller_pb2.UpdateRouteResponse | Awaitable[controller_pb2.UpdateRouteResponse]: ...
    def Rollback(self, request: controller_pb2.RollbackRequest, context: _Context) -> controller_pb2.RollbackResponse | Awaitable[controller_pb2.RollbackResponse]: ...
    def PlanPlacement(self, request: controller_pb2.PlanPlacementRequest, context: _Context) -> controller_pb2.PlanPlacementResponse | Awaitable[controller_pb2.PlanPlacementResponse]: ...
    def SetTenant(self, request: controller_pb2.SetTenantRequest, context: _Context) -> controller_pb2.SetTenantResponse | Awaitable[controller_pb2.SetTenantResponse]: ...
    def ListTenants(self, request: controller_pb2.ListTenantsRequest, context: _Context) -> controller_pb2.ListTenantsResponse | Awaitable[controller_pb2.ListTenantsResponse]: ...
    def CreateKey(self, request: controller_pb2.CreateKeyRequest, context: _Context) -> controller_pb2.CreateKeyResponse | Awaitable[controller_pb2.CreateKeyResponse]: ...
    def RevokeKey(self, request: controller_pb2.RevokeKeyRequest, context: _Context) -> controller_pb2.RevokeKeyResponse | Awaitable[controller_pb2.RevokeKeyResponse]: ...
    def ListChanges(self, request: controller_pb2.ListChangesRequest, context: _Context) -> controller_pb2.ListChangesResponse | Awaitable[controller_pb2.ListChangesResponse]: ...
    def Apply(self, request: controller_pb2.ApplyRequest, context: _Context) -> controller_pb2.ApplyResponse | Awaitable[controller_pb2.ApplyResponse]: ...
    def SetWritesFrozen(self, request: controller_pb2.SetWritesFrozenRequest, context: _Context) -> controller_pb2.SetWritesFrozenResponse | Awaitable[controller_pb2.SetWritesFrozenResponse]: ...
    def Republish(self, request: controller_pb2.RepublishRequest, context: _Context) -> controller_pb2.RepublishResponse | Awaitable[controller_pb2.RepublishResponse]: ...
    def GetMesh(self, request: controller_pb2.GetMeshRequest, context: _Context) -> controller_pb2.GetMeshResponse | Awaitable[controller_pb2.GetMeshResponse]: ...

def add_ControllerServicer_to_server(servicer: ControllerServicer, server: grpc.Server | grpc.aio.Server) -> None: ...
