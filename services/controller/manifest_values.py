"""What a manifest asks for, of one model; None leaves what stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.contracts.routes import FallbackStep, RoutingKey, Shadow
from services.controller.deployment_values import Resources


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionWish:
    """A version that is to run, and how."""

    version: str
    """Empty when `source` says which."""
    source: str = ""
    """URL that the version was registered from."""
    basis_points: int | None = None
    """Share of the model's traffic; None where the document shares none."""
    replicas: int | None = None
    gpu_type: str | None = None
    resources: Resources | None = None
    config: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowWish:
    """A shadow, or that there is to be none."""

    shadow: Shadow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One document: a model as it is to be. Versions that it does not name keep running, without traffic, for a rollback to find."""

    model: str
    versions: tuple[VersionWish, ...]
    is_canary: bool = False
    """The one version takes its share from those that have the traffic, who split the rest as they did."""
    routing_key: RoutingKey | None = None
    pins: Mapping[str, str] | None = None
    shadow: ShadowWish | None = None
    fallback: tuple[FallbackStep, ...] | None = None
    aliases: Mapping[str, str] | None = None
