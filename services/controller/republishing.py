"""Publishes again what is in force, when a topic has lost it: deleted, made anew, or cut off.

    read a topic → compare with the catalogue → put what it lacks into the outbox, with the revision that it has

Nothing changes by that: who holds a record drops it by its revision, and who has nothing, because it started after the loss, learns what
is in force. What still waits in the outbox is not missing: the relay is about to send it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from penstock.contracts.assignments import Assignment
from penstock.contracts.errors import ServingError
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.route_records import supersedes as route_supersedes
from penstock.contracts.tenant_records import TenantRecord
from penstock.contracts.topics import ASSIGNMENTS, ROUTES, TENANTS, Topic
from services.controller.catching_up import CatchingUp
from services.controller.changes import Changes, Command, Intent, Made, Outcome, Writing
from services.controller.in_force import InForce, in_force

DESIRED = (TENANTS, ROUTES, ASSIGNMENTS)
"""Topics of desired state, in the order in which they are filled again: who may call is known before there is something to call."""


class TopicLooks(Protocol):
    """Reads topics as they are now."""

    async def held(self, topic: Topic) -> Mapping[str, bytes]:
        """Return the newest value of every key.

        Raises:
            Unavailable: the bus is away, or has no such topic.
        """
        ...


class Republishing:
    """Fills topics again."""

    def __init__(self, changes: Changes, looks: TopicLooks, catching_up: CatchingUp) -> None:
        """Keep the way to write, the way to look, and what goes past numbers that are not ours."""
        self._changes = changes
        self._looks = looks
        self._catching_up = catching_up

    async def republish(self, intent: Intent) -> Outcome[tuple[str, ...]]:
        """Publish again what topics lack; return it as `topic/key`. Nothing is recorded when they lack nothing.

        Raises:
            Unavailable: a topic cannot be read, this process is not the writer, or the database is away.
        """
        held = {topic.name: await self._looks.held(topic) for topic in DESIRED}
        if not intent.dry_run:
            await self._catching_up.catch_up(intent, held)

        async def work(writing: Writing) -> Made[tuple[str, ...]]:
            missing = [one async for one in in_force(writing.unit, writing.epoch) if _is_missing(one, held[one.topic.name].get(one.key))]
            waiting = await writing.unit.outbox.waiting_keys() if missing else frozenset()
            told = [one for one in missing if (one.topic.name, one.key) not in waiting]
            for one in told:
                await writing.publish(one.topic, one.key, one.as_it_is)
            names = tuple(f"{one.topic.name}/{one.key}" for one in told)
            return Made(value=names, before=None, after=list(names) or None)

        command = Command(action="mesh.republish", answer=tuple[str, ...], subject="mesh", is_emergency=True)
        return await self._changes.make(intent, command, work)


def _is_missing(one: InForce, raw: bytes | None) -> bool:
    """Pure: say whether what a topic holds of a key is nothing, nonsense, or older than what is in force."""
    if raw is None:
        return True
    try:
        return _IS_OLDER[one.topic.name](one.record.to_bytes(), raw)
    except (ServingError, ValueError):
        return True


def _is_older_route(value: bytes, raw: bytes) -> bool:
    mine, held = RouteRecord.from_bytes(value), RouteRecord.from_bytes(raw)
    if mine.route is None or held.route is None:
        # An end has no revision: of two ends one is enough, and what follows an end is newer.
        return mine.route is not held.route
    return route_supersedes(mine, held)


_IS_OLDER: Mapping[str, Callable[[bytes, bytes], bool]] = {
    # Its epoch is that of whoever tells it, not of whoever changed it: a new writer has nothing new to say by that.
    TENANTS.name: lambda value, raw: TenantRecord.from_bytes(value).revision > TenantRecord.from_bytes(raw).revision,
    ROUTES.name: _is_older_route,
    ASSIGNMENTS.name: lambda value, raw: Assignment.from_bytes(value).supersedes(Assignment.from_bytes(raw)),
}
