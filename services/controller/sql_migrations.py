"""Brings the tables to the newest form, at every start and under a lock: of controllers that start together one migrates.

A migration is one transaction on both databases; a process killed in the middle leaves the form of before.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from penstock.contracts.errors import Conflict
from services.controller.sql_catalogue import translated
from services.controller.sql_engine import WRITES

FOLDER = Path(__file__).parent / "migrations"

LOCK = 0x70656E73746F636B
"""Number of PostgreSQL's advisory lock: `penstock`."""


async def migrate(engine: AsyncEngine) -> None:
    """Make the tables those of this release; nothing is done when they are.

    Raises:
        Conflict: a later release has migrated them.
        Unavailable: the database cannot be reached.
    """
    async with translated(), engine.connect() as connection:
        await connection.execution_options(**{WRITES: True})
        async with connection.begin():
            if connection.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK})
            await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    config.attributes["connection"] = connection
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise Conflict(f"the catalogue is of a later release (its tables are at {current}): run that release, or restore a copy of before")
    command.upgrade(config, "head")
