"""Decides what it takes to make a model be as a manifest wishes. Pure: the wish and what stands go in, steps come out.

Versions are deployed and named first. The route is changed only towards versions that are ready: what waits for one is said, and the same
manifest applied again does the rest. A version that comes up gets the share that its deployment names by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from penstock.contracts.routes import WHOLE, FallbackKind, FallbackStep, Route, RoutingKey, Shadow
from services.controller.deployment_values import Deployment, DeploymentSpec, DeploymentStatus, Resources, Scaling
from services.controller.manifest_values import VersionWish, Wish
from services.controller.traffic_plan import shares, with_share


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldModel:
    """What stands of a model."""

    deployments: tuple[Deployment, ...] = ()
    route: Route | None = None
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def ready(self) -> frozenset[str]:
        """Versions that can answer."""
        return frozenset(each.version for each in self.deployments if each.may_answer)

    def deployment(self, version: str) -> Deployment | None:
        """Return the deployment of a version that is wanted, or failed and may be tried again."""
        found = [each for each in self.deployments if each.version == version]
        return next((each for each in found if each.is_wanted), None) or next(
            (each for each in found if each.status is DeploymentStatus.FAILED), None
        )

    def draining(self, version: str) -> Deployment | None:
        """Return the deployment of a version that is on its way out."""
        return next((each for each in self.deployments if each.version == version and each.status is DeploymentStatus.DRAINING), None)

    @property
    def alone(self) -> str:
        """The version that has all the traffic; empty when there is none."""
        backends = self.route.backends if self.route is not None else ()
        return next((each.version for each in backends if each.weight_basis_points == WHOLE), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """A version is brought up."""

    spec: DeploymentSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """A deployment runs otherwise."""

    deployment_id: str
    scaling: Scaling


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """An alias is set; an empty version takes it away."""

    alias: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The traffic is shared anew."""

    weights: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """A tenant is sent to a version; an empty one takes the pin away."""

    tenant: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shade:
    """A shadow begins or ends."""

    shadow: Shadow | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """Other parts of the route are replaced; None leaves a part."""

    routing_key: RoutingKey | None
    fallback: tuple[FallbackStep, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Something cannot be done yet."""

    what: str


Step = Deploy | Scale | Name | Share | Pin | Shade | Update | Wait


def steps_to(wish: Wish, held: HeldModel) -> tuple[Step, ...]:
    """Return the steps, in order; none but waits when everything is so already."""
    weights = _weights(wish, held)
    steps: list[Step] = [step for version in wish.versions for step in _deploying(wish, version, held)]
    steps += _naming(wish, held)
    sharing = tuple(_sharing(wish, weights, held))
    if held.route is not None and any(_promotes_shadow(wish, step, held.route) for step in sharing):
        steps.append(Shade(shadow=None))
        held = replace(held, route=replace(held.route, shadow=None))
    steps += sharing
    has_route = held.route is not None or any(isinstance(step, Share) for step in steps)
    # What cannot be beside the shares of now may be beside those that are wanted.
    held_up = held.alone if any(isinstance(step, Wait) for step in sharing) else ""
    return (*steps, *_routing(wish, held, held_up, has_route=has_route))


def _weights(wish: Wish, held: HeldModel) -> Mapping[str, int] | None:
    if any(one.basis_points is None for one in wish.versions) and all(one.basis_points is None for one in wish.versions):
        return None
    if wish.is_canary and held.route is not None:
        only = wish.versions[0]
        return shares(with_share(held.route.backends, only.version, only.basis_points or 0))
    if wish.is_canary:
        return {wish.versions[0].version: WHOLE}
    return {one.version: one.basis_points or 0 for one in wish.versions}


def _deploying(wish: Wish, wanted: VersionWish, held: HeldModel) -> Iterator[Step]:
    there = held.deployment(wanted.version)
    if there is None and (leaving := held.draining(wanted.version)):
        yield Wait(what=f"{wish.model}@{wanted.version} waits until its deployment {leaving.id}, which drains, is retired")
        return
    if there is None:
        spec = DeploymentSpec(
            model=wish.model,
            version=wanted.version,
            replicas=wanted.replicas or 1,
            gpu_type=wanted.gpu_type or "",
            resources=wanted.resources or Resources(),
            config=wanted.config or {},
            traffic_basis_points=wanted.basis_points or 0,
        )
        yield Deploy(spec=spec)
        return
    if wanted.gpu_type is not None and wanted.gpu_type != there.gpu_type:
        yield Wait(what=f"{wish.model}@{wanted.version} runs with the GPU type {there.gpu_type!r}: delete its deployment to change that")
    resources = None if wanted.resources == there.resources else wanted.resources
    config = None if wanted.config == there.config else wanted.config
    replicas = None if wanted.replicas == there.replicas else wanted.replicas
    if resources is not None or config is not None or replicas is not None or there.status is DeploymentStatus.FAILED:
        yield Scale(deployment_id=there.id, scaling=Scaling(replicas=replicas, config=config, resources=resources))


def _naming(wish: Wish, held: HeldModel) -> Iterator[Step]:
    if wish.aliases is None:
        return
    for alias in sorted(held.aliases.keys() - wish.aliases.keys()):
        yield Name(alias=alias, version="")
    for alias, version in sorted(wish.aliases.items()):
        if held.aliases.get(alias) != version:
            yield Name(alias=alias, version=version)


def _sharing(wish: Wish, weights: Mapping[str, int] | None, held: HeldModel) -> Iterator[Step]:
    if weights is None or (held.route is not None and _shares_of(weights) == dict(shares(held.route.backends))):
        return
    if wish.is_canary and sum(weights.values()) < WHOLE:
        only = wish.versions[0].version
        yield Wait(what=f"{only} keeps all the traffic of {wish.model}, for nobody else has a share: `penstock traffic set` gives one")
        return
    if waiting := sorted(version for version, points in weights.items() if points and version not in held.ready):
        yield Wait(what=f"the traffic of {wish.model} waits until {', '.join(waiting)} is ready")
    else:
        yield Share(weights=_shares_of(weights))


def _promotes_shadow(wish: Wish, step: Step, route: Route) -> bool:
    """Whether a step gives all the traffic to the shadow, of which the manifest says something else."""
    if wish.shadow is None or route.shadow is None or not isinstance(step, Share):
        return False
    return step.weights.get(route.shadow.version) == WHOLE


def _routing(wish: Wish, held: HeldModel, held_up: str, *, has_route: bool) -> Iterator[Step]:
    if wish.routing_key is None and wish.fallback is None and wish.shadow is None and wish.pins is None:
        return
    if not has_route:
        yield Wait(what=f"routing key, pins, shadow and fallback of {wish.model} wait until a version has its traffic")
        return
    route = held.route
    key = None if route is not None and wish.routing_key == route.routing_key else wish.routing_key
    fallback = None if wish.fallback == (route.fallback if route is not None else ()) else wish.fallback
    named = [step.version for step in fallback or () if step.kind is FallbackKind.VERSION]
    if waits := _unready(wish, "the fallback", named, held) or _beside_itself(wish, "the fallback", named, held_up):
        yield waits
        fallback = None
    if key is not None or fallback is not None:
        yield Update(routing_key=key, fallback=fallback)
    yield from _shading(wish, held, held_up)
    yield from _pinning(wish, held)


def _shading(wish: Wish, held: HeldModel, held_up: str) -> Iterator[Step]:
    wanted = wish.shadow
    if wanted is None or wanted.shadow == (held.route.shadow if held.route is not None else None):
        return
    named = [wanted.shadow.version] if wanted.shadow else []
    waits = _unready(wish, "the shadow", named, held) or _beside_itself(wish, "the shadow", named, held_up)
    yield waits or Shade(shadow=wanted.shadow)


def _pinning(wish: Wish, held: HeldModel) -> Iterator[Step]:
    if wish.pins is None:
        return
    pins = held.route.pins if held.route is not None else {}
    for tenant in sorted(pins.keys() - wish.pins.keys()):
        yield Pin(tenant=tenant, version="")
    for tenant, version in sorted(wish.pins.items()):
        if pins.get(tenant) != version:
            yield _unready(wish, f"the pin of {tenant}", [version], held) or Pin(tenant=tenant, version=version)


def _unready(wish: Wish, what: str, versions: list[str], held: HeldModel) -> Wait | None:
    waiting = sorted(set(versions) - held.ready)
    return Wait(what=f"{what} of {wish.model} waits until {', '.join(waiting)} is ready") if waiting else None


def _beside_itself(wish: Wish, what: str, versions: list[str], held_up: str) -> Wait | None:
    is_so = bool(held_up) and held_up in versions
    return Wait(what=f"{what} of {wish.model} waits until {held_up} has not all the traffic any more") if is_so else None


def _shares_of(weights: Mapping[str, int]) -> dict[str, int]:
    return {version: points for version, points in weights.items() if points}
