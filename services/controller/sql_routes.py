"""Revisions of routes and assignments in SQL."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, Table, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from services.controller import sql_schema as schema
from services.controller.route_values import AssignmentRevision, RouteRevision
from services.controller.sql_tables import Rows

KEPT_ASSIGNMENTS = 50
"""Revisions of one worker's assignment that are kept."""


class SqlRoutes:
    """Every revision of every route."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection."""
        self._rows = Rows(connection, schema.routes, RouteRevision)

    async def latest(self, model: str) -> RouteRevision | None:
        """Return the newest revision of a model's route."""
        newest = await self.history(model, 1)
        return newest[0] if newest else None

    async def at(self, model: str, revision: int) -> RouteRevision | None:
        """Return one revision."""
        return await self._rows.one(schema.routes.c.model == model, schema.routes.c.revision == revision)

    async def history(self, model: str, limit: int, before: int | None = None) -> tuple[RouteRevision, ...]:
        """Return revisions older than `before`, newest first."""
        columns = schema.routes.c
        query = self._rows.query().where(columns.model == model).order_by(columns.revision.desc()).limit(limit)
        return await self._rows.many(query if before is None else query.where(columns.revision < before))

    async def all_latest(self) -> tuple[RouteRevision, ...]:
        """Return the newest revision of every model, by model."""
        return await self._rows.many(_newest(self._rows.query(), schema.routes, "model"))

    async def since(self, sequence: int, limit: int) -> tuple[RouteRevision, ...]:
        """Return revisions with a later number in the outbox, oldest first."""
        columns = schema.routes.c
        return await self._rows.many(self._rows.query().where(columns.sequence > sequence).order_by(columns.sequence).limit(limit))

    async def add(self, revision: RouteRevision) -> None:
        """Add a new revision."""
        await self._rows.add(revision)


class SqlAssignments:
    """What every worker is to hold, by revision."""

    def __init__(self, connection: AsyncConnection) -> None:
        """Keep the connection."""
        self._rows = Rows(connection, schema.assignments, AssignmentRevision)

    async def all_latest(self) -> tuple[AssignmentRevision, ...]:
        """Return the newest revision of every worker, by worker."""
        return await self._rows.many(_newest(self._rows.query(), schema.assignments, "worker_id"))

    async def history(self, worker_id: str, limit: int) -> tuple[AssignmentRevision, ...]:
        """Return a worker's revisions, newest first."""
        columns = schema.assignments.c
        query = self._rows.query().where(columns.worker_id == worker_id)
        return await self._rows.many(query.order_by(columns.revision.desc()).limit(limit))

    async def add(self, revision: AssignmentRevision) -> None:
        """Add a new revision, and forget those that are KEPT_ASSIGNMENTS older."""
        await self._rows.add(revision)
        columns = schema.assignments.c
        old = delete(schema.assignments).where(
            columns.worker_id == revision.worker_id, columns.revision <= revision.revision - KEPT_ASSIGNMENTS
        )
        await self._rows.connection.execute(old)


def _newest(query: Select[Any], table: Table, key: str) -> Select[Any]:
    newest = select(table.c[key].label("key"), func.max(table.c.revision).label("revision")).group_by(table.c[key]).subquery()
    both = (table.c[key] == newest.c.key) & (table.c.revision == newest.c.revision)
    return query.join(newest, both).order_by(table.c[key])
