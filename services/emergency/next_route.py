"""Decides the route that an operator signs. Pure: the record in force and a version go in, the next revision comes out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from penstock.contracts.errors import Conflict, NotFound
from penstock.contracts.route_records import RouteRecord, supersedes
from penstock.contracts.routes import WHOLE, Backend, FallbackKind, Route


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
