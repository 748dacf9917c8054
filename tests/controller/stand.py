"""A migrated catalogue with its one writer, and short words for what tests do with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from penstock.contracts.route_records import RouteRecord
from penstock.contracts.routes import Route
from services.controller.changes import Changes, Intent
from services.controller.lease import LeaseKeeping
from services.controller.ledger_values import AuditQuery, AuditRecord, Lease, OutboxRow
from services.controller.model_values import Version
from services.controller.registry import Description, Registry
from services.controller.sql_catalogue import SqlCatalogue
from services.controller.sql_engine import open_engine
from services.controller.sql_migrations import migrate

ANN = Intent(actor="ann", why="because")
DIGEST = "d" * 64


@dataclass
class Stand:
    engine: AsyncEngine
    catalogue: SqlCatalogue
    lease: Lease
    commits: list[None] = field(default_factory=list)

    @property
    def changes(self) -> Changes:
        return Changes(self.catalogue, epoch=lambda: self.lease.epoch, committed=lambda: self.commits.append(None))

    @property
    def registry(self) -> Registry:
        return Registry(self.changes)

    async def registered(self, model: str, *versions: str) -> None:
        for version in versions:
            await self.registry.register(Version(model=model, version=version, digest=DIGEST), Description(), ANN)

    async def audit(self, subject: str = "") -> list[AuditRecord]:
        async with self.catalogue.reading() as unit:
            return list(reversed(await unit.audit.matching(AuditQuery(subject=subject, limit=1000))))

    async def outbox(self) -> tuple[OutboxRow, ...]:
        async with self.catalogue.reading() as unit:
            return await unit.outbox.waiting(1000)

    async def published_route(self) -> Route:
        """Return the route of the newest message."""
        value = (await self.outbox())[-1].value
        assert value is not None
        route = RouteRecord.from_bytes(value).route
        assert route is not None
        return route

    async def sql(self, statement: str) -> list[tuple[object, ...]]:
        """Run a statement past everything, as somebody with access to the database would."""
        async with self.engine.begin() as connection:
            result = await connection.execute(text(statement))
            return [tuple(row) for row in result] if result.returns_rows else []


@asynccontextmanager
async def standing(url: str) -> AsyncIterator[Stand]:
    engine = open_engine(url)
    try:
        await migrate(engine)
        catalogue = SqlCatalogue(engine)
        lease = await LeaseKeeping(catalogue, holder="controller-1", life_seconds=3600).claim(None)
        assert lease is not None
        yield Stand(engine=engine, catalogue=catalogue, lease=lease)
    finally:
        await engine.dispose()
