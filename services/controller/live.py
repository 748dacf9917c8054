"""What is live now, read in one look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.contracts.routes import Route
from services.controller.deployment_values import Deployment, DeploymentStatus
from services.controller.model_ports import Page
from services.controller.model_values import Model, Version
from services.controller.ports import Catalogue, Unit
from services.controller.registry import known_model
from services.controller.route_values import RouteRevision
from services.controller.tenant_values import ApiKey, Tenant

ALIVE = tuple(status for status in DeploymentStatus if status is not DeploymentStatus.RETIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveModel:
    """A model with everything that belongs to it."""

    model: Model
    versions: tuple[Version, ...]
    aliases: Mapping[str, str]
    deployments: tuple[Deployment, ...]
    """The retired ones left out."""
    route: Route | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedTenant:
    """A tenant with its keys."""

    tenant: Tenant
    keys: tuple[ApiKey, ...]


class Live:
    """Answers questions; changes nothing."""

    def __init__(self, catalogue: Catalogue) -> None:
        """Keep where it stands."""
        self._catalogue = catalogue

    async def model(self, name: str) -> LiveModel:
        """Return one model.

        Raises:
            ModelNotFound: there is none.
        """
        async with self._catalogue.reading() as unit:
            return await _live(unit, await known_model(unit, name))

    async def models(self, page: Page) -> tuple[LiveModel, ...]:
        """Return models by name."""
        async with self._catalogue.reading() as unit:
            return tuple([await _live(unit, model) for model in await unit.models.page(page)])

    async def deployments(self, model: str = "", *, retired: bool = False) -> tuple[Deployment, ...]:
        """Return deployments, of one model or of all, newest first."""
        statuses = tuple(DeploymentStatus) if retired else ALIVE
        async with self._catalogue.reading() as unit:
            found = await (unit.deployments.of(model) if model else unit.deployments.in_status(statuses))
        chosen = [each for each in found if each.status in statuses]
        return tuple(sorted(chosen, key=lambda each: (each.created_time, each.id), reverse=True))

    async def routes(self) -> tuple[RouteRevision, ...]:
        """Return the newest revision of every model that has a route."""
        async with self._catalogue.reading() as unit:
            return tuple(held for held in await unit.routes.all_latest() if held.route is not None)

    async def route_history(self, model: str, limit: int = 100) -> tuple[RouteRevision, ...]:
        """Return a model's revisions, newest first."""
        async with self._catalogue.reading() as unit:
            return await unit.routes.history(model, limit)

    async def routes_since(self, sequence: int, limit: int = 1_000) -> tuple[RouteRevision, ...]:
        """Return the routes that changed after a number of the outbox, oldest first."""
        async with self._catalogue.reading() as unit:
            return await unit.routes.since(sequence, limit)

    async def tenants(self) -> tuple[KeyedTenant, ...]:
        """Return all tenants with their keys, by name."""
        async with self._catalogue.reading() as unit:
            return tuple([KeyedTenant(tenant=one, keys=await unit.keys.of(one.name)) for one in await unit.tenants.all()])

    async def unpublished(self) -> int:
        """Return how many messages wait for the bus."""
        async with self._catalogue.reading() as unit:
            return await unit.outbox.count()


async def _live(unit: Unit, model: Model) -> LiveModel:
    held = await unit.routes.latest(model.name)
    return LiveModel(
        model=model,
        versions=await unit.versions.of(model.name),
        aliases=await unit.aliases.of(model.name),
        deployments=tuple(each for each in await unit.deployments.of(model.name) if each.status in ALIVE),
        route=held.route if held else None,
    )
