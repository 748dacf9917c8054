"""How shares of a route change. Pure: routes in, backends out.

Backends keep their order while their weights change, and new ones come last: the routing key's place on the line from 0 to WHOLE then
stays with its version as the candidate grows from 1 % to 5 %.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from penstock.contracts.names import version_order
from penstock.contracts.routes import WHOLE, Backend, FallbackKind, Route, Shadow
from services.controller.route_values import RouteRevision


def weighted(held: Sequence[Backend], weights: Mapping[str, int]) -> tuple[Backend, ...]:
    """Return backends with these weights in basis points; a version that is not named is none any more.

    The candidate takes its places from the end of the line: what is there keeps its order, what is new follows, oldest version first.

    Raises:
        InvalidInput: a weight is not within 0 and WHOLE, or a name is not valid.
    """
    kept = [replace(backend, weight_basis_points=weights[backend.version]) for backend in held if backend.version in weights]
    new = sorted(weights.keys() - {backend.version for backend in held}, key=version_order)
    return (*kept, *(Backend(version=version, weight_basis_points=weights[version]) for version in new))


def with_share(held: Sequence[Backend], version: str, share: int) -> tuple[Backend, ...]:
    """Return backends of which one has a share and the others split the rest as they did."""
    others = {backend.version: backend.weight_basis_points for backend in held if backend.version != version}
    return weighted(held, {**_split(WHOLE - share, others), version: share})


def first_route(model: str, version: str) -> Route:
    """Return the route of a model whose first version is ready."""
    return Route(model=model, backends=(Backend(version=version, weight_basis_points=WHOLE),))


def without(route: Route, version: str) -> Route | None:
    """Return the route that sends nobody to a version; None when nobody is left to answer.

    Kill switches stay: caches still hold the version's answers, and it may be deployed again.
    """
    others = {backend.version: backend.weight_basis_points for backend in route.backends if backend.version != version}
    if not any(others.values()):
        return None
    backends = weighted(route.backends, _split(WHOLE, others))
    return replace(
        route,
        backends=backends,
        pins={tenant: pinned for tenant, pinned in route.pins.items() if pinned != version},
        shadow=None if route.shadow is None or route.shadow.version == version else shadow_beside(backends, route.shadow),
        fallback=tuple(step for step in route.fallback if step.kind is not FallbackKind.VERSION or step.version != version),
    )


def shadow_beside(backends: Iterable[Backend], shadow: Shadow | None) -> Shadow | None:
    """Return the shadow; None where its version has all the traffic, for it would see copies of its own."""
    return None if shadow is None or shares(backends) == {shadow.version: WHOLE} else shadow


def route_versions(route: Route) -> frozenset[str]:
    """Return every version that a route may send somebody to."""
    named = {backend.version for backend in route.backends} | set(route.pins.values())
    named |= {step.version for step in route.fallback if step.kind is FallbackKind.VERSION}
    return frozenset(named | ({route.shadow.version} if route.shadow else set()))


def shares(backends: Iterable[Backend]) -> Mapping[str, int]:
    """Return who gets how much; what gets nothing is left out."""
    return {backend.version: backend.weight_basis_points for backend in backends if backend.weight_basis_points}


def previous(history: Iterable[RouteRevision], current: Route) -> RouteRevision | None:
    """Return the newest revision whose shares differ from the current ones; a rollback of a rollback so finds what the first one left."""
    mine = shares(current.backends)
    return next((held for held in history if held.route is not None and shares(held.route.backends) != mine), None)


def previous_backends(held: Route | None, new: Route) -> tuple[Backend, ...]:
    """Return whom a rollback of the new route leads back to, as `previous` would find it in the history; empty for nobody."""
    if held is None:
        return new.previous
    return held.previous if shares(held.backends) == shares(new.backends) else held.backends


def _split(whole: int, weights: Mapping[str, int]) -> dict[str, int]:
    # Largest remainders, so that the parts sum to the whole; of equal remainders the earlier backend's goes first.
    total = sum(weights.values())
    if total == 0:
        first = next(iter(weights), None)
        return {version: whole if version == first else 0 for version in weights}
    parts = {version: whole * weight // total for version, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda version: -(whole * weights[version] % total))
    for version in by_remainder[: whole - sum(parts.values())]:
        parts[version] += 1
    return parts
