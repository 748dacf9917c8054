"""Routes over the wire: shares, pins, shadows, fallbacks, rollbacks, and the routers' word on each."""

from __future__ import annotations

from penstock.contracts.errors import MalformedBody
from penstock.contracts.routes import SHADOW_CONCURRENCY, FallbackKind, FallbackStep, KeySource, KillSwitch, RoutingKey, Shadow
from penstock.v1 import controller_pb2 as pb
from penstock.v1 import routes_pb2
from services.controller.callers import Caller
from services.controller.changes import Outcome
from services.controller.rollback import Rollback
from services.controller.route_values import RouteRevision
from services.controller.routers import RouterConfirmation, Routers
from services.controller.servicer_messages import asked, change_message, confirmation_messages, route_message
from services.controller.traffic import Edge, RouteUpdate, Traffic

WAIT_SECONDS = 5.0
"""How long a change waits for the routers' word where the caller does not say."""

LONGEST_WAIT_SECONDS = 60.0


class TrafficServicer:
    """Answers what changes routes."""

    def __init__(self, traffic: Traffic, rollback: Rollback, routers: Routers) -> None:
        """Keep the use cases, and who confirms them."""
        self._traffic = traffic
        self._rollback = rollback
        self._routers = routers

    async def set_traffic(self, caller: Caller, request: pb.SetTrafficRequest) -> pb.SetTrafficResponse:
        """Share a model's traffic."""
        intent = caller.intent(asked(request.options))
        outcome = await self._traffic.set_weights(request.model, dict(request.basis_points), intent)
        return pb.SetTrafficResponse(
            route=route_message(outcome.value.route),
            change=change_message(outcome),
            confirmations=confirmation_messages(await self._confirmed(outcome, caller, request.wait_seconds)),
        )

    async def pin_tenant(self, caller: Caller, request: pb.PinTenantRequest) -> pb.PinTenantResponse:
        """Send a tenant to one version."""
        outcome = await self._traffic.pin(request.model, request.tenant, request.version, caller.intent(asked(request.options)))
        return pb.PinTenantResponse(
            route=route_message(outcome.value.route),
            change=change_message(outcome),
            confirmations=confirmation_messages(await self._confirmed(outcome, caller, request.wait_seconds)),
        )

    async def set_shadow(self, caller: Caller, request: pb.SetShadowRequest) -> pb.SetShadowResponse:
        """Copy traffic to a version, or end that."""
        shadow = _shadow(request.shadow) if request.HasField("shadow") and request.shadow.version else None
        outcome = await self._traffic.set_shadow(request.model, shadow, caller.intent(asked(request.options)))
        return pb.SetShadowResponse(
            route=route_message(outcome.value.route),
            change=change_message(outcome),
            confirmations=confirmation_messages(await self._confirmed(outcome, caller, request.wait_seconds)),
        )

    async def update_route(self, caller: Caller, request: pb.UpdateRouteRequest) -> pb.UpdateRouteResponse:
        """Replace parts of a route."""
        outcome = await self._traffic.update(request.model, _update(request), caller.intent(asked(request.options)))
        return pb.UpdateRouteResponse(
            route=route_message(outcome.value.route),
            change=change_message(outcome),
            confirmations=confirmation_messages(await self._confirmed(outcome, caller, request.wait_seconds)),
        )

    async def rollback(self, caller: Caller, request: pb.RollbackRequest) -> pb.RollbackResponse:
        """Put the previous backends back."""
        outcome = await self._rollback.roll_back(request.model, request.to_version, caller.intent(asked(request.options)))
        confirmed = await self._confirmed(outcome, caller, request.wait_seconds)
        times = [one.seconds for one in confirmed]
        return pb.RollbackResponse(
            route=route_message(outcome.value.route),
            change=change_message(outcome),
            confirmations=confirmation_messages(confirmed),
            elapsed_seconds=-1.0 if None in times else max((time for time in times if time is not None), default=0.0),
        )

    async def _confirmed(self, outcome: Outcome[RouteRevision], caller: Caller, wait_seconds: float) -> tuple[RouterConfirmation, ...]:
        if outcome.is_dry_run:
            return ()
        wait = min(wait_seconds or WAIT_SECONDS, LONGEST_WAIT_SECONDS)
        return await self._routers.confirmations(outcome.value.sequence, outcome.value.change_id, caller.arrived_at, wait)


def _shadow(message: routes_pb2.Shadow) -> Shadow:
    return Shadow(
        version=message.version,
        sample_basis_points=message.sample_basis_points,
        concurrency_limit=message.concurrency_limit_requests or SHADOW_CONCURRENCY,
    )


def _update(request: pb.UpdateRouteRequest) -> RouteUpdate:
    return RouteUpdate(
        routing_key=_routing_key(request.routing_key) if request.HasField("routing_key") else None,
        fallback=tuple(_step(step) for step in request.fallback) if request.set_fallback else None,
        kill_switches=(
            tuple(KillSwitch(version=one.version, tenant=one.tenant) for one in request.kill_switches)
            if request.set_kill_switches
            else None
        ),
        frozen=request.frozen if request.HasField("frozen") else None,
        edges={one.version: Edge(attempts=one.attempts, try_timeout_seconds=one.try_timeout_seconds) for one in request.edges} or None,
    )


def _routing_key(message: routes_pb2.RoutingKey) -> RoutingKey:
    try:
        source = KeySource(message.source or KeySource.REQUEST.value)
    except ValueError:
        raise MalformedBody(f"routing key source {message.source} is none that this controller knows") from None
    return RoutingKey(source=source, parameter=message.parameter, salt=message.salt)


def _step(message: routes_pb2.FallbackStep) -> FallbackStep:
    match message.WhichOneof("kind"):
        case "version":
            return FallbackStep(kind=FallbackKind.VERSION, version=message.version)
        case "cached":
            return FallbackStep(kind=FallbackKind.CACHED)
        case "declared_response":
            return FallbackStep(kind=FallbackKind.DECLARED, declared_response=message.declared_response)
        case _:
            raise MalformedBody("a fallback step names a version, the cached answer or a declared one")
