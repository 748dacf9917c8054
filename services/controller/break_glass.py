"""Takes into the catalogue what an operator published past the controller, when it was down or could not be asked.

The record stands in force at the routers already; adopting it makes it the newest revision here, with its audit record, and publishes it as
an ordinary route whose number is higher than everything: from then on the catalogue is the only truth again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from penstock.contracts.errors import InvalidInput
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Route
from services.controller.changes import Changes, Command, Intent, Made, Outcome, Writing
from services.controller.route_values import RouteRevision
from services.controller.route_writing import write_route
from services.controller.traffic import said


class Signatures(Protocol):
    """The operators' public keys."""

    def check(self, record: RouteRecord) -> None:
        """Return when a record is an operator's.

        Raises:
            TenantForbidden: it is not signed by a key that is known here.
        """
        ...


class BreakGlass:
    """Adopts signed records."""

    def __init__(self, changes: Changes, signatures: Signatures) -> None:
        """Keep the way to write, and who may break the glass."""
        self._changes = changes
        self._signatures = signatures

    async def adopt(self, record: RouteRecord) -> Outcome[RouteRevision]:
        """Write a signed record down as the next revision; one that the catalogue has passed already changes nothing.

        Raises:
            TenantForbidden: the signature is not an operator's.
            InvalidInput: it is no break-glass record with a route.
        """
        if not record.break_glass or record.route is None:
            raise InvalidInput("only a break-glass record with a route can be adopted", field="record")
        self._signatures.check(record)
        route = record.route

        async def work(writing: Writing) -> Made[RouteRevision]:
            held = await writing.unit.routes.latest(route.model)
            if held is not None and route.revision < held.revision:
                return Made(value=held, before=held.revision, after=held.revision)
            return await _adopted(writing, held, route)

        command = Command(
            action="route.adopt", answer=RouteRevision, subject=f"model/{route.model}", request=said(route), is_emergency=True
        )
        intent = Intent(actor=f"operator:{record.key_id}", why="break glass")
        return await self._changes.make(intent, command, work)


async def _adopted(writing: Writing, held: RouteRevision | None, route: Route) -> Made[RouteRevision]:
    # The next number after both sides: routers that hold the operator's record take ours, which says the same.
    after = RouteRevision(
        model=route.model,
        revision=max(route.revision, held.revision if held else 0),
        route=held.route if held else None,
        action="",
        actor="",
    )
    written = await write_route(writing, after, replace(route, sequence=0), break_glass=True)
    return Made(value=written, before=_numbered(held), after=_numbered(written), revision=written.revision)


def _numbered(revision: RouteRevision | None) -> Mapping[str, object] | None:
    # With its number: a record that says what the catalogue says is a change all the same, for the number passes the operator's.
    return None if revision is None else {"revision": revision.revision, "route": said(revision.route)}
