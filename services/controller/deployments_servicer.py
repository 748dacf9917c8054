"""Deployments over the wire: what runs, how much of it, and why it stands where it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, cast

from penstock.contracts.errors import InvalidInput, RequestTooLarge
from penstock.contracts.worker_status import WorkerStatus
from penstock.v1 import controller_pb2 as pb
from services.controller.callers import Caller
from services.controller.deployment_values import Deployment, DeploymentSpec, DeploymentStatus, Resources, Scaling
from services.controller.deployments import Deployments, Fleet
from services.controller.fleet import replicas_of
from services.controller.json_text import document_in
from services.controller.placement_values import Plan
from services.controller.ports import Catalogue, Unit
from services.controller.servicer_messages import asked, asked_anew, change_message, deployment_message, placement_message

MOST_CONFIG_BYTES = 1 << 20


class Planner(Protocol):
    """Knows where replicas go; `services.controller.placement.PlacementRounds` is one."""

    async def plan(self) -> Plan:
        """Return what would be done now."""
        ...


class DeploymentsServicer:
    """Answers what is about deployments."""

    def __init__(self, deployments: Deployments, catalogue: Catalogue, fleet: Fleet, planner: Planner) -> None:
        """Keep the use case, what it has written, what workers report, and who places."""
        self._deployments = deployments
        self._planner = planner
        self._catalogue = catalogue
        self._fleet = fleet

    async def create_deployment(self, caller: Caller, request: pb.CreateDeploymentRequest) -> pb.CreateDeploymentResponse:
        """Deploy a version."""
        intent = caller.intent(asked_anew(request.options, "a new deployment"))
        spec = DeploymentSpec(
            model=request.model,
            version=request.version,
            replicas=request.replicas or 1,
            gpu_type=request.gpu_type,
            resources=Resources(memory_bytes=request.memory_bytes),
            config=config_of(request.config_json),
            traffic_basis_points=request.traffic_basis_points,
        )
        outcome = await self._deployments.create(spec, intent)
        plan = await self._planner.plan()
        return pb.CreateDeploymentResponse(
            deployment=await self._told(outcome.value),
            change=change_message(outcome),
            placements=[placement_message(one) for one in plan.of(outcome.value.id)],
        )

    async def list_deployments(self, _: Caller, request: pb.ListDeploymentsRequest) -> pb.ListDeploymentsResponse:
        """List deployments, newest first."""
        async with self._catalogue.reading() as unit:
            found = await unit.deployments.of(request.model) if request.model else await unit.deployments.in_status(list(DeploymentStatus))
            wanted = [one for one in found if request.retired or one.status is not DeploymentStatus.RETIRED]
            wanted.sort(key=lambda one: (one.created_time, one.id), reverse=True)
            return pb.ListDeploymentsResponse(deployments=await deployment_messages(unit, wanted, self._fleet.workers()))

    async def update_deployment(self, caller: Caller, request: pb.UpdateDeploymentRequest) -> pb.UpdateDeploymentResponse:
        """Change how a deployment runs."""
        scaling = Scaling(replicas=request.replicas or None, config=config_of(request.config_json) if request.config_json else None)
        outcome = await self._deployments.scale(request.deployment_id, scaling, caller.intent(asked(request.options)))
        return pb.UpdateDeploymentResponse(deployment=await self._told(outcome.value), change=change_message(outcome))

    async def delete_deployment(self, caller: Caller, request: pb.DeleteDeploymentRequest) -> pb.DeleteDeploymentResponse:
        """Take a deployment away."""
        intent = caller.intent(asked(request.options))
        outcome = await self._deployments.delete(request.deployment_id, intent, force=request.force)
        return pb.DeleteDeploymentResponse(deployment=await self._told(outcome.value), change=change_message(outcome))

    async def plan_placement(self, _: Caller, request: pb.PlanPlacementRequest) -> pb.PlanPlacementResponse:
        """Show where every replica stands or would go, and why."""
        plan = await self._planner.plan()
        wanted = [one for one in plan.placements if request.model in ("", one.model)]
        return pb.PlanPlacementResponse(placements=[placement_message(one) for one in wanted])

    async def _told(self, deployment: Deployment) -> pb.Deployment:
        async with self._catalogue.reading() as unit:
            return (await deployment_messages(unit, [deployment], self._fleet.workers()))[0]


async def deployment_messages(unit: Unit, found: Sequence[Deployment], workers: Sequence[WorkerStatus]) -> list[pb.Deployment]:
    """Return deployments with the replicas that are ready and their shares of the traffic."""
    routes = {revision.model: revision.route for revision in await unit.routes.all_latest()} if len(found) > 1 else {}
    if len(found) == 1:
        held = await unit.routes.latest(found[0].model)
        routes = {found[0].model: held.route if held else None}
    return [
        deployment_message(
            one,
            ready=sum(replica.is_ready for replica in replicas_of(workers, one.model, one.version)) if not one.is_over else 0,
            route=routes.get(one.model),
        )
        for one in found
    ]


def config_of(text: str) -> Mapping[str, object]:
    """Return the settings of a deployment.

    Raises:
        MalformedBody: the text is no JSON.
        InvalidInput: it is no object, or too long.
    """
    return _object(text, "the configuration", "model.toml", field="config_json")


def settings_of(text: str) -> Mapping[str, object]:
    """Return the settings of a tenant.

    Raises:
        MalformedBody: the text is no JSON.
        InvalidInput: it is no object, or too long.
    """
    return _object(text, "the text of the settings", "the tenants file", field="settings_json")


def _object(text: str, what: str, words: str, *, field: str) -> Mapping[str, object]:
    if not text:
        return {}
    if len(text) > MOST_CONFIG_BYTES:
        raise RequestTooLarge(f"{what} has {len(text)} characters, the limit is {MOST_CONFIG_BYTES}", field=field)
    found: Any = document_in(text, what, field=field)
    if not isinstance(found, dict):
        raise InvalidInput(f"{what} is a JSON object, in the words of {words}", reason="BAD_JSON", field=field)
    return cast("dict[str, object]", found)
