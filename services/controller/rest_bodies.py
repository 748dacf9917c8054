"""What the controller's HTTP API takes: strict, so that a misspelt field is an error and not a default."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

WHOLE = 10_000


def _basis_points(percent: float) -> float:
    if not 0 <= percent <= 100 or abs(percent * 100 - round(percent * 100)) > 1e-6:
        raise ValueError(f"{percent!r} is no percentage from 0 to 100 with at most two decimals")
    return percent


Percent = Annotated[float, Field(allow_inf_nan=False, strict=True), AfterValidator(_basis_points)]
"""A share of the traffic, from 0 to 100, with at most two decimals."""


def points(percent: float) -> int:
    """Return a percentage in basis points."""
    return round(percent * 100)


class Body(BaseModel):
    """Base of all bodies."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


class ResourcesBody(Body):
    """What a deployment needs."""

    gpu: str = Field(default="", max_length=63, examples=["A100"])
    replicas: int = Field(default=1, ge=1, le=1000)
    memory_bytes: int = Field(default=0, ge=0, lt=1 << 63)


class DeploymentBody(Body):
    """A version, and how to run it."""

    model_name: str = Field(max_length=255, examples=["fraud_detector"])
    version: str = Field(max_length=255, examples=["v3.1"])
    traffic_percent: Percent = 0.0
    resources: ResourcesBody = Field(default_factory=ResourcesBody)
    config: dict[str, Any] = Field(default_factory=dict[str, Any])
    reason: str = Field(default="", max_length=1000)


class DeploymentPatch(Body):
    """What is to change of a deployment; what is left out stays."""

    replicas: int | None = Field(default=None, ge=1, le=1000)
    config: dict[str, Any] | None = None
    reason: str = Field(default="", max_length=1000)


class FileBody(Body):
    """A file that was uploaded."""

    path: str = Field(max_length=255)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0, lt=1 << 63)


class VersionBody(Body):
    """A version to register: from uploaded files, or from a source that the controller reaches."""

    version: str = Field(default="", max_length=255)
    files: list[FileBody] = Field(default_factory=list[FileBody], max_length=10_000)
    source: str = Field(default="", max_length=2000, examples=["s3://bucket/fraud/3/"])
    description: str = Field(default="", max_length=10_000)
    owner: str = Field(default="", max_length=255)
    framework: str = Field(default="", max_length=255)
    metadata: dict[str, str] = Field(default_factory=dict[str, str], max_length=64)
    signature: str = Field(default="", max_length=88, description="Ed25519 over the model's name and the version's digest, in base64.")
    key_id: str = Field(default="", max_length=64, description="Name of the key that signed; empty leaves it to be found.")
    reason: str = Field(default="", max_length=1000)


class AliasBody(Body):
    """What an alias means."""

    version: str = Field(min_length=1, max_length=255)
    reason: str = Field(default="", max_length=1000)


class ReasonBody(Body):
    """Why, and nothing else."""

    reason: str = Field(default="", max_length=1000)


class RollbackBody(Body):
    """Where to go back to; empty for the shares of before."""

    model_name: str = Field(default="", max_length=255)
    to_version: str = Field(default="", max_length=255)
    reason: str = Field(default="", max_length=1000)
    wait_seconds: float = Field(default=5.0, ge=0, le=60, allow_inf_nan=False)


class PinBody(Body):
    """Which version a tenant gets."""

    version: str = Field(min_length=1, max_length=255)
    reason: str = Field(default="", max_length=1000)


class ShadowBody(Body):
    """Which version sees copies, and of how much."""

    version: str = Field(min_length=1, max_length=255)
    sample_percent: Percent = 10.0
    concurrency_limit: int = Field(default=8, ge=1, le=1024)
    reason: str = Field(default="", max_length=1000)


class RoutingKeyBody(Body):
    """Which key makes an assignment stick."""

    source: str = Field(pattern="^(request|tenant|user|session|parameter)$")
    parameter: str = Field(default="", max_length=255)
    salt: str = Field(default="", max_length=255)


class FallbackBody(Body):
    """One step: a version, the last cached answer, or a fixed one (base64 of a serialised ModelInferResponse)."""

    version: str = Field(default="", max_length=255)
    cached: bool = False
    declared_response: str = Field(default="", max_length=1 << 20)


class KillSwitchBody(Body):
    """A version that must not answer, or not one tenant."""

    version: str = Field(max_length=255)
    tenant: str = Field(default="", max_length=255)


class EdgeBody(Body):
    """What one request may cost on a version."""

    attempts: int = Field(default=0, ge=0, le=5)
    try_timeout_seconds: float = Field(default=0.0, ge=0, le=3600, allow_inf_nan=False)


class RouteBody(Body):
    """Parts of a route that are to be replaced; what is left out stays."""

    routing_key: RoutingKeyBody | None = None
    fallback: list[FallbackBody] | None = Field(default=None, max_length=16)
    kill_switches: list[KillSwitchBody] | None = Field(default=None, max_length=1000)
    frozen: bool | None = None
    edges: dict[str, EdgeBody] = Field(default_factory=dict[str, EdgeBody])
    reason: str = Field(default="", max_length=1000)


class TenantBody(Body):
    """A tenant's settings in the words of the tenants file; what is left out stays."""

    settings: dict[str, Any] | None = None
    frozen: bool | None = None
    reason: str = Field(default="", max_length=1000)


class KeyBody(Body):
    """A key to make."""

    life_seconds: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    reason: str = Field(default="", max_length=1000)


class FreezeBody(Body):
    """Whether every change but emergencies is refused."""

    frozen: bool
    reason: str = Field(default="", max_length=1000)


class ApplyBody(Body):
    """Documents of the wanted state, as text."""

    manifest: str
    reason: str = Field(default="", max_length=1000)


def as_text(settings: dict[str, Any] | None) -> str:
    """Return settings as the JSON that the service takes; empty where nothing is said of them, which leaves what stands."""
    return "" if settings is None else json.dumps(settings, sort_keys=True)
