"""A real gRPC server that speaks the controller's service: keeps files and routes in memory, refuses what it does not know."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from penstock.contracts.errors import Conflict, InvalidInput, ModelNotFound, ServingError
from penstock.v1 import controller_pb2 as pb
from penstock.v1 import routes_pb2, worker_pb2

START = 1_700_000_000.0


class FarController:
    def __init__(self) -> None:
        self.blobs: dict[str, bytearray] = {}
        self.requests: list[Any] = []
        self.routes = {
            "fraud": routes_pb2.Route(model="fraud", revision=3, backends=[routes_pb2.Backend(version="v3.0", weight_basis_points=10_000)])
        }
        self.deployment = pb.Deployment(
            deployment_id="d-1", model="fraud", version="v3.1", status=pb.DEPLOYMENT_STATUS_DEPLOYING, replicas=2, created_time=START
        )
        self.looks = 0
        self.broken = ""
        self.damage = ""
        self.lose_after: int | None = None
        self.silent_router = False
        self.refusal: ServingError | None = None
        """What registrations are refused for."""
        self.secret = "penstock_secret"
        self.server = grpc.server(ThreadPoolExecutor(8))
        names = [method.name for method in pb.DESCRIPTOR.services_by_name["Controller"].methods]
        rpcs = {name: self._method(name, getattr(self, name)) for name in names if hasattr(self, name)}
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("penstock.v1.Controller", rpcs),))
        self.target = f"127.0.0.1:{self.server.add_insecure_port('127.0.0.1:0')}"
        self.server.start()

    def stop(self) -> None:
        self.server.stop(0).wait()

    def _method(self, name: str, call: Any) -> Any:
        request_type, response_type = getattr(pb, f"{name}Request"), getattr(pb, f"{name}Response")
        streams = name == "UploadBlob"

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            if not streams:
                self.requests.append(request)
            try:
                return call(request)
            except ServingError as error:
                context.set_trailing_metadata((("penstock-reason", error.reason),))
                context.abort(getattr(grpc.StatusCode, error.status.grpc.name), error.message)

        made = grpc.stream_unary_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        return made(answer, request_type.FromString, response_type.SerializeToString)

    # --- what it does -------------------------------------------------------------------------------------------------------------

    def GetUpload(self, request: pb.GetUploadRequest) -> pb.GetUploadResponse:
        held = self.blobs.get(request.sha256, bytearray())
        return pb.GetUploadResponse(received_bytes=len(held), complete=hashlib.sha256(held).hexdigest() == request.sha256)

    def UploadBlob(self, requests: Iterator[pb.UploadBlobRequest]) -> pb.UploadBlobResponse:
        held = bytearray()
        for one in requests:
            held = self.blobs.setdefault(one.sha256, bytearray())
            if one.offset_bytes != len(held):
                raise InvalidInput(f"the chunk begins at {one.offset_bytes}, {len(held)} bytes are here")
            held.extend(one.chunk)
            if self.lose_after is not None and len(held) >= self.lose_after:
                self.lose_after = None
                raise Conflict("the line was lost")
        return pb.UploadBlobResponse(received_bytes=len(held))

    def RegisterVersion(self, request: pb.RegisterVersionRequest) -> pb.RegisterVersionResponse:
        if self.refusal is not None:
            raise self.refusal
        missing = [file.path for file in request.files if len(self.blobs.get(file.sha256, b"")) != file.size_bytes]
        if missing:
            raise InvalidInput(f"{missing} were not sent")
        version = pb.ModelVersion(
            model=request.model,
            version=request.version or "1",
            digest="ab" * 32,
            size_bytes=sum(file.size_bytes for file in request.files),
            metadata=dict(request.metadata),
        )
        return pb.RegisterVersionResponse(version=version, change=self._change(request, "version.register"))

    def SetAlias(self, request: pb.SetAliasRequest) -> pb.SetAliasResponse:
        aliases = {request.alias: request.version} if request.version else {}
        return pb.SetAliasResponse(model=pb.Model(name=request.model, aliases=aliases), change=self._change(request, "alias.set"))

    def GetModel(self, request: pb.GetModelRequest) -> pb.GetModelResponse:
        versions = [self._version(request.model, "v3.0"), self._version(request.model, "v3.1")]
        model = pb.Model(name=request.model, versions=versions, aliases={"champion": "v3.1"})
        return pb.GetModelResponse(model=model, route=self._route(request.model))

    def VerifyVersion(self, request: pb.VerifyVersionRequest) -> pb.VerifyVersionResponse:
        version = self._version(request.model, request.version)
        files = [pb.VerifiedFile(path="version/model.onnx", size_bytes=9, sha256="ab" * 32, damage=self.damage)]
        return pb.VerifyVersionResponse(version=version, files=files, damage=self.damage, signature_state=pb.SIGNATURE_STATE_GOOD)

    def CreateDeployment(self, request: pb.CreateDeploymentRequest) -> pb.CreateDeploymentResponse:
        return pb.CreateDeploymentResponse(deployment=self.deployment, change=self._change(request, "deployment.create"))

    def ListDeployments(self, _: pb.ListDeploymentsRequest) -> pb.ListDeploymentsResponse:
        self.looks += 1
        if self.looks == 2 and self.deployment.status == pb.DEPLOYMENT_STATUS_DEPLOYING:
            self.deployment.status = pb.DEPLOYMENT_STATUS_ACTIVE
            self.deployment.ready_replicas = 2
        return pb.ListDeploymentsResponse(deployments=[self.deployment])

    def SetTraffic(self, request: pb.SetTrafficRequest) -> pb.SetTrafficResponse:
        route = self._route(request.model)
        del route.backends[:]
        route.backends.extend(
            routes_pb2.Backend(version=version, weight_basis_points=points) for version, points in sorted(request.basis_points.items())
        )
        return pb.SetTrafficResponse(route=route, change=self._change(request, "traffic.set"), confirmations=self._confirmations())

    def PinTenant(self, request: pb.PinTenantRequest) -> pb.PinTenantResponse:
        route = self._route(request.model)
        del route.pins[:]
        if request.version:
            route.pins.add(tenant=request.tenant, version=request.version)
        return pb.PinTenantResponse(route=route, change=self._change(request, "pin.set"), confirmations=self._confirmations())

    def SetShadow(self, request: pb.SetShadowRequest) -> pb.SetShadowResponse:
        route = self._route(request.model)
        route.shadow.CopyFrom(request.shadow) if request.HasField("shadow") else route.ClearField("shadow")
        return pb.SetShadowResponse(route=route, change=self._change(request, "shadow.set"), confirmations=self._confirmations())

    def UpdateRoute(self, request: pb.UpdateRouteRequest) -> pb.UpdateRouteResponse:
        route = self._route(request.model)
        route.routing_key.CopyFrom(request.routing_key)
        route.fallback.extend(request.fallback)
        route.kill_switches.extend(request.kill_switches)
        route.frozen = request.frozen
        return pb.UpdateRouteResponse(route=route, change=self._change(request, "route.update"), confirmations=self._confirmations())

    def Rollback(self, request: pb.RollbackRequest) -> pb.RollbackResponse:
        return pb.RollbackResponse(
            route=self._route(request.model),
            change=self._change(request, "traffic.rollback"),
            confirmations=self._confirmations(),
            elapsed_seconds=-1.0 if self.silent_router else 0.02,
        )

    def ListChanges(self, request: pb.ListChangesRequest) -> pb.ListChangesResponse:
        change = pb.Change(number=1, kind="traffic.set", subject="model/fraud", actor="ada", time=START, after_json='{"v3.0": 50}')
        return pb.ListChangesResponse(changes=[change], broken=self.broken if request.verify else "")

    def Apply(self, request: pb.ApplyRequest) -> pb.ApplyResponse:
        pending = ["the traffic of fraud waits until v3.1 is ready"]
        return pb.ApplyResponse(changes=[self._change(request, "deployment.create")], pending=pending)

    def Republish(self, request: pb.RepublishRequest) -> pb.RepublishResponse:
        return pb.RepublishResponse(records=["penstock.routes.v1/fraud"], change=self._change(request, "mesh.republish"))

    def SetWritesFrozen(self, request: pb.SetWritesFrozenRequest) -> pb.SetWritesFrozenResponse:
        return pb.SetWritesFrozenResponse(frozen=request.frozen, change=self._change(request, "setting.set"))

    def PlanPlacement(self, request: pb.PlanPlacementRequest) -> pb.PlanPlacementResponse:
        placement = pb.Placement(model=request.model, version="v3.1", worker_id="worker-1", action="load", reason="most free memory")
        return pb.PlanPlacementResponse(placements=[placement])

    def GetMesh(self, _: pb.GetMeshRequest) -> pb.GetMeshResponse:
        return pb.GetMeshResponse(members=[pb.Member(role="controller", name="controller-0", instance_id="c0", leader=True)], unpublished=2)

    def ListTenants(self, _: pb.ListTenantsRequest) -> pb.ListTenantsResponse:
        keys = [pb.KeyRecord(key_id="k-1", created_time=60.0, last_used_time=120.0), pb.KeyRecord(key_id="k-2", revoked=True)]
        acme = pb.TenantRecord(tenant="acme", settings_json='{"requests_per_second": 5}', frozen=True, keys=keys)
        return pb.ListTenantsResponse(tenants=[acme])

    def SetTenant(self, request: pb.SetTenantRequest) -> pb.SetTenantResponse:
        return pb.SetTenantResponse(change=self._change(request, "tenant.set"))

    def CreateKey(self, request: pb.CreateKeyRequest) -> pb.CreateKeyResponse:
        record = pb.KeyRecord(key_id="k-1")
        return pb.CreateKeyResponse(key=self.secret, record=record, change=self._change(request, "key.create"))

    def RevokeKey(self, request: pb.RevokeKeyRequest) -> pb.RevokeKeyResponse:
        return pb.RevokeKeyResponse(change=self._change(request, "key.revoke"))

    def _version(self, model: str, name: str) -> pb.ModelVersion:
        tensors = [worker_pb2.TensorSpec(name="x", datatype="FP32", shape=[-1, 2])]
        said = {"checked_time": "2026-11-01T00:00:00+00:00", "signed_by": "release", "auc": "0.9"}
        return pb.ModelVersion(
            model=model, version=name, digest="ab" * 32, inputs=tensors, metadata=said, signature=b"s" * 64, signed_by="release"
        )

    def _route(self, model: str) -> routes_pb2.Route:
        if model not in self.routes:
            raise ModelNotFound(f"model {model!r} is not known here")
        return self.routes[model]

    def _change(self, request: Any, kind: str) -> pb.Change:
        return pb.Change(
            kind=kind,
            dry_run=request.options.dry_run,
            reason=request.options.reason,
            before_json=json.dumps({"state": "old", "same": 1}),
            after_json=json.dumps({"state": "new", "same": 1}),
        )

    def _confirmations(self) -> list[pb.Confirmation]:
        return [
            pb.Confirmation(router_id="router-0", seconds=0.012),
            pb.Confirmation(router_id="router-1", seconds=-1.0 if self.silent_router else 0.02),
        ]
