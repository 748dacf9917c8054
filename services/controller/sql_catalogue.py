"""The catalogue in SQL: units of work over one engine.

Every writing unit locks the row of the lease first, which makes writers follow one another on PostgreSQL as `BEGIN IMMEDIATE` does on
SQLite: revisions, the outbox's numbers and the audit's chain then need no lock of their own. Inside one process writers wait for each
other before they ask the database, because SQLite answers a held lock by sleeping.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from sqlalchemy import ColumnElement, Double, cast, extract, func, select
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from penstock.contracts.errors import Unavailable
from services.controller import sql_schema as schema
from services.controller.ledger_values import Lease
from services.controller.ports import Unit
from services.controller.sql_engine import WRITES
from services.controller.sql_ledger import Ends, SqlAudit, SqlKeptAnswers, SqlLeases, SqlOutbox
from services.controller.sql_models import SqlAliases, SqlDeployments, SqlModels, SqlVersions
from services.controller.sql_routes import SqlAssignments, SqlRoutes
from services.controller.sql_tenants import SqlKeys, SqlSettings, SqlTenants

ABSENT = ("08", "53300", "57P")
"""How SQLSTATEs begin that say that the server takes nobody now: no connection, too many of them, it ends, or it is starting up."""


class SqlCatalogue:
    """The only truth, on SQLite or PostgreSQL."""

    def __init__(self, engine: AsyncEngine) -> None:
        """Keep the engine, whose tables are those of the newest migration."""
        self._engine = engine
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[Unit]:
        """Open a unit that sees one state of everything.

        Raises:
            Unavailable: the database cannot be reached.
        """
        async with translated(), self._engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            async with connection.begin():
                yield await _unit(connection, writes=False)

    @asynccontextmanager
    async def writing(self, *, keep: bool = True) -> AsyncGenerator[Unit]:
        """Open a unit that commits when its block ends, and undoes everything when the block raises or nothing is to be kept.

        Raises:
            Unavailable: the database cannot be reached, or went away; whether a commit was done is then unknown.
        """
        async with translated(), self._turn, self._engine.connect() as connection:
            await connection.execution_options(**{WRITES: True})
            async with connection.begin() as transaction:
                yield await _unit(connection, writes=True)
                if not keep:
                    await transaction.rollback()


@asynccontextmanager
async def translated() -> AsyncGenerator[None]:
    """Turn the database's absence into our word for it; its own errors stay what they are, for they are ours."""
    try:
        yield
    except (OSError, TimeoutError) as error:
        raise _unavailable() from error
    except (OperationalError, InterfaceError, PoolTimeoutError) as error:
        raise _unavailable() from error
    except DBAPIError as error:
        if error.connection_invalidated or str(getattr(error.orig, "sqlstate", None)).startswith(ABSENT):
            raise _unavailable() from error
        raise


def database_time(dialect: str) -> ColumnElement[float]:
    """Return the expression for the database's clock, in seconds since the Unix epoch."""
    if dialect == "postgresql":
        return cast(extract("epoch", func.clock_timestamp()), Double)
    return (func.julianday("now") - 2440587.5) * 86400.0


async def _unit(connection: AsyncConnection, *, writes: bool) -> Unit:
    time, lease = await _time_and_lease(connection, writes=writes)
    ends = Ends(connection)
    return Unit(
        time=time,
        lease=lease,
        models=SqlModels(connection),
        versions=SqlVersions(connection),
        aliases=SqlAliases(connection),
        deployments=SqlDeployments(connection),
        routes=SqlRoutes(connection),
        assignments=SqlAssignments(connection),
        tenants=SqlTenants(connection),
        keys=SqlKeys(connection),
        settings=SqlSettings(connection),
        audit=SqlAudit(connection, ends),
        outbox=SqlOutbox(connection, ends, time),
        kept_answers=SqlKeptAnswers(connection),
        leases=SqlLeases(connection),
    )


async def _time_and_lease(connection: AsyncConnection, *, writes: bool) -> tuple[float, Lease | None]:
    columns = schema.lease.c
    query = select(database_time(connection.dialect.name).label("time"), columns.holder, columns.epoch, columns.expires_time)
    row = (await connection.execute(query.with_for_update() if writes else query)).one()
    lease = Lease(holder=row.holder, epoch=row.epoch, expires_time=row.expires_time) if row.epoch else None
    return row.time, lease


def _unavailable() -> Unavailable:
    return Unavailable(
        "the catalogue's database cannot be reached: what is served goes on; repeat the request, under its idempotency key when it writes",
        reason="CATALOGUE_UNAVAILABLE",
        retry_after_seconds=1.0,
    )
