"""Writes the next revision of a route: its row, and the record that routers read."""

from __future__ import annotations

from dataclasses import replace

from penstock.contracts.errors import ModelNotFound, NotFound
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Route
from penstock.contracts.topics import ROUTES
from services.controller.changes import Writing
from services.controller.ports import Unit
from services.controller.route_values import RouteRevision
from services.controller.traffic_plan import previous_backends

SEARCHED_ENDS = 20
"""Revisions that are looked through for the route before a model's end: the one before the newest, unless the end was told again."""


async def held_route(unit: Unit, model: str) -> tuple[RouteRevision, Route]:
    """Return the newest revision of a model's route, and the route.

    Raises:
        NotFound: there is no such model, or it has no route: nothing of it was ever active.
    """
    held = await unit.routes.latest(model)
    if held is None and await unit.models.get(model) is None:
        raise ModelNotFound(f"there is no model {model[:80]!r}")
    if held is None or held.route is None:
        raise NotFound(f"model {model[:80]!r} has no route: deploy a version of it first", reason="ROUTE_NOT_FOUND")
    return held, held.route


async def begun_route(unit: Unit, route: Route) -> Route:
    """Return a model's first route, or its first one after an end, under the freeze and the kill switches that were in force at the end."""
    history = await unit.routes.history(route.model, SEARCHED_ENDS)
    ended = next((held.route for held in history if held.route is not None), None)
    return route if ended is None else replace(route, frozen=ended.frozen, kill_switches=ended.kill_switches)


async def write_route(
    writing: Writing, held: RouteRevision | None, route: Route | None, *, rolled_back_from: int = 0, break_glass: bool = False
) -> RouteRevision:
    """Make a route the next revision, with the model's aliases as they stand; None takes the route away.

    Args:
        writing: the change it belongs to.
        held: the revision it follows.
        route: the model's traffic; its numbers are given here.
        rolled_back_from: the revision that a rollback replaces.
        break_glass: an operator has published it already.
    """
    model = route.model if route is not None else held.model if held is not None else ""
    revision = (held.revision if held else 0) + 1
    if route is not None:
        route = replace(
            route,
            revision=revision,
            writer_epoch=writing.epoch,
            change_id=writing.change_id,
            changed_time=writing.time,
            aliases=await writing.unit.aliases.of(model),
            previous=previous_backends(held.route if held else None, route),
        )
    sequence = await writing.publish(ROUTES, model, lambda number: _record(route, number))
    written = RouteRevision(
        model=model,
        revision=revision,
        route=replace(route, sequence=sequence) if route else None,
        action=writing.action,
        actor=writing.intent.actor,
        why=writing.intent.why,
        change_id=writing.change_id,
        changed_time=writing.time,
        writer_epoch=writing.epoch,
        sequence=sequence,
        break_glass=break_glass,
        rolled_back_from=rolled_back_from,
    )
    await writing.unit.routes.add(written)
    return written


async def publish_route(writing: Writing, held: RouteRevision | None) -> None:
    """Write a route again because something that it carries has changed; a model without one needs nothing."""
    if held is not None and held.route is not None:
        await write_route(writing, held, held.route)


def _record(route: Route | None, sequence: int) -> bytes:
    return RouteRecord(route=replace(route, sequence=sequence) if route else None).to_bytes()
