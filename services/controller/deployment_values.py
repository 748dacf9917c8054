"""What the catalogue knows of deployments: a version plus how it is run, and how far that has come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from penstock.contracts.artefacts import configured_digest
from services.controller.documents import canonical


class DeploymentStatus(Enum):
    """How far a deployment has come."""

    DEPLOYING = "deploying"
    ACTIVE = "active"
    """As many replicas as are wanted have been ready with the files and the configuration that it has now."""
    DRAINING = "draining"
    RETIRED = "retired"
    FAILED = "failed"


STEPS: Mapping[DeploymentStatus, frozenset[DeploymentStatus]] = {
    DeploymentStatus.DEPLOYING: frozenset({DeploymentStatus.ACTIVE, DeploymentStatus.FAILED, DeploymentStatus.DRAINING}),
    DeploymentStatus.ACTIVE: frozenset({DeploymentStatus.DEPLOYING, DeploymentStatus.FAILED, DeploymentStatus.DRAINING}),
    DeploymentStatus.DRAINING: frozenset({DeploymentStatus.RETIRED}),
    DeploymentStatus.RETIRED: frozenset(),
    DeploymentStatus.FAILED: frozenset({DeploymentStatus.DEPLOYING, DeploymentStatus.RETIRED}),
}
"""Every step that a deployment may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one replica asks for; zeros mean what was measured."""

    memory_bytes: int = 0
    cpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSpec:
    """What is to be deployed, and how."""

    model: str
    version: str
    replicas: int = 1
    gpu_type: str = ""
    resources: Resources = field(default_factory=Resources)
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    traffic_basis_points: int = 0
    digest: str = ""
    """Files that the caller means; empty when it does not mind."""
    feature_schema_hash: str = ""
    """Feature schema that will be served to it; empty when it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What is to change of a deployment; None leaves it."""

    replicas: int | None = None
    config: Mapping[str, object] | None = None
    resources: Resources | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A version plus how to run it; `revision` grows with every change."""

    id: str
    model: str
    version: str
    digest: str = ""
    status: DeploymentStatus = DeploymentStatus.DEPLOYING
    revision: int = 1
    replicas: int = 1
    gpu_type: str = ""
    """Kind of accelerator that a replica needs, for example `nvidia-l4`; empty for none."""
    resources: Resources = field(default_factory=Resources)
    config: Mapping[str, object] = field(default_factory=dict[str, object])
    """Settings that replace those of the version, in the vocabulary of model.toml."""
    traffic_basis_points: int = 0
    """Share of the model's traffic that it gets when it becomes active; the first deployment of a model gets all."""
    reason: str = ""
    """Why it failed, or what it waits for."""
    created_by: str = ""
    created_time: float = 0.0
    changed_time: float = 0.0
    placed_time: float | None = None
    """First time at which every replica had a worker."""
    ready_time: float | None = None
    """First time at which enough replicas were ready; None again when it has failed."""

    @property
    def is_wanted(self) -> bool:
        """Whether workers are to hold it for traffic."""
        return self.status in {DeploymentStatus.DEPLOYING, DeploymentStatus.ACTIVE}

    @property
    def config_json(self) -> str:
        """Its settings as workers are told them; empty for none."""
        return canonical(self.config) if self.config else ""

    @property
    def loaded_digest(self) -> str:
        """The digest of a replica that runs it as it is wanted now."""
        return configured_digest(self.digest, self.config_json)

    @property
    def may_answer(self) -> bool:
        """Whether traffic may be given to it: it is active, or goes on serving while a change of it is rolled through the fleet."""
        return self.status is DeploymentStatus.ACTIVE or (self.status is DeploymentStatus.DEPLOYING and self.ready_time is not None)

    @property
    def is_over(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.status in {DeploymentStatus.RETIRED, DeploymentStatus.FAILED}

    def may_become(self, status: DeploymentStatus) -> bool:
        """Whether a step to that status exists."""
        return status in STEPS[self.status]
