"""Decides the route that an operator signs. Pure: the record in force and a version go in, the next revision comes out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from penstock.contracts.errors import NotFound
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
    return replace(
        route,
        backends=(replace(mine, weight_basis_points=WHOLE),),
        shadow=None if route.shadow is not None and route.shadow.version == target else route.shadow,
        fallback=tuple(step for step in route.fallback if step.kind is not FallbackKind.VERSION or step.version != target),
        revision=route.revision + 1,
        sequence=0,
        change_id=change_id,
        changed_time=now,
    )
