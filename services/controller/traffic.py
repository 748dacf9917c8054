"""Who answers for a model: shares, pins, shadows, fallbacks, kill switches and the freeze. Each change is one revision of the route."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from penstock.contracts.errors import InvalidInput
from penstock.contracts.routes import Backend, FallbackStep, KillSwitch, Route, RoutingKey, Shadow
from services.controller.changes import Changes, Command, Intent, Made, Outcome, Writing, check_revision
from services.controller.documents import to_document
from services.controller.ports import Unit
from services.controller.route_values import RouteRevision
from services.controller.route_writing import begun_route, held_route, write_route
from services.controller.traffic_checks import check_answering, check_fallback, check_known, check_tenants
from services.controller.traffic_plan import weighted

NUMBERS = frozenset({"revision", "writer_epoch", "sequence", "change_id", "changed_time", "previous"})
"""Fields of a route that say when it was written and what was before, not what it does."""

Alter = Callable[[Unit, Route], Awaitable[Route]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What one request may cost on a version; zeros mean the router's defaults."""

    attempts: int = 0
    try_timeout_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteUpdate:
    """Parts of a route that are to be replaced; None leaves a part."""

    routing_key: RoutingKey | None = None
    fallback: tuple[FallbackStep, ...] | None = None
    kill_switches: tuple[KillSwitch, ...] | None = None
    frozen: bool | None = None
    edges: Mapping[str, Edge] | None = None

    @property
    def is_emergency(self) -> bool:
        """Whether it only takes away or gives back, and so is done while writes are frozen."""
        return self.routing_key is None and self.fallback is None and self.edges is None


class Traffic:
    """Changes routes."""

    def __init__(self, changes: Changes) -> None:
        """Keep the way to write."""
        self._changes = changes

    async def set_weights(self, model: str, weights: Mapping[str, int], intent: Intent) -> Outcome[RouteRevision]:
        """Share a model's traffic: basis points by version, which sum to WHOLE; a model's first route is made so too.

        Raises:
            InvalidInput: the weights do not sum to WHOLE.
            ModelNotFound, VersionNotFound: a version is not registered.
            Conflict: a version that is to get traffic cannot answer; the revision is stale.
        """

        async def work(writing: Writing) -> Made[RouteRevision]:
            held = await writing.unit.routes.latest(model)
            check_revision(intent, held.revision if held else 0, held)
            old = held.route if held else None
            backends = weighted(old.backends if old else (), weights)
            new = replace(old, backends=backends) if old else await begun_route(writing.unit, Route(model=model, backends=backends))
            await check_known(writing.unit, model, (version for version, weight in weights.items() if not weight))
            await check_answering(writing.unit, model, (version for version, weight in weights.items() if weight))
            return await next_revision(writing, held, new)

        command = Command(action="traffic.set", answer=RouteRevision, subject=f"model/{model}", request=dict(weights))
        return await self._changes.make(intent, command, work)

    async def pin(self, model: str, tenant: str, version: str, intent: Intent) -> Outcome[RouteRevision]:
        """Send a tenant to one version whatever the weights are; an empty version takes the pin away.

        Raises:
            NotFound: the model has no route, or the tenant or version is unknown.
            Conflict: the version cannot answer; the revision is stale.
        """

        async def alter(unit: Unit, route: Route) -> Route:
            others = {name: pinned for name, pinned in route.pins.items() if name != tenant}
            if not version:
                return replace(route, pins=others)
            await check_tenants(unit, [tenant])
            await check_answering(unit, model, [version])
            return replace(route, pins=others | {tenant: version})

        command = Command(
            action="traffic.pin", answer=RouteRevision, subject=f"model/{model}", request={"tenant": tenant, "version": version}
        )
        return await self._alter(model, intent, command, alter)

    async def set_shadow(self, model: str, shadow: Shadow | None, intent: Intent) -> Outcome[RouteRevision]:
        """Copy a sample of the traffic to a version whose answers nobody sees; None ends it.

        Raises:
            InvalidInput: the version has all the traffic itself.
            NotFound: the model has no route, or the version is unknown.
            Conflict: the version cannot answer; the revision is stale.
        """

        async def alter(unit: Unit, route: Route) -> Route:
            if shadow is not None:
                await check_answering(unit, model, [shadow.version])
            return replace(route, shadow=shadow)

        command = Command(action="traffic.shadow", answer=RouteRevision, subject=f"model/{model}", request=shadow)
        return await self._alter(model, intent, command, alter)

    async def update(self, model: str, update: RouteUpdate, intent: Intent) -> Outcome[RouteRevision]:
        """Replace parts of a route; kill switches and the freeze are done while writes are frozen, too.

        Raises:
            InvalidInput: a fallback leads nowhere; a limit is of a version that is no backend.
            NotFound: the model has no route, or a version or tenant is unknown.
            Conflict: a fallback cannot answer; the revision is stale.
        """

        async def alter(unit: Unit, route: Route) -> Route:
            return await _updated(unit, route, update)

        command = Command(
            action="route.update",
            answer=RouteRevision,
            subject=f"model/{model}",
            request=update,
            is_emergency=update.is_emergency,
        )
        return await self._alter(model, intent, command, alter)

    async def _alter(self, model: str, intent: Intent, command: Command[RouteRevision], alter: Alter) -> Outcome[RouteRevision]:
        async def work(writing: Writing) -> Made[RouteRevision]:
            held, route = await held_route(writing.unit, model)
            check_revision(intent, held.revision, held)
            return await next_revision(writing, held, await alter(writing.unit, route))

        return await self._changes.make(intent, command, work)


async def next_revision(
    writing: Writing, held: RouteRevision | None, route: Route | None, *, rolled_back_from: int = 0
) -> Made[RouteRevision]:
    """Write a route as the next revision, unless it does what the held one does."""
    before = said(held.route) if held else None
    after = said(route)
    if held is not None and before == after:
        return Made(value=held, before=before, after=after)
    written = await write_route(writing, held, route, rolled_back_from=rolled_back_from)
    return Made(value=written, before=before, after=said(written.route), revision=written.revision)


def said(route: Route | None) -> Mapping[str, object] | None:
    """Return what a route does, without the numbers that say when it was written."""
    if route is None:
        return None
    return {name: held for name, held in to_document(route).items() if name not in NUMBERS}


async def _updated(unit: Unit, route: Route, update: RouteUpdate) -> Route:
    switches = route.kill_switches if update.kill_switches is None else update.kill_switches
    edges = update.edges or {}
    new = replace(
        route,
        routing_key=update.routing_key or route.routing_key,
        fallback=route.fallback if update.fallback is None else update.fallback,
        kill_switches=switches,
        frozen=route.frozen if update.frozen is None else update.frozen,
        backends=tuple(_edged(backend, edges.get(backend.version)) for backend in route.backends),
    )
    await check_known(unit, route.model, [*edges, *(switch.version for switch in update.kill_switches or ())])
    if strange := sorted(edges.keys() - {backend.version for backend in route.backends}):
        raise InvalidInput(f"version {strange[0]!r} is no backend of model {route.model!r}: give it a share first", field="edges")
    await check_tenants(unit, (switch.tenant for switch in update.kill_switches or ()))
    if update.fallback is not None:
        await check_fallback(unit, new)
    return new


def _edged(backend: Backend, edge: Edge | None) -> Backend:
    if edge is None:
        return backend
    return replace(backend, attempts=edge.attempts, try_timeout_seconds=edge.try_timeout_seconds)
