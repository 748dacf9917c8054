"""Deployments, traffic and rollbacks over HTTP."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from penstock.contracts.errors import InvalidInput
from penstock.v1 import controller_pb2 as pb
from penstock.v1 import routes_pb2
from services.controller import rest_bodies as bodies
from services.controller import rest_views_front as views
from services.controller.rest_calls_front import Calls, answered, write_options
from services.controller.rest_json_front import StrictRoute

Shares = Annotated[dict[str, bodies.Percent], Body(examples=[{"v3.0": 50, "v3.1": 50}])]


def deployment_routes(calls: Calls) -> APIRouter:
    """Return the paths of deployments."""
    paths = APIRouter(tags=["deployments"], route_class=StrictRoute)

    @paths.get("/deployments")
    async def list_deployments(http: Request, model: str = "", retired: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query
        """List deployments, newest first."""
        answer = await calls.call("ListDeployments", http, pb.ListDeploymentsRequest(model=model, retired=retired))
        return answered({"deployments": [views.deployment(one) for one in answer.deployments]})

    @paths.get("/deployments/{deployment_id}")
    async def get_deployment(http: Request, deployment_id: str) -> Response:
        """Show one deployment, by its id; by a model's name all of that model."""
        answer = await calls.call("ListDeployments", http, pb.ListDeploymentsRequest(retired=True))
        for one in answer.deployments:
            if one.deployment_id == deployment_id:
                return answered(views.deployment(one), revision=one.revision)
        model = await calls.call("GetModel", http, pb.GetModelRequest(model=deployment_id))
        return answered({"deployments": [views.deployment(one) for one in model.deployments]})

    @paths.get("/placement")
    async def plan(http: Request, model: str = "") -> Response:
        """Show where every replica stands or would go, and why."""
        answer = await calls.call("PlanPlacement", http, pb.PlanPlacementRequest(model=model))
        return answered({"placements": [views.placement(one) for one in answer.placements]})

    return paths


def deployment_changes(calls: Calls) -> APIRouter:
    """Return the paths that change deployments."""
    paths = APIRouter(tags=["deployments"], route_class=StrictRoute)

    @paths.post("/deployments", status_code=201)
    async def create(http: Request, body: bodies.DeploymentBody) -> Response:
        """Deploy a version; it gets its share of the traffic when it is ready."""
        request = pb.CreateDeploymentRequest(
            model=body.model_name,
            version=body.version,
            replicas=body.resources.replicas,
            gpu_type=body.resources.gpu,
            memory_bytes=body.resources.memory_bytes,
            traffic_basis_points=bodies.points(body.traffic_percent),
            config_json=bodies.as_text(body.config),
            options=write_options(http, body.reason),
        )
        answer = await calls.call("CreateDeployment", http, request)
        document = {"deployment": views.deployment(answer.deployment), "change": views.change(answer.change)}
        return answered(document, status=200 if answer.change.dry_run else 201, revision=answer.deployment.revision)

    @paths.patch("/deployments/{deployment_id}")
    async def update(http: Request, deployment_id: str, body: bodies.DeploymentPatch) -> Response:
        """Change how a deployment runs."""
        request = pb.UpdateDeploymentRequest(
            deployment_id=deployment_id,
            replicas=body.replicas or 0,
            config_json=bodies.as_text(body.config),
            options=write_options(http, body.reason),
        )
        answer = await calls.call("UpdateDeployment", http, request)
        document = {"deployment": views.deployment(answer.deployment), "change": views.change(answer.change)}
        return answered(document, revision=answer.deployment.revision)

    @paths.delete("/deployments/{deployment_id}")
    async def delete(http: Request, deployment_id: str, force: bool = False) -> Response:  # noqa: FBT001, FBT002 - a query
        """Take a deployment away; one with traffic only with `force`."""
        request = pb.DeleteDeploymentRequest(deployment_id=deployment_id, force=force, options=write_options(http))
        answer = await calls.call("DeleteDeployment", http, request)
        return answered({"deployment": views.deployment(answer.deployment), "change": views.change(answer.change)})

    return paths


def traffic_routes(calls: Calls) -> APIRouter:
    """Return the paths of routes."""
    paths = APIRouter(tags=["traffic"], route_class=StrictRoute)

    @paths.get("/deployments/{model}/traffic")
    @paths.get("/deployments/{model}/route")
    async def get_route(http: Request, model: str) -> Response:
        """Show a model's route."""
        answer: pb.GetModelResponse = await calls.call("GetModel", http, pb.GetModelRequest(model=model))
        return answered(views.route(answer.route), revision=answer.route.revision)

    @paths.put("/deployments/{model}/traffic")
    async def set_traffic(http: Request, model: str, shares: Shares, wait_seconds: float = 5.0) -> Response:
        """Share a model's traffic: percents by version, which sum to 100."""
        request = pb.SetTrafficRequest(
            model=model,
            basis_points={version: bodies.points(percent) for version, percent in shares.items()},
            options=write_options(http),
            wait_seconds=wait_seconds,
        )
        return _routed(await calls.call("SetTraffic", http, request))

    @paths.patch("/deployments/{model}/route")
    async def update_route(http: Request, model: str, body: bodies.RouteBody) -> Response:
        """Replace parts of a route."""
        return _routed(await calls.call("UpdateRoute", http, _update(http, model, body)))

    return paths


