"""Models, versions, aliases and deployments in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import and_, delete, func, or_, update
from sqlalchemy.ext.asyncio import AsyncConnection

from services.controller import sql_schema as schema
from services.controller.deployment_values import Deployment, DeploymentStatus
from services.controller.model_ports import Page
from services.controller.model_values import Alias, Model, Version, VersionState
from services.controller.sql_tables import Rows


class SqlModels:
    """Models, by name."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection."""
        self._rows = Rows(connection, schema.models, Model)

    async def get(self, name: str) -> Model | None:
        """Return the model of that name."""
        return await self._rows.one(schema.models.c.name == name)

    async def page(self, page: Page) -> tuple[Model, ...]:
        """Return models in the order of their names."""
        name = schema.models.c.name
        return await self._rows.many(self._rows.query().where(name > page.after).order_by(name).limit(page.limit))

    async def add(self, model: Model) -> None:
        """Add a new model."""
        await self._rows.add(model)

    async def replace(self, model: Model) -> None:
        """Write all fields of a model that is there."""
        await self._rows.replace(model)


class SqlVersions:
    """Versions, by model and name."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection."""
        self._rows = Rows(connection, schema.versions, Version)

    async def get(self, model: str, version: str) -> Version | None:
        """Return the version of that name."""
        columns = schema.versions.c
        return await self._rows.one(columns.model == model, columns.version == version)

    async def named(self, model: str, versions: Collection[str]) -> Mapping[str, Version]:
        """Return those of a model's versions that are there, by name."""
        columns = schema.versions.c
        asked = self._rows.query().where(columns.model == model, columns.version.in_(versions))
        return {held.version: held for held in await self._rows.many(asked)}

    async def of(self, model: str) -> tuple[Version, ...]:
        """Return a model's versions, oldest first."""
        columns = schema.versions.c
        return await self._rows.many(self._rows.query().where(columns.model == model).order_by(columns.created_time, columns.version))

    async def with_digest(self, digest: str) -> tuple[Version, ...]:
        """Return the versions with these files."""
        columns = schema.versions.c
        return await self._rows.many(self._rows.query().where(columns.digest == digest).order_by(columns.model, columns.version))

    async def add(self, version: Version) -> None:
        """Add a new version."""
        await self._rows.add(version)

    async def set_state(self, model: str, version: str, state: VersionState, reason: str) -> None:
        """Change whether it may be deployed."""
        columns = schema.versions.c
        change = update(schema.versions).where(columns.model == model, columns.version == version)
        await self._rows.connection.execute(change.values(state=state, reason=reason))

    async def unchecked(self, before: float, damaged_before: float, limit: int) -> tuple[Version, ...]:
        """Return registered versions whose files were not looked at since a time, another one for damaged ones; the oldest look first."""
        columns = schema.versions.c
        looked = func.coalesce(columns.checked_time, columns.created_time)
        is_due = or_(looked < before, and_(columns.damage != "", looked < damaged_before))
        asked = self._rows.query().where(columns.state == VersionState.REGISTERED, is_due)
        return await self._rows.many(asked.order_by(looked, columns.model, columns.version).limit(limit))

    async def damaged(self) -> tuple[Version, ...]:
        """Return registered versions whose files were not what they should be at the last look."""
        columns = schema.versions.c
        asked = self._rows.query().where(columns.state == VersionState.REGISTERED, columns.damage != "")
        return await self._rows.many(asked.order_by(columns.model, columns.version))

    async def set_checked(self, model: str, version: str, time: float, damage: str) -> None:
        """Note that its files were looked at, and what was wrong with them."""
        columns = schema.versions.c
        change = update(schema.versions).where(columns.model == model, columns.version == version)
        await self._rows.connection.execute(change.values(checked_time=time, damage=damage))

    async def set_healthy(self, model: str, version: str, time: float) -> None:
        """Note that a replica of it was ready, unless that is known."""
        columns = schema.versions.c
        change = update(schema.versions).where(columns.model == model, columns.version == version, columns.healthy_time.is_(None))
        await self._rows.connection.execute(change.values(healthy_time=time))


class SqlAliases:
    """Other names of versions."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection."""
        self._rows = Rows(connection, schema.aliases, Alias)

    async def of(self, model: str) -> Mapping[str, str]:
        """Return a model's aliases with their versions."""
        columns = schema.aliases.c
        found = await self._rows.many(self._rows.query().where(columns.model == model).order_by(columns.alias))
        return {alias.alias: alias.version for alias in found}

    async def put(self, alias: Alias) -> None:
        """Add or move one."""
        await self._rows.put(alias)

    async def remove(self, model: str, alias: str) -> None:
        """Remove one; none of that name is no error."""
        columns = schema.aliases.c
        await self._rows.connection.execute(delete(schema.aliases).where(columns.model == model, columns.alias == alias))


class SqlDeployments:
    """Deployments, by id."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection."""
        self._rows = Rows(connection, schema.deployments, Deployment)

    async def get(self, deployment_id: str) -> Deployment | None:
        """Return the deployment of that id."""
        return await self._rows.one(schema.deployments.c.id == deployment_id)

    async def of(self, model: str) -> tuple[Deployment, ...]:
        """Return a model's deployments, oldest first."""
        columns = schema.deployments.c
        return await self._rows.many(self._rows.query().where(columns.model == model).order_by(columns.created_time, columns.id))

    async def in_status(self, statuses: Sequence[DeploymentStatus]) -> tuple[Deployment, ...]:
        """Return all deployments in these statuses, by id."""
        columns = schema.deployments.c
        return await self._rows.many(self._rows.query().where(columns.status.in_(statuses)).order_by(columns.id))

    async def add(self, deployment: Deployment) -> None:
        """Add a new deployment."""
        await self._rows.add(deployment)

    async def replace(self, deployment: Deployment) -> None:
        """Write all fields of one that is there."""
        await self._rows.replace(deployment)
