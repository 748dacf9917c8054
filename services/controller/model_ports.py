"""What the use cases need of the catalogue's models, versions, aliases and deployments."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.controller.deployment_values import Deployment, DeploymentStatus
from services.controller.model_values import Alias, Model, Version, VersionState


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Which part of a list is asked for: what comes after a key, in the list's order."""

    after: str = ""
    limit: int = 100


class Models(Protocol):
    """Models, by name."""

    async def get(self, name: str) -> Model | None:
        """Return the model of that name."""
        ...

    async def page(self, page: Page) -> tuple[Model, ...]:
        """Return models in the order of their names."""
        ...

    async def add(self, model: Model) -> None:
        """Add a new model."""
        ...

    async def replace(self, model: Model) -> None:
        """Write all fields of a model that is there."""
        ...


class Versions(Protocol):
    """Versions, by model and name; what they are never changes."""

    async def get(self, model: str, version: str) -> Version | None:
        """Return the version of that name."""
        ...

    async def named(self, model: str, versions: Collection[str]) -> Mapping[str, Version]:
        """Return those of a model's versions that are there, by name."""
        ...

    async def of(self, model: str) -> tuple[Version, ...]:
        """Return a model's versions, oldest first."""
        ...

    async def with_digest(self, digest: str) -> tuple[Version, ...]:
        """Return the versions with these files."""
        ...

    async def add(self, version: Version) -> None:
        """Add a new version."""
        ...

    async def set_state(self, model: str, version: str, state: VersionState, reason: str) -> None:
        """Change whether it may be deployed."""
        ...

    async def unchecked(self, before: float, damaged_before: float, limit: int) -> tuple[Version, ...]:
        """Return registered versions whose files were not looked at since a time, another one for damaged ones; the oldest look first."""
        ...

    async def damaged(self) -> tuple[Version, ...]:
        """Return registered versions whose files were not what they should be at the last look."""
        ...

    async def set_checked(self, model: str, version: str, time: float, damage: str) -> None:
        """Note that its files were looked at, and what was wrong with them."""
        ...

    async def set_healthy(self, model: str, version: str, time: float) -> None:
        """Note that a replica of it was ready, unless that is known."""
        ...


class Aliases(Protocol):
    """Other names of versions."""

    async def of(self, model: str) -> Mapping[str, str]:
        """Return a model's aliases with their versions."""
        ...

    async def put(self, alias: Alias) -> None:
        """Add or move one."""
        ...

    async def remove(self, model: str, alias: str) -> None:
        """Remove one; none of that name is no error."""
        ...


class Deployments(Protocol):
    """Deployments, by id."""

    async def get(self, deployment_id: str) -> Deployment | None:
        """Return the deployment of that id."""
        ...

    async def of(self, model: str) -> tuple[Deployment, ...]:
        """Return a model's deployments, oldest first."""
        ...

    async def in_status(self, statuses: Sequence[DeploymentStatus]) -> tuple[Deployment, ...]:
        """Return all deployments in these statuses, by id."""
        ...

    async def add(self, deployment: Deployment) -> None:
        """Add a new deployment."""
        ...

    async def replace(self, deployment: Deployment) -> None:
        """Write all fields of one that is there."""
        ...
