"""Rolling back: the shares of before, as one more revision. The same call again takes it back.

A rollback has one transaction and asks nobody: no workflow, no worker, no router. It works while writes are frozen.
"""

from __future__ import annotations

from dataclasses import replace

from penstock.contracts.errors import Conflict
from penstock.contracts.routes import WHOLE, Backend, Route
from services.controller.changes import Changes, Command, Intent, Made, Outcome, Writing, check_revision
from services.controller.ports import Unit
from services.controller.registry import known_versions
from services.controller.route_values import RouteRevision
from services.controller.route_writing import held_route
from services.controller.traffic import next_revision
from services.controller.traffic_checks import SYSTEM_TENANT, check_deployed
from services.controller.traffic_plan import previous, shadow_beside, shares

SEARCHED_REVISIONS = 200
"""How far back the shares of before are looked for."""


class Rollback:
    """Puts shares back."""

    def __init__(self, changes: Changes) -> None:
        """Keep the way to write."""
        self._changes = changes

    async def roll_back(self, model: str, to_version: str, intent: Intent) -> Outcome[RouteRevision]:
        """Put the shares back that were in force before the last change of them, or give everything to one version.

        A caller who names the revision that it wants to get away from may call as often as it likes: when that revision has been rolled
        back already, the answer is the route that did so.

        Args:
            model: name of the model.
            to_version: version that gets all the traffic; empty for the shares of before.
            intent: `expected_revision` is the revision to get away from.

        Raises:
            NotFound: the model has no route, or there is no such version.
            Conflict: there is nothing to go back to; the target was never healthy, is killed, cannot answer now, or has all
                the traffic already.
        """

        async def work(writing: Writing) -> Made[RouteRevision]:
            held, route = await held_route(writing.unit, model)
            if _is_done(held, route, to_version, intent):
                return Made(value=held, before=held.revision, after=held.revision)
            check_revision(intent, held.revision, held)
            backends = await _target(writing.unit, held, route, to_version)
            await _check_target(writing.unit, route, backends)
            new = replace(route, backends=backends, shadow=shadow_beside(backends, route.shadow))
            return await next_revision(writing, held, new, rolled_back_from=held.revision)

        command = Command(
            action="traffic.rollback",
            answer=RouteRevision,
            subject=f"model/{model}",
            request={"to_version": to_version},
            is_emergency=True,
        )
        return await self._changes.make(intent, command, work)


def _is_done(held: RouteRevision, route: Route, to_version: str, intent: Intent) -> bool:
    if not held.rolled_back_from:
        return False
    if to_version:
        return shares(route.backends) == {to_version: WHOLE}
    return held.rolled_back_from == intent.expected_revision


async def _target(unit: Unit, held: RouteRevision, route: Route, to_version: str) -> tuple[Backend, ...]:
    if to_version:
        if shares(route.backends) == {to_version: WHOLE}:
            raise Conflict(f"version {to_version!r} of {held.model!r} has all the traffic already", reason="ROLLBACK_TARGET")
        mine = next((backend for backend in route.backends if backend.version == to_version), None)
        return (replace(mine or Backend(version=to_version, weight_basis_points=0), weight_basis_points=WHOLE),)
    if route.previous:
        return route.previous
    # A route that was written before routes said so, or whose model's traffic ended in between.
    before = previous(await unit.routes.history(held.model, SEARCHED_REVISIONS, before=held.revision), route)
    if before is None or before.route is None:
        raise Conflict(f"model {held.model!r} never had other shares than now: there is nothing to go back to", reason="ROLLBACK_TARGET")
    return before.route.backends


async def _check_target(unit: Unit, route: Route, backends: tuple[Backend, ...]) -> None:
    known = await known_versions(unit, route.model, shares(backends))
    for version, held in known.items():
        if held.healthy_time is None:
            raise Conflict(f"version {version!r} of model {route.model!r} was never healthy: name another one", reason="ROLLBACK_TARGET")
    if all(route.is_killed(version, SYSTEM_TENANT) for version in known):
        named = ", ".join(map(repr, known))
        raise Conflict(
            f"version {named} of {route.model!r} is killed, and nobody would be answered: lift the kill switch first, or name another one",
            reason="ROLLBACK_TARGET",
        )
    await check_deployed(unit, route.model, known)
