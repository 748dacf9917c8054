"""Decides the route that an operator signs. Pure: the record in force and a version go in, the next revision comes out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from penstock.contracts.errors import Conflict, NotFound
from penstock.contracts.route_records import RouteRecord, supersedes
from penstock.contracts.routes import WHOLE, Backend, FallbackKind, Route

EVERYBODY = ""
"""Tenant of a kill switch that is meant for all."""


def newest(records: Iterable[RouteRecord], model: str) -> Route:
    """Return the route in force among what several places say of it.

    Raises:
        NotFound: none of them has a route of the model.
    """
    held: RouteRecord | None = None
    for record in records:
        if record.route is not None and record.route.model == model and supersedes(record, held):
            held = record
    if held is None or held.route is None:
        raise NotFound(f"no router has a route of model {model[:80]!r}", reason="ROUTE_NOT_FOUND")
    return held.route


def given_to(route: Route, version: str, *, change_id: str, now: float) -> Route:
    """Return the next revision, which gives all the traffic to a version (or to what an alias means).

    Args:
        route: the one in force.
        version: name or alias.
        change_id: identity of the change.
        now: seconds since the Unix epoch.
    """
    target = route.aliases.get(version, version)
    mine = next((backend for backend in route.backends if backend.version == target), Backend(version=target, weight_basis_points=0))
    return _shared_by(route, (replace(mine, weight_basis_points=WHOLE),), change_id, now)


def given_back(route: Route, *, change_id: str, now: float) -> Route:
    """Return the next revision, which puts back the shares that were in force before they last changed; once more takes that back.

    Args:
        route: the one in force.
        change_id: identity of the change.
        now: seconds since the Unix epoch.

    Raises:
        Conflict: the route says of no shares before its own.
    """
    if not route.previous:
        message = f"the route of {route.model!r} (revision {route.revision}) says of nobody who had its traffic before: name the version"
        raise Conflict(message, reason="ROLLBACK_TARGET")
    return _shared_by(route, route.previous, change_id, now)


def check_answering(route: Route) -> None:
    """Refuse a route whose kill switches leave nobody to answer.

    Raises:
        Conflict: all that share its traffic are killed for everybody.
    """
    sharing = [one.version for one in route.backends if one.weight_basis_points]
    if all(route.is_killed(version, EVERYBODY) for version in sharing):
        raise Conflict(
            f"version {', '.join(map(repr, sharing))} of {route.model!r} is killed, and nobody would be answered: "
            "name another one, or lift the kill switch where the controller answers",
            reason="ROLLBACK_TARGET",
        )


def doubts(held: Route, route: Route) -> tuple[str, ...]:
    """Return why the next revision may answer less than its operator expects, as far as the one in force can tell."""
    sharing = [one.version for one in route.backends if one.weight_basis_points]
    known = _named(held)
    killed = [version for version in sharing if route.is_killed(version, EVERYBODY)]
    strange = [version for version in sharing if version not in known]
    return (
        *([f"model {route.model!r} is frozen and answers nobody"] if route.frozen else ()),
        *(f"version {version!r} is killed and answers nobody; others get its share" for version in killed),
        *(f"the route in force does not name version {version!r}: whether a worker holds it is not known here" for version in strange),
    )


def _named(route: Route) -> frozenset[str]:
    """Return every version that a route speaks of."""
    steps = {step.version for step in route.fallback if step.kind is FallbackKind.VERSION}
    shadow = {route.shadow.version} if route.shadow is not None else set[str]()
    backends = {one.version for one in (*route.backends, *route.previous)}
    return frozenset(backends | steps | shadow | set(route.pins.values()) | set(route.aliases.values()))


def _shared_by(route: Route, backends: tuple[Backend, ...], change_id: str, now: float) -> Route:
    whole = next((backend.version for backend in backends if backend.weight_basis_points == WHOLE), "")
    is_same = [one for one in backends if one.weight_basis_points] == [one for one in route.backends if one.weight_basis_points]
    return replace(
        route,
        backends=backends,
        shadow=None if route.shadow is not None and route.shadow.version == whole else route.shadow,
        fallback=tuple(step for step in route.fallback if step.kind is not FallbackKind.VERSION or step.version != whole),
        previous=route.previous if is_same else route.backends,
        revision=route.revision + 1,
        sequence=0,
        change_id=change_id,
        changed_time=now,
    )