def exception_routes(calls: Calls) -> APIRouter:
    """Return the paths of what goes past the shares: pins and shadows."""
    paths = APIRouter(tags=["traffic"], route_class=StrictRoute)

    @paths.put("/deployments/{model}/pins/{tenant}")
    async def pin(http: Request, model: str, tenant: str, body: bodies.PinBody) -> Response:
        """Send a tenant to one version."""
        options = write_options(http, body.reason)
        request = pb.PinTenantRequest(model=model, tenant=tenant, version=body.version, options=options)
        return _routed(await calls.call("PinTenant", http, request))

    @paths.delete("/deployments/{model}/pins/{tenant}")
    async def unpin(http: Request, model: str, tenant: str) -> Response:
        """Take a tenant's pin away."""
        return _routed(await calls.call("PinTenant", http, pb.PinTenantRequest(model=model, tenant=tenant, options=write_options(http))))

    @paths.put("/deployments/{model}/shadow")
    async def set_shadow(http: Request, model: str, body: bodies.ShadowBody) -> Response:
        """Copy a sample of the traffic to a version whose answers nobody sees."""
        shadow = routes_pb2.Shadow(
            version=body.version,
            sample_basis_points=bodies.points(body.sample_percent),
            concurrency_limit_requests=body.concurrency_limit,
        )
        request = pb.SetShadowRequest(model=model, shadow=shadow, options=write_options(http, body.reason))
        return _routed(await calls.call("SetShadow", http, request))

    @paths.delete("/deployments/{model}/shadow")
    async def end_shadow(http: Request, model: str) -> Response:
        """End the shadow."""
        return _routed(await calls.call("SetShadow", http, pb.SetShadowRequest(model=model, options=write_options(http))))

    return paths


def rollback_routes(calls: Calls) -> APIRouter:
    """Return the paths of rollbacks."""
    paths = APIRouter(tags=["traffic"], route_class=StrictRoute)

    @paths.post("/deployments/{model}/rollback")
    async def roll_back(http: Request, model: str, body: bodies.RollbackBody | None = None) -> Response:
        """Put the shares of before back; the same call again takes that back."""
        return _routed(await calls.call("Rollback", http, _rollback(http, model, body or bodies.RollbackBody())))

    @paths.post("/rollback")
    async def roll_back_named(http: Request, body: bodies.RollbackBody) -> Response:
        """Put the shares of before back, of the model that the body names."""
        if not body.model_name:
            raise InvalidInput("model_name is missing", field="model_name")
        return _routed(await calls.call("Rollback", http, _rollback(http, body.model_name, body)))

    return paths


def _rollback(http: Request, model: str, body: bodies.RollbackBody) -> pb.RollbackRequest:
    options = write_options(http, body.reason)
    return pb.RollbackRequest(model=model, to_version=body.to_version, wait_seconds=body.wait_seconds, options=options)


def _routed(answer: pb.SetTrafficResponse | pb.PinTenantResponse | pb.SetShadowResponse | pb.RollbackResponse) -> Response:
    return answered(views.routed(answer), revision=answer.route.revision)


def _update(http: Request, model: str, body: bodies.RouteBody) -> pb.UpdateRouteRequest:
    request = pb.UpdateRouteRequest(
        model=model,
        fallback=[_step(one) for one in body.fallback or ()],
        set_fallback=body.fallback is not None,
        kill_switches=[routes_pb2.KillSwitch(version=one.version, tenant=one.tenant) for one in body.kill_switches or ()],
        set_kill_switches=body.kill_switches is not None,
        frozen=body.frozen,
        edges=[
            routes_pb2.Backend(version=version, attempts=edge.attempts, try_timeout_seconds=edge.try_timeout_seconds)
            for version, edge in body.edges.items()
        ],
        options=write_options(http, body.reason),
    )
    if body.routing_key is not None:
        key = body.routing_key
        request.routing_key.CopyFrom(
            routes_pb2.RoutingKey(source=f"KEY_SOURCE_{key.source.upper()}", parameter=key.parameter, salt=key.salt)
        )
    return request


def _step(body: bodies.FallbackBody) -> routes_pb2.FallbackStep:
    if (bool(body.version), body.cached, bool(body.declared_response)).count(True) != 1:
        raise InvalidInput("a fallback step is a version, cached or a declared response: one of them", field="fallback")
    if body.version:
        return routes_pb2.FallbackStep(version=body.version)
    if body.cached:
        return routes_pb2.FallbackStep(cached=True)
    try:
        return routes_pb2.FallbackStep(declared_response=base64.b64decode(body.declared_response, validate=True))
    except binascii.Error:
        raise InvalidInput("declared_response is no base64", field="fallback") from None
