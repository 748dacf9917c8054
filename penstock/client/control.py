"""The client of the controller: what is deployed, who gets which version, and what changed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from penstock.client.channels import CHANNEL_OPTIONS, credentials_of, metadata_of
from penstock.client.failures import error_of
from penstock.client.options import DEFAULT_TARGET, ClientOptions
from penstock.client.writes import NOTHING_SAID, ONE_REPLICA, PLAIN, About, Origin, Run, Write, fallback_message
from penstock.contracts.errors import DeadlineExceeded
from penstock.contracts.routes import FallbackStep, KillSwitch, RoutingKey, Shadow
from penstock.v1 import controller_pb2 as pb
from penstock.v1 import routes_pb2
from penstock.v1.controller_pb2_grpc import ControllerStub

CHECK_SECONDS = 120.0
"""How long the controller may take to check a model before it is accepted."""

VERIFY_SECONDS = 270.0
"""How long the controller may take to read a version again; routers wait no longer than 300 s for it."""

CONFIRMATION_SECONDS = 5.0
"""How long a change of traffic waits for the routers' word where the caller does not say."""

R = TypeVar("R")


class Control:
    """Changes the mesh through any router's gRPC port, or the controller's own.

        with Control("127.0.0.1:8001") as control:
            control.set_traffic("fraud_detector", {"v3.0": 9000, "v3.1": 1000})
            control.rollback("fraud_detector").elapsed_seconds

    Every failure is a `ServingError`. Writes carry an idempotency key and are tried again where the server says that it helps.
    """

    def __init__(self, target: str = DEFAULT_TARGET, options: ClientOptions | None = None) -> None:
        """Open a connection lazily to `host:port`."""
        self.options = options or ClientOptions()
        credentials = credentials_of(self.options.tls) if self.options.tls else None
        self._channel = (
            grpc.secure_channel(target, credentials, CHANNEL_OPTIONS) if credentials else grpc.insecure_channel(target, CHANNEL_OPTIONS)
        )
        self.stub = ControllerStub(self._channel)
        self._random = Random()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close the connection."""
        self._channel.close()

    # --- models -------------------------------------------------------------------------------------------------------------------

    def models(self, prefix: str = "") -> list[pb.Model]:
        """Return the models by name."""
        return list(self.call(self.stub.ListModels, pb.ListModelsRequest(prefix=prefix)).models)

    def model(self, model: str) -> pb.GetModelResponse:
        """Return a model, its deployments and its route."""
        return self.call(self.stub.GetModel, pb.GetModelRequest(model=model))

    def register(
        self, model: str, version: str, files: Origin, about: About = NOTHING_SAID, write: Write = PLAIN
    ) -> pb.RegisterVersionResponse:
        """Register a version from files that were sent, or from a source that the controller reaches; an empty one is the next number."""
        request = pb.RegisterVersionRequest(
            model=model,
            version=version,
            metadata=about.metadata,
            description=about.description,
            owner=about.owner,
            framework=about.framework,
            options=write.options(),
            signature=about.signature,
            key_id=about.key_id,
        )
        if isinstance(files, str):
            request.source = files
        else:
            request.files.extend(pb.VersionFile(path=one.name, sha256=one.sha256, size_bytes=one.size) for one in files)
        return self.call(self.stub.RegisterVersion, request, patience=CHECK_SECONDS)

    def set_alias(self, model: str, alias: str, version: str, write: Write = PLAIN) -> pb.SetAliasResponse:
        """Give a version another name; an empty version takes the name away."""
        return self.call(self.stub.SetAlias, pb.SetAliasRequest(model=model, alias=alias, version=version, options=write.options()))

    def verify(self, model: str, version: str, write: Write = PLAIN) -> pb.VerifyVersionResponse:
        """Have the files of a version, or of an alias, read again and compared with its digest."""
        request = pb.VerifyVersionRequest(model=model, version=version, options=write.options())
        return self.call(self.stub.VerifyVersion, request, patience=VERIFY_SECONDS)

    # --- deployments --------------------------------------------------------------------------------------------------------------

    def deploy(self, model: str, version: str, run: Run = ONE_REPLICA, write: Write = PLAIN) -> pb.CreateDeploymentResponse:
        """Deploy a version."""
        request = pb.CreateDeploymentRequest(
            model=model,
            version=version,
            replicas=run.replicas,
            gpu_type=run.gpu_type,
            traffic_basis_points=run.traffic_basis_points,
            config_json=run.config_json,
            memory_bytes=run.memory_bytes,
            options=write.options(),
        )
        return self.call(self.stub.CreateDeployment, request)

    def deployments(self, model: str = "", *, retired: bool = False) -> list[pb.Deployment]:
        """Return deployments, newest first."""
        return list(self.call(self.stub.ListDeployments, pb.ListDeploymentsRequest(model=model, retired=retired)).deployments)

    def scale(self, deployment_id: str, replicas: int, write: Write = PLAIN) -> pb.UpdateDeploymentResponse:
        """Change how many replicas a deployment has."""
        request = pb.UpdateDeploymentRequest(deployment_id=deployment_id, replicas=replicas, options=write.options())
        return self.call(self.stub.UpdateDeployment, request)

    def undeploy(self, deployment_id: str, write: Write = PLAIN, *, force: bool = False) -> pb.DeleteDeploymentResponse:
        """Take a deployment away; one that has traffic only with `force`."""
        request = pb.DeleteDeploymentRequest(deployment_id=deployment_id, force=force, options=write.options())
        return self.call(self.stub.DeleteDeployment, request)

    def plan(self, model: str = "") -> list[pb.Placement]:
        """Return what the plan would do, with the reason for each placement."""
        return list(self.call(self.stub.PlanPlacement, pb.PlanPlacementRequest(model=model)).placements)

    # --- traffic ------------------------------------------------------------------------------------------------------------------

    def set_traffic(
        self, model: str, basis_points: Mapping[str, int], write: Write = PLAIN, *, wait_seconds: float = CONFIRMATION_SECONDS
    ) -> pb.SetTrafficResponse:
        """Share a model's traffic; returns when every live router has confirmed, or the wait is over."""
        request = pb.SetTrafficRequest(model=model, basis_points=basis_points, options=write.options(), wait_seconds=wait_seconds)
        return self.call(self.stub.SetTraffic, request, patience=wait_seconds)

    def pin(self, model: str, tenant: str, version: str, write: Write = PLAIN) -> pb.PinTenantResponse:
        """Send a tenant to one version; an empty version takes the pin away."""
        request = pb.PinTenantRequest(model=model, tenant=tenant, version=version, options=write.options())
        return self.call(self.stub.PinTenant, request, patience=CONFIRMATION_SECONDS)

    def shadow(self, model: str, shadow: Shadow | None, write: Write = PLAIN) -> pb.SetShadowResponse:
        """Copy a sample of the traffic to a version; None ends it."""
        request = pb.SetShadowRequest(model=model, options=write.options())
        if shadow is not None:
            request.shadow.version = shadow.version
            request.shadow.sample_basis_points = shadow.sample_basis_points
            request.shadow.concurrency_limit_requests = shadow.concurrency_limit
        return self.call(self.stub.SetShadow, request, patience=CONFIRMATION_SECONDS)

    def stick(self, model: str, key: RoutingKey, write: Write = PLAIN) -> pb.UpdateRouteResponse:
        """Choose which key makes an assignment stick."""
        wanted = routes_pb2.RoutingKey(source=f"KEY_SOURCE_{key.source.name}", parameter=key.parameter, salt=key.salt)
        return self._update(pb.UpdateRouteRequest(model=model, routing_key=wanted), write)

    def set_fallback(self, model: str, steps: Sequence[FallbackStep], write: Write = PLAIN) -> pb.UpdateRouteResponse:
        """Replace what answers, in order, when a version cannot."""
        return self._update(
            pb.UpdateRouteRequest(model=model, fallback=[fallback_message(step) for step in steps], set_fallback=True), write
        )

    def kill(self, model: str, switches: Sequence[KillSwitch], write: Write = PLAIN) -> pb.UpdateRouteResponse:
        """Replace the versions that must not answer."""
        wanted = [routes_pb2.KillSwitch(version=one.version, tenant=one.tenant) for one in switches]
        return self._update(pb.UpdateRouteRequest(model=model, kill_switches=wanted, set_kill_switches=True), write)

    def freeze(self, model: str, write: Write = PLAIN, *, frozen: bool = True) -> pb.UpdateRouteResponse:
        """Let a model answer nobody, or again."""
        return self._update(pb.UpdateRouteRequest(model=model, frozen=frozen), write)

    def rollback(
        self, model: str, to_version: str = "", write: Write = PLAIN, *, wait_seconds: float = CONFIRMATION_SECONDS
    ) -> pb.RollbackResponse:
        """Put the previous backends back; the same call again takes that back."""
        request = pb.RollbackRequest(model=model, to_version=to_version, options=write.options(), wait_seconds=wait_seconds)
        return self.call(self.stub.Rollback, request, patience=wait_seconds)

    # --- tenants, and what happened -------------------------------------------------------------------------------------------------

    def tenants(self) -> list[pb.TenantRecord]:
        """Return the tenants by name."""
        return list(self.call(self.stub.ListTenants, pb.ListTenantsRequest()).tenants)

    def set_tenant(
        self, tenant: str, settings_json: str = "", write: Write = PLAIN, *, frozen: bool | None = None, force: bool = False
    ) -> pb.SetTenantResponse:
        """Make or change a tenant; one without whom nobody could change the mesh only with `force`."""
        options = write.options()
        request = pb.SetTenantRequest(tenant=tenant, settings_json=settings_json, frozen=frozen, options=options, force=force)
        return self.call(self.stub.SetTenant, request)

    def create_key(self, tenant: str, life_seconds: float = 0.0, write: Write = PLAIN) -> pb.CreateKeyResponse:
        """Make a key; its secret is in this answer and nowhere else."""
        return self.call(self.stub.CreateKey, pb.CreateKeyRequest(tenant=tenant, life_seconds=life_seconds, options=write.options()))

    def revoke_key(self, tenant: str, key_id: str, write: Write = PLAIN, *, force: bool = False) -> pb.RevokeKeyResponse:
        """Refuse a key from now on; an administrator's last only with `force`."""
        request = pb.RevokeKeyRequest(tenant=tenant, key_id=key_id, options=write.options(), force=force)
        return self.call(self.stub.RevokeKey, request)

    def changes(self, *, since_time: float = 0.0, subject: str = "", most: int = 100, verify: bool = False) -> pb.ListChangesResponse:
        """Return changes, newest first; `verify` walks the chain of audit records."""
        request = pb.ListChangesRequest(since_time=since_time, subject=subject, most_changes=most, verify=verify)
        return self.call(self.stub.ListChanges, request)

    def apply(self, manifest: str, write: Write = PLAIN) -> pb.ApplyResponse:
        """Make the mesh be as a YAML or JSON document says; returns the changes that it took, and what waits for a version to be ready."""
        return self.call(self.stub.Apply, pb.ApplyRequest(manifest=manifest, options=write.options()))

    def freeze_writes(self, write: Write = PLAIN, *, frozen: bool = True) -> pb.SetWritesFrozenResponse:
        """Refuse every change but rollbacks, kill switches, freezes and revocations; or take changes again."""
        return self.call(self.stub.SetWritesFrozen, pb.SetWritesFrozenRequest(frozen=frozen, options=write.options()))

    def republish(self, write: Write = PLAIN) -> pb.RepublishResponse:
        """Publish again what is in force and the topics have lost; returns what that was."""
        return self.call(self.stub.Republish, pb.RepublishRequest(options=write.options()))

    def mesh(self) -> pb.GetMeshResponse:
        """Return who is there."""
        return self.call(self.stub.GetMesh, pb.GetMeshRequest())

    def _update(self, request: pb.UpdateRouteRequest, write: Write) -> pb.UpdateRouteResponse:
        request.options.CopyFrom(write.options())
        return self.call(self.stub.UpdateRoute, request, patience=CONFIRMATION_SECONDS)

    def call(self, method: Callable[..., R], request: Any, *, patience: float = 0.0) -> R:
        """Call a method, again where the server says that it helps; `patience` is added to the client's time-out.

        Raises:
            ServingError: the class says whose fault it is and what to do.
        """
        metadata = metadata_of(self.options, None)
        deadline = time.monotonic() + self.options.timeout_seconds + patience
        for number in itertools.count(1):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                break
            try:
                return method(request, timeout=remaining, metadata=metadata)
            except grpc.RpcError as failure:
                error = error_of(failure)
                wait = self.options.retries.wait_seconds(number, error, self._random)
                if wait is None or time.monotonic() + wait >= deadline:
                    raise error from failure
                time.sleep(wait)
        raise DeadlineExceeded("the call's deadline passed before it could be tried again")
