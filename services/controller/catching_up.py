"""Goes past numbers that are on the bus and that the catalogue does not know: it was restored from an older copy, or made anew.

    numbers on the topics → higher than the catalogue's? → a higher epoch, numbers that follow, and everything told again under them

Without that routers and workers would drop every change as an old one, a revoked key included, and a rollback would be confirmed by
routers that have never seen it. What the catalogue says is in force again, all of it: a route of its lost part beside assignments from
before would send calls to versions that nobody holds. What only the lost part knew, a model or a tenant, stays on the topics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Protocol

import structlog

from penstock.contracts.assignments import Assignment
from penstock.contracts.errors import ServingError
from penstock.contracts.route_records import RouteRecord
from penstock.contracts.tenant_records import TenantRecord
from penstock.contracts.topics import ASSIGNMENTS, ROUTES, TENANTS
from services.controller.changes import Changes, Command, Intent, Made, Writing
from services.controller.in_force import in_force

log = structlog.get_logger(__name__)


class Epochs(Protocol):
    """The lease of this process; `services.controller.lease_loop.LeaseLoop` is one."""

    async def go_past(self, epoch: int) -> None:
        """Hold the lease under a higher epoch than that."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """The highest numbers that somebody has used."""

    epoch: int
    sequence: int

    def exceeds(self, other: Marks) -> bool:
        """Whether it knows of more than another."""
        return self.epoch > other.epoch or self.sequence > other.sequence


class CatchingUp:
    """Compares the catalogue's numbers with those on the bus."""

    def __init__(self, changes: Changes, epochs: Epochs) -> None:
        """Keep the way to write, and the lease."""
        self._changes = changes
        self._epochs = epochs

    async def catch_up(self, intent: Intent, held: Mapping[str, Mapping[str, bytes]]) -> bool:
        """Go past what topics hold, by topic and key; return whether that was necessary.

        The topics have to be read before: what the catalogue wrote since is higher.

        Raises:
            Unavailable: this process is not the writer, or the database is away.
        """
        seen = highest(held)
        async with self._changes.reading() as unit:
            mine = Marks(epoch=unit.lease.epoch if unit.lease else 0, sequence=await unit.outbox.newest())
        if not seen.exceeds(mine):
            return False
        log.error("catalogue_behind_the_bus", seen=asdict(seen), mine=asdict(mine))
        await self._epochs.go_past(max(seen.epoch, mine.epoch))

        async def work(writing: Writing) -> Made[bool]:
            await writing.unit.outbox.skip_to(seen.sequence)
            async for one in in_force(writing.unit, writing.epoch):
                await writing.publish(one.topic, one.key, partial(one.under, writing.epoch))
            after = Marks(epoch=writing.epoch, sequence=await writing.unit.outbox.newest())
            return Made(value=True, before=asdict(mine), after=asdict(after))

        command = Command(action="catalogue.catch_up", answer=bool, subject="mesh", request=asdict(seen), is_emergency=True)
        return (await self._changes.make(intent, command, work)).value


def highest(held: Mapping[str, Mapping[str, bytes]]) -> Marks:
    """Pure: return the highest numbers in what topics hold; what cannot be read has none."""
    found = [marks for topic, read in _MARKS.items() for raw in held.get(topic, {}).values() if (marks := _read(read, raw))]
    return Marks(epoch=_most(one.epoch for one in found), sequence=_most(one.sequence for one in found))


def _most(numbers: Iterable[int]) -> int:
    return max(numbers, default=0)


def _read(read: Callable[[bytes], Marks | None], raw: bytes) -> Marks | None:
    try:
        return read(raw)
    except (ServingError, ValueError):
        return None


def _of_route(raw: bytes) -> Marks | None:
    route = RouteRecord.from_bytes(raw).route
    return Marks(epoch=route.writer_epoch, sequence=route.sequence) if route else None


def _of_tenant(raw: bytes) -> Marks:
    record = TenantRecord.from_bytes(raw)
    return Marks(epoch=record.writer_epoch, sequence=record.sequence)


def _of_assignment(raw: bytes) -> Marks:
    assignment = Assignment.from_bytes(raw)
    return Marks(epoch=assignment.writer_epoch, sequence=assignment.sequence)


_MARKS: Mapping[str, Callable[[bytes], Marks | None]] = {
    ROUTES.name: _of_route,
    TENANTS.name: _of_tenant,
    ASSIGNMENTS.name: _of_assignment,
}
